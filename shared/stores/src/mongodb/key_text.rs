//! The text that is the `_id` of a key of several fields.
//!
//! Each field is written so that texts sort by their bytes as the values do, and a tab stands between two fields. So
//! the texts sort as the keys do, one index serves both look-ups and pages, and all keys that begin with the same
//! fields are neighbours.
//!
//! | field | text |
//! |---|---|
//! | text | itself; characters up to U+000A, which would sort before or like the tab, are escaped |
//! | integer | the number of its digits as a letter (`A` is 1), then the digits: `D2013` |
//! | decimal | the same, then its fraction: `B12.5` |
//! | boolean | `false`, `true` |
//! | date | `2026-11-20` |
//! | timestamp | `2026-11-20T08:30:00.000000Z` |
//!
//! A negative number is `-`, the letter counted from the other end (`c` is 1), each digit subtracted from 9, and `~`,
//! so that greater magnitudes sort first: -13 is `-b86~`.
//!
//! Two other forms were considered. A document of the fields can use the `_id` index of a server too, but each entry
//! repeats the fields' names, a condition on the first fields cannot use it, and `secantusd-rs`, the server of the
//! local stack, reads the whole collection for every such `_id` (seen in versions 0.5.3-beta.193 and .196). Binary
//! data does not sort as the keys do: BSON compares it by length first.

use landfall_domain::{Dataset, FieldType, Value};
use rust_decimal::Decimal;

use crate::text::{write_date, write_timestamp};

/// The maximum number of digits before the point.
const MAX_DIGITS: usize = 29;
/// Separates two fields. Encoded fields contain only greater characters.
const SEPARATOR: char = '\t';
/// The greatest character that is escaped, and the prefix of each escaped character.
const ESCAPE: char = '\n';

/// Appends the text of a key, whose values are in the order of the key.
pub(super) fn write<'v>(text: &mut String, key: impl IntoIterator<Item = &'v Value>) {
    for (index, value) in key.into_iter().enumerate() {
        if index > 0 {
            text.push(SEPARATOR);
        }
        write_value(text, value);
    }
}

/// Returns the values of a key whose fields have these types; none if it is no text of such a key.
pub(super) fn read(text: &str, kinds: impl Iterator<Item = FieldType>) -> Option<Vec<Value>> {
    let mut fields = text.split(SEPARATOR);
    let values = kinds.map(|kind| read_value(kind, fields.next()?));
    let values: Vec<Value> = values.collect::<Option<_>>()?;
    fields.next().is_none().then_some(values)
}

fn read_value(kind: FieldType, text: &str) -> Option<Value> {
    let text = match kind {
        FieldType::Text => {
            let mut chars = text.chars();
            let mut plain = String::new();
            while let Some(char) = chars.next() {
                plain.push(match char {
                    ESCAPE => char::from(u8::try_from(chars.next()?).ok()?.checked_sub(b'0')?),
                    other => other,
                });
            }
            return Some(Value::Text(plain.as_str().into()));
        }
        FieldType::Integer | FieldType::Decimal => read_number(text)?,
        _ => text.to_owned(),
    };
    Value::from_text(kind, &text).ok()
}

fn read_number(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let Some(text) = text.strip_prefix('-') else {
        chars.next()?;
        return Some(chars.as_str().to_owned());
    };
    let mut digits = text.strip_suffix('~')?.chars();
    digits.next()?;
    let plain = digits.map(|digit| match digit {
        '0'..='9' => char::from(b'9' - digit as u8 + b'0'),
        point => point,
    });
    Some(std::iter::once('-').chain(plain).collect())
}

/// Returns whether the dataset's `_id` is such a text: its key has several fields.
pub(super) fn is_used(dataset: &Dataset) -> bool {
    dataset.key_indexes().len() > 1
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Text(value) => write_escaped(text, value),
        Value::Integer(number) => write_number(text, *number < 0, number.unsigned_abs().into(), ""),
        Value::Decimal(number) => write_decimal(text, *number),
        Value::Boolean(boolean) => text.push_str(if *boolean { "true" } else { "false" }),
        Value::Date(day) => write_date(text, *day),
        Value::Timestamp(instant) => write_timestamp(text, instant.to_datetime(), 'T', "Z"),
        Value::Null | Value::Float(_) | Value::Json(_) => {
            debug_assert!(false, "a key has no {:?}", value.kind());
        }
    }
}

fn write_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        if character > ESCAPE {
            text.push(character);
        } else {
            text.push(ESCAPE);
            // In the order of the characters: `0` for U+0000 to `:` for U+000A.
            text.push(char::from(b'0' + character as u8));
        }
    }
}

fn write_decimal(text: &mut String, number: Decimal) {
    let number = number.normalize();
    let whole = number.trunc().mantissa().unsigned_abs();
    let digits = number.abs().to_string();
    let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
    let is_negative = number.is_sign_negative() && !number.is_zero();
    write_number(text, is_negative, whole, fraction);
}

/// Writes a number of at most [`MAX_DIGITS`] digits before the point; `fraction` are those after it.
fn write_number(text: &mut String, is_negative: bool, whole: u128, fraction: &str) {
    let whole = whole.to_string();
    let point = if fraction.is_empty() { "" } else { "." };
    if is_negative {
        text.push('-');
        text.push(letter(MAX_DIGITS + 1 - whole.len()));
        let digits = [&whole, point, fraction].into_iter().flat_map(str::chars);
        text.extend(digits.map(|digit| match digit {
            '0'..='9' => char::from(b'9' - digit as u8 + b'0'),
            point => point,
        }));
        text.push('~');
    } else {
        text.push(letter(whole.len()));
        text.extend([&whole, point, fraction]);
    }
}

/// Returns the letter of a number from 1 to [`MAX_DIGITS`]: letters sort as their numbers do.
fn letter(number: usize) -> char {
    const LETTERS: &[u8; MAX_DIGITS] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabc";
    char::from(LETTERS[number - 1])
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use jiff::civil::Date;
    use landfall_domain::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn text_of(key: &[Value]) -> String {
        let mut text = String::new();
        write(&mut text, key);
        text
    }

    fn parsed(kind: FieldType, text: &str) -> Value {
        Value::from_text(kind, text).unwrap()
    }

    #[test]
    fn a_key_is_readable() {
        let key = [
            parsed(FieldType::Text, "DK 01"),
            parsed(FieldType::Integer, "2013"),
            parsed(FieldType::Decimal, "12.50"),
            parsed(FieldType::Boolean, "yes"),
            parsed(FieldType::Date, "2026-11-20"),
            parsed(FieldType::Timestamp, "2026-11-20T08:30:00Z"),
        ];
        let expected = "DK 01\tD2013\tB12.5\ttrue\t2026-11-20\t2026-11-20T08:30:00.000000Z";
        assert_eq!(text_of(&key), expected);
        assert_eq!(text_of(&[parsed(FieldType::Integer, "-13")]), "-b86~");
        assert_eq!(
            text_of(&[parsed(FieldType::Text, "a\tb\n\u{1}")]),
            "a\n9b\n:\n1"
        );
    }

    #[test]
    fn the_greatest_numbers_sort() {
        let decimals = [
            "-1e28",
            "-1e27",
            "-0.0000000000000000000000000001",
            "0",
            "1e27",
            "1e28",
        ];
        let integers = [i64::MIN, i64::MIN + 1, -10, -9, -1, 0, 1, 9, 10, i64::MAX];
        let decimals = decimals.map(|text| text_of(&[parsed(FieldType::Decimal, text)]));
        let integers = integers.map(|number| text_of(&[Value::Integer(number)]));
        assert!(
            decimals.is_sorted_by(|one, other| one < other),
            "{decimals:?}"
        );
        assert!(
            integers.is_sorted_by(|one, other| one < other),
            "{integers:?}"
        );
    }

    fn value(kind: FieldType) -> BoxedStrategy<Value> {
        let (first, last) = (-62_135_596_800_000_000_i64, 253_402_300_799_999_999);
        match kind {
            FieldType::Text => "[\\x01-\\x0cab~é€]{0,4}"
                .prop_map(|text| Value::Text(text.as_str().into()))
                .boxed(),
            FieldType::Integer => prop_oneof![any::<i64>(), -12_i64..12]
                .prop_map(Value::Integer)
                .boxed(),
            FieldType::Decimal => (prop_oneof![any::<i64>(), -120_i64..120], 0_u32..20)
                .prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale).normalize()))
                .boxed(),
            FieldType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            FieldType::Date => (1_i16..=9999, 1_i8..=12, 1_i8..=28)
                .prop_map(|(year, month, day)| Value::Date(Date::constant(year, month, day)))
                .boxed(),
            _ => (first..=last)
                .prop_map(|at| Value::Timestamp(Timestamp::from_microsecond(at).unwrap()))
                .boxed(),
        }
    }

    /// Two keys of the same types, which often have fields in common.
    fn two_keys() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
        let kinds = [
            FieldType::Text,
            FieldType::Integer,
            FieldType::Decimal,
            FieldType::Boolean,
            FieldType::Date,
            FieldType::Timestamp,
        ];
        let fields = prop::collection::vec(prop::sample::select(kinds.to_vec()), 1..5);
        let pairs = fields.prop_flat_map(|kinds| {
            let pair = |kind| (value(kind), value(kind), any::<bool>());
            kinds.into_iter().map(pair).collect::<Vec<_>>()
        });
        pairs.prop_map(|pairs| {
            let other = |(one, other, same): (Value, Value, bool)| {
                let second = if same { one.clone() } else { other };
                (one, second)
            };
            pairs.into_iter().map(other).unzip()
        })
    }

    proptest! {
        #[test]
        fn texts_sort_as_their_keys((one, other) in two_keys()) {
            let mut fields = one.iter().zip(&other).map(|(one, other)| one.cmp_key(other));
            let expected = fields.find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            prop_assert_eq!(text_of(&one).cmp(&text_of(&other)), expected);
        }

        #[test]
        fn a_text_is_read_as_its_key((key, _) in two_keys()) {
            let kinds = key.iter().filter_map(Value::kind);
            prop_assert_eq!(read(&text_of(&key), kinds), Some(key));
        }
    }
}
