//! Values of fields, and how they are parsed from text.

mod error;
mod field_type;
mod json;
mod parse;
mod text;

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

pub use error::ValueError;
pub use field_type::FieldType;
pub use json::check_json;
pub use text::Text;

/// The value of one field of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Unicode text without U+0000, which neither `PostgreSQL` nor keys of `MongoDB` accept.
    Text(Text),
    /// Signed 64-bit integer.
    Integer(i64),
    /// Decimal number of at most 28 significant digits, without trailing zeros.
    Decimal(Decimal),
    /// Finite 64-bit floating-point number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A date in the years 1 to 9999.
    Date(Date),
    /// An instant in the years 1 to 9999, truncated to microseconds.
    Timestamp(Timestamp),
    /// Text of a JSON value without U+0000.
    Json(String),
}

impl Value {
    /// Parses a value of this type as it is written in conditions, keys and cursors.
    ///
    /// Dates and timestamps are in ISO 8601, whatever pattern a file uses. White space around values
    /// is ignored, except in text.
    pub fn from_text(kind: FieldType, text: &str) -> Result<Self, ValueError> {
        Self::parse(kind, None, text)
    }

    /// Parses a value of this type. `pattern` is the `strptime` pattern of dates and timestamps, unless
    /// they are in ISO 8601.
    pub(crate) fn parse(
        kind: FieldType,
        pattern: Option<&str>,
        text: &str,
    ) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        let like = |what: &str, example: &str| {
            let example = pattern.unwrap_or(example);
            ValueError::not_a(&format!("{what} like {example}"), text)
        };
        match kind {
            FieldType::Text if text.contains('\0') => Err(ValueError::zero_character()),
            FieldType::Text => Ok(Self::Text(text.into())),
            FieldType::Integer => parse::integer(trimmed)
                .map(Self::Integer)
                .ok_or_else(|| ValueError::not_a("a 64-bit integer", text)),
            FieldType::Decimal => parse::decimal(trimmed).map(Self::Decimal).ok_or_else(|| {
                let expected = "a decimal number of at most 28 significant digits, like 12.50";
                ValueError::not_a(expected, text)
            }),
            FieldType::Float => parse::float(trimmed)
                .map(Self::Float)
                .ok_or_else(|| ValueError::not_a("a finite number", text)),
            FieldType::Boolean => parse::boolean(trimmed)
                .map(Self::Boolean)
                .ok_or_else(|| ValueError::not_a("true or false", text)),
            FieldType::Date => parse::date(trimmed, pattern)
                .map(Self::Date)
                .ok_or_else(|| like("a date", "2026-11-20")),
            FieldType::Timestamp => parse::timestamp(trimmed, pattern)
                .map(Self::Timestamp)
                .ok_or_else(|| like("a timestamp", "2026-11-20T08:30:00Z")),
            FieldType::Json => Self::json(text),
        }
    }

    /// Returns the text that [`Self::from_text`] parses to this value, or `None` for null.
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

    /// Returns the type of the value, or `None` for null.
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

    /// Parses a JSON value that every store accepts; see [`check_json`].
    pub fn json(text: &str) -> Result<Self, ValueError> {
        check_json(text)?;
        Ok(Self::Json(text.trim().to_owned()))
    }

    /// Compares two values of one key field.
    ///
    /// Both have the type of the field, which [can be a key](FieldType::can_be_key), and neither is null.
    pub fn cmp_key(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.as_str().cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            _ => {
                let kinds = (self.kind(), other.kind());
                debug_assert!(false, "values of one key field cannot be {kinds:?}");
                Ordering::Equal
            }
        }
    }

    /// Returns the approximate number of bytes that the value adds to an index entry of the key.
    pub fn key_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 16,
        }
    }

    /// Returns whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: FieldType, text: &str) -> Option<Value> {
        Value::from_text(kind, text).ok()
    }

    #[test]
    fn integers_have_64_bits() {
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
    fn inexact_decimals_are_rejected() {
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
    fn infinite_floats_are_rejected() {
        assert_eq!(parse(FieldType::Float, "1e3"), Some(Value::Float(1000.0)));
        for wrong in ["NaN", "inf", "1e999", "x"] {
            assert_eq!(parse(FieldType::Float, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_and_timestamps_follow_iso_8601_or_a_pattern() {
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
        for kind in [FieldType::Date, FieldType::Timestamp] {
            assert!(Value::parse(kind, Some("%b %d %Y"), "Jan 1 2000").is_ok());
        }
    }

    #[test]
    fn zero_characters_are_rejected() {
        assert_eq!(parse(FieldType::Text, "a\0b"), None);
        assert_eq!(parse(FieldType::Json, r#""a\u0000b""#), None);
        assert!(parse(FieldType::Json, r#""a\\u0000b""#).is_some());
        assert_eq!(parse(FieldType::Json, "{"), None);
    }
}
