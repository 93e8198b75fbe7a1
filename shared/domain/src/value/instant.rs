//! Instants that a file marks as such, as the extended JSON of `MongoDB` does.

use jiff::civil::Time;

use super::error::ValueError;
use super::timestamp::Timestamp;
use super::{FieldType, Value};

impl Value {
    /// Returns the value that a field of this type has for an instant in ISO 8601.
    ///
    /// # Errors
    /// If no value of the type stands for the instant. A date stands for midnight in UTC only.
    pub fn from_instant(kind: FieldType, text: &str) -> Result<Self, ValueError> {
        let value = match kind {
            FieldType::Text => kind,
            _ => FieldType::Timestamp,
        };
        match (kind, Self::from_text(value, text)?) {
            (FieldType::Text | FieldType::Timestamp, value) => Ok(value),
            (FieldType::Date, Self::Timestamp(instant)) => {
                let time = instant.to_datetime();
                if time.time() != Time::midnight() {
                    let hint = "make the field a timestamp";
                    return Err(ValueError::not_a("a date, as it has a time", text, hint));
                }
                Ok(Self::Date(time.date()))
            }
            _ => {
                let expected = format!("of type {}, but an instant", kind.as_str());
                Err(ValueError::not_a(&expected, text, ""))
            }
        }
    }

    /// Does the same for an instant in milliseconds since 1970.
    ///
    /// # Errors
    /// Also if the instant is not in the years 1 to 9999.
    pub fn from_milliseconds(kind: FieldType, milliseconds: i64) -> Result<Self, ValueError> {
        let microseconds = milliseconds.checked_mul(1000);
        let instant = microseconds.and_then(Timestamp::from_microsecond);
        let instant = instant.ok_or_else(|| {
            let expected = "in the years 1 to 9999, in milliseconds since 1970";
            ValueError::not_a(expected, &milliseconds.to_string(), "")
        })?;
        Self::from_instant(kind, &instant.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_become_timestamps_dates_and_texts() {
        let midnight = "2026-11-20T00:00:00Z";
        for (kind, milliseconds, expected) in [
            (FieldType::Timestamp, 1_795_132_800_000, Some(midnight)),
            (FieldType::Date, 1_795_132_800_000, Some("2026-11-20")),
            (FieldType::Text, 1_795_132_800_000, Some(midnight)),
            (FieldType::Date, 1_795_132_800_001, None),
            (FieldType::Integer, 1_795_132_800_000, None),
            (FieldType::Timestamp, -1, Some("1969-12-31T23:59:59.999Z")),
            (FieldType::Timestamp, i64::MAX, None),
            (FieldType::Timestamp, -62_135_596_800_001, None),
        ] {
            let value = Value::from_milliseconds(kind, milliseconds).ok();
            let expected = expected.map(|text| Value::from_text(kind, text).unwrap());
            assert_eq!(value, expected, "{kind:?} {milliseconds}");
        }
        let offset = Value::from_instant(FieldType::Date, "2026-11-20T01:00:00.000+0100");
        let expected = Value::from_text(FieldType::Date, "2026-11-20");
        assert_eq!(offset, expected);
    }
}
