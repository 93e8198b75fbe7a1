//! Values of fields, and how they are parsed from text.

mod error;
mod field_type;
mod hint;
mod instant;
mod json;
mod notation;
mod number;
mod output;
mod text;
mod time;
mod timestamp;
mod zone;

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::civil::Date;
use rust_decimal::Decimal;

pub use error::ValueError;
pub use field_type::FieldType;
pub use json::check_json;
pub(crate) use notation::{
    BooleanWords, EpochUnit, Fold, Notation, NumberNotation, TimeFormat, is_same_word,
};
pub use output::{JsonOf, JsonText};
pub use text::Text;
pub(crate) use time::pattern_fault;
pub use timestamp::Timestamp;
pub use zone::zone;

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
    /// An instant in the years 1 to 9999, cut to microseconds.
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
        Self::parse(kind, &Notation::default(), text, &mut false)
    }

    /// Parses a value of this type as a file contains it. Sets `is_truncated` if the text has more precision.
    pub(crate) fn parse(
        kind: FieldType,
        notation: &Notation,
        text: &str,
        is_truncated: &mut bool,
    ) -> Result<Self, ValueError> {
        match kind {
            FieldType::Text if text.contains('\0') => Err(ValueError::zero_character()),
            FieldType::Text => Ok(Self::Text(text.into())),
            FieldType::Integer | FieldType::Decimal | FieldType::Float => {
                let value = match &notation.number {
                    None => Self::plain_number(kind, text.trim()),
                    Some(number) => {
                        let plain = number.plain(text);
                        plain.and_then(|plain| Self::number(kind, &plain))
                    }
                };
                value.ok_or_else(|| hint::number(kind, notation.number.as_ref(), text))
            }
            FieldType::Boolean => match &notation.boolean {
                None => notation::usual_boolean(text.trim()),
                Some(words) => words.parse(text),
            }
            .map(Self::Boolean)
            .ok_or_else(|| hint::boolean(notation.boolean.as_ref(), text)),
            FieldType::Date => time::date(text.trim(), &notation.time)
                .map(Self::Date)
                .map_err(|error| hint::time(kind, &notation.time, text, error)),
            FieldType::Timestamp => time::timestamp(text.trim(), &notation.time, is_truncated)
                .map(Self::Timestamp)
                .map_err(|error| hint::time(kind, &notation.time, text, error)),
            FieldType::Json => Self::json(text),
        }
    }

    /// Parses a number as Rust writes it, or with a typographic minus.
    fn plain_number(kind: FieldType, text: &str) -> Option<Self> {
        Self::number(kind, text).or_else(|| {
            let digits = text.strip_prefix('\u{2212}')?;
            Self::number(kind, &format!("-{digits}"))
        })
    }

    fn number(kind: FieldType, text: &str) -> Option<Self> {
        match kind {
            FieldType::Integer => number::integer(text).map(Self::Integer),
            FieldType::Decimal => number::decimal(text).map(Self::Decimal),
            _ => number::float(text).map(Self::Float),
        }
    }

    /// Parses a JSON number, `true` or `false` for a field of this type.
    pub(crate) fn of_json_scalar(
        kind: FieldType,
        notation: &Notation,
        json: &str,
        is_truncated: &mut bool,
    ) -> Result<Self, ValueError> {
        let is_number = !json.starts_with(['t', 'f']);
        let format = notation.time.format.as_ref();
        match kind {
            FieldType::Date | FieldType::Timestamp if is_number && format.is_some() => {
                Self::parse(kind, notation, json, is_truncated)
            }
            FieldType::Date | FieldType::Timestamp => {
                let found = if is_number { "a number" } else { "a boolean" };
                let kind_name = kind.as_str();
                let message = format!("is {found}, not a {kind_name} in quotes");
                let hint = if is_number {
                    hint::time_hint(kind, format, json)
                } else {
                    String::new()
                };
                let separator = if hint.is_empty() { "" } else { "; " };
                Err(ValueError::of(json, &format!("{message}{separator}{hint}")))
            }
            // Words may be numbers, like 1 and 0.
            FieldType::Boolean if is_number => Self::parse(kind, notation, json, is_truncated),
            _ => Self::from_text(kind, json),
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
        for (text, number) in [("1e3", 1000), ("1.5e1", 15), ("-2.50E2", -250)] {
            assert_eq!(
                parse(FieldType::Integer, text),
                Some(Value::Integer(number))
            );
        }
        for wrong in [
            "",
            "1.5",
            "1.",
            "9223372036854775808",
            "1e-1",
            "1e19",
            "0x10",
        ] {
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
            let mut notation = Notation::default();
            notation.time.format = Some(TimeFormat::Pattern("%b %d %Y".to_owned()));
            assert!(Value::parse(kind, &notation, "Jan 1 2000", &mut false).is_ok());
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
