//! Values of fields, and how text becomes one.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use rust_decimal::Decimal;

use crate::{Field, FieldType, Text, check_json, excerpt};

/// The value of one field of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Unicode text without U+0000, which neither `PostgreSQL` nor keys of `MongoDB` take.
    Text(Text),
    /// 64 bits, signed.
    Integer(i64),
    /// At most 28 significant digits, without trailing zeros.
    Decimal(Decimal),
    /// 64 bits, finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A day of the years 1 to 9999.
    Date(Date),
    /// An instant of the years 1 to 9999, to the microsecond; finer digits are cut.
    Timestamp(Timestamp),
    /// Text of a JSON value without U+0000.
    Json(String),
}

/// Why a text is not a value of a type. The message quotes it, cut short.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ValueError {
    pub(crate) message: String,
    /// Whether it is the characters that no store takes, rather than the type.
    pub encoding: bool,
}

impl ValueError {
    /// "«text» is not …".
    fn expected(text: &str, what: &str) -> Self {
        Self {
            message: format!("{:?} is not {what}", excerpt(text)),
            encoding: false,
        }
    }
}

impl Value {
    /// The value of a field that this text stands for. Does not look at the field's nulls.
    ///
    /// All types but text and JSON may have white space around them.
    pub fn parse(field: &Field, text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        match field.kind {
            FieldType::Text => {
                if text.contains('\0') {
                    return Err(ValueError {
                        message: "text holds U+0000, which databases do not take".to_owned(),
                        encoding: true,
                    });
                }
                Ok(Self::Text(text.into()))
            }
            FieldType::Integer => parse_integer(trimmed)
                .map(Self::Integer)
                .ok_or_else(|| ValueError::expected(text, "an integer of 64 bits")),
            FieldType::Decimal => parse_decimal(trimmed).map(Self::Decimal).ok_or_else(|| {
                ValueError::expected(text, "a decimal number of at most 28 significant digits")
            }),
            FieldType::Float => trimmed
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                // -0 and 0 are one number, but not one sequence of bytes.
                .map(|number| Self::Float(if number == 0.0 { 0.0 } else { number }))
                .ok_or_else(|| ValueError::expected(text, "a finite number")),
            FieldType::Boolean => parse_boolean(trimmed)
                .map(Self::Boolean)
                .ok_or_else(|| ValueError::expected(text, "true or false")),
            FieldType::Date => parse_date(trimmed, field.pattern.as_deref())
                .map(Self::Date)
                .ok_or_else(|| {
                    ValueError::expected(
                        text,
                        &format!(
                            "a date like {}",
                            field.pattern.as_deref().unwrap_or("2026-11-20")
                        ),
                    )
                }),
            FieldType::Timestamp => parse_timestamp(trimmed, field.pattern.as_deref())
                .map(Self::Timestamp)
                .ok_or_else(|| {
                    ValueError::expected(
                        text,
                        &format!(
                            "a timestamp like {}",
                            field.pattern.as_deref().unwrap_or("2026-11-20T08:30:00Z")
                        ),
                    )
                }),
            FieldType::Json => Self::json(text),
        }
    }

    /// The value of this type that a text stands for, as conditions, keys and cursors are written: dates and
    /// timestamps by ISO 8601, whatever a file has.
    pub fn from_text(kind: FieldType, text: &str) -> Result<Self, ValueError> {
        Self::parse(&Field::new("", kind), text)
    }

    /// The text that [`Self::from_text`] reads; none of null.
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(text) => Cow::Borrowed(text),
            Self::Integer(number) => number.to_string().into(),
            Self::Decimal(number) => number.to_string().into(),
            Self::Float(number) => number.to_string().into(),
            Self::Boolean(boolean) => boolean.to_string().into(),
            Self::Date(day) => day.to_string().into(),
            Self::Timestamp(instant) => instant.to_string().into(),
        })
    }

    /// Its type; none of null.
    pub fn kind(&self) -> Option<FieldType> {
        Some(match self {
            Self::Null => return None,
            Self::Text(_) => FieldType::Text,
            Self::Integer(_) => FieldType::Integer,
            Self::Decimal(_) => FieldType::Decimal,
            Self::Float(_) => FieldType::Float,
            Self::Boolean(_) => FieldType::Boolean,
            Self::Date(_) => FieldType::Date,
            Self::Timestamp(_) => FieldType::Timestamp,
            Self::Json(_) => FieldType::Json,
        })
    }

    /// A JSON value from its text.
    pub fn json(text: &str) -> Result<Self, ValueError> {
        check_json(text)?;
        Ok(Self::Json(text.trim().to_owned()))
    }

    /// Order of values of one key field, all of one type.
    pub fn cmp_key(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.as_str().cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            // Not reached: keys are of the types above and never null.
            _ => Ordering::Equal,
        }
    }

    /// Bytes that the value takes in a key's index entry, about.
    pub fn key_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 16,
        }
    }

    /// Whether it is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

fn parse_integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        // Spreadsheets and data frames write whole numbers as 12.0.
        let (whole, fraction) = text.split_once('.')?;
        let zeros = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
        zeros.then(|| whole.parse().ok()).flatten()
    })
}

fn parse_decimal(text: &str) -> Option<Decimal> {
    // The type's own parser takes digits apart by underscores, as Rust does.
    if text.contains('_') {
        return None;
    }
    let number = match text.find(['e', 'E']) {
        None => Decimal::from_str_exact(text).ok()?,
        Some(_) => Decimal::from_scientific(text).ok()?,
    };
    // The type rounds what it can't hold in a mantissa of 96 bits; only what is exact is taken.
    let digits = text
        .split(['e', 'E'])
        .next()?
        .trim_start_matches(['+', '-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    let number = number.normalize();
    (digits <= 28).then_some(if number.is_zero() {
        Decimal::ZERO
    } else {
        number
    })
}

fn parse_boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 5] = ["true", "t", "1", "yes", "y"];
    const FALSE: [&str; 5] = ["false", "f", "0", "no", "n"];
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&TRUE) {
        Some(true)
    } else {
        is(&FALSE).then_some(false)
    }
}

fn parse_date(text: &str, pattern: Option<&str>) -> Option<Date> {
    let date = match pattern {
        Some(pattern) => Date::strptime(pattern, text).ok()?,
        // Exactly the ISO form: jiff's own parser would also take the date out of a timestamp.
        None => (text.len() == 10).then(|| text.parse().ok())??,
    };
    (date.year() >= 1).then_some(date)
}

fn parse_timestamp(text: &str, pattern: Option<&str>) -> Option<Timestamp> {
    let instant = match pattern {
        Some(pattern) => Timestamp::strptime(pattern, text).ok().or_else(|| {
            let time = DateTime::strptime(pattern, text)
                .ok()
                .or_else(|| Date::strptime(pattern, text).ok().map(DateTime::from))?;
            in_utc(time)
        })?,
        // Without an offset, UTC is meant.
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().and_then(in_utc))?,
    };
    let instant = Timestamp::from_microsecond(instant.as_microsecond()).ok()?;
    let year = instant.to_zoned(jiff::tz::TimeZone::UTC).year();
    (1..=9999).contains(&year).then_some(instant)
}

fn in_utc(time: DateTime) -> Option<Timestamp> {
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: FieldType, text: &str) -> Option<Value> {
        Value::parse(&Field::new("f", kind), text).ok()
    }

    #[test]
    fn integers() {
        assert_eq!(parse(FieldType::Integer, " 12 "), Some(Value::Integer(12)));
        assert_eq!(
            parse(FieldType::Integer, "-7.000"),
            Some(Value::Integer(-7))
        );
        for wrong in ["", "1.5", "1.", "9223372036854775808", "1e3", "0x10"] {
            assert_eq!(parse(FieldType::Integer, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let decimal = |text| parse(FieldType::Decimal, text);
        assert_eq!(decimal("12.50"), decimal("12.5"));
        assert_eq!(decimal("-0"), decimal("0"));
        assert_eq!(decimal("1.5e3"), decimal("1500"));
        assert!(decimal("1234567890123456789012345678").is_some());
        for wrong in [
            "",
            ".",
            "1,5",
            "1_000",
            "NaN",
            "12345678901234567890123456789",
            "0.12345678901234567890123456789",
            "1e40",
        ] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!(parse(FieldType::Float, "1e3"), Some(Value::Float(1000.0)));
        for wrong in ["NaN", "inf", "1e999", "x"] {
            assert_eq!(parse(FieldType::Float, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_and_timestamps() {
        assert!(parse(FieldType::Date, "2026-02-28").is_some());
        assert_eq!(parse(FieldType::Date, "2026-02-30"), None);
        assert_eq!(parse(FieldType::Date, "2026-02-28T10:00:00"), None);
        let instant = parse(FieldType::Timestamp, "2026-11-20T08:30:00Z");
        assert!(instant.is_some());
        assert_eq!(parse(FieldType::Timestamp, "2026-11-20 08:30:00"), instant);
        assert_eq!(
            parse(FieldType::Timestamp, "2026-11-20T09:30:00+01:00"),
            instant
        );
        let fine = parse(FieldType::Timestamp, "2026-11-20T08:30:00.123456789Z");
        assert_eq!(
            fine,
            parse(FieldType::Timestamp, "2026-11-20T08:30:00.123456Z")
        );
        let mut field = Field::new("d", FieldType::Date);
        field.pattern = Some("%b %d %Y".to_owned());
        assert!(Value::parse(&field, "Jan 1 2000").is_ok());
        field.kind = FieldType::Timestamp;
        assert!(Value::parse(&field, "Jan 1 2000").is_ok());
    }

    #[test]
    fn no_zero_characters() {
        assert_eq!(parse(FieldType::Text, "a\0b"), None);
        assert_eq!(parse(FieldType::Json, r#""a\u0000b""#), None);
        assert!(parse(FieldType::Json, r#""a\\u0000b""#).is_some());
        assert_eq!(parse(FieldType::Json, "{"), None);
    }
}
