//! Generates keys and values from numbers, and compares a table with a plain map.

use std::collections::BTreeMap;

use jiff::Span;
use jiff::civil::date;
use landfall_domain::{Dataset, FieldType, Timestamp, Value};
use rust_decimal::Decimal;

use crate::databases::Database;

/// The types that a key can have.
pub(crate) const KEY_TYPES: [FieldType; 6] = [
    FieldType::Text,
    FieldType::Integer,
    FieldType::Decimal,
    FieldType::Boolean,
    FieldType::Date,
    FieldType::Timestamp,
];

/// An expected row: values, unknown columns, version.
pub(crate) type Expected = (Vec<Value>, Option<String>, String);

/// The rows that a table must hold, by the texts of their keys.
pub(crate) type Rows = BTreeMap<Vec<String>, Expected>;

/// Returns a value of a type: different ones for different numbers below 1,000,000, as far as the type has them.
pub(crate) fn value_of(kind: FieldType, number: u64) -> Value {
    const BEGINNINGS: [&str; 6] = ["", "a", "A ", "\u{1}é\t", "€'\"\n", "$a.b\\"];
    assert!(number < 1_000_000);
    // An odd factor permutes the numbers.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let signed = if number.is_multiple_of(2) {
        number.cast_signed()
    } else {
        -number.cast_signed()
    };
    match kind {
        FieldType::Text => {
            let beginning = BEGINNINGS[usize::try_from(mixed >> 32).unwrap() % BEGINNINGS.len()];
            Value::Text(format!("{beginning}{number}").as_str().into())
        }
        FieldType::Integer if number.is_multiple_of(3) => Value::Integer(mixed.cast_signed()),
        FieldType::Integer => Value::Integer(signed),
        FieldType::Decimal => {
            let thousandths = signed * 1000 + signed.signum() * (mixed >> 54).cast_signed() % 1000;
            Value::Decimal(Decimal::new(thousandths, 3).normalize())
        }
        FieldType::Float => Value::Float(f64::from(u32::try_from(number).unwrap()) / 8.0),
        FieldType::Boolean => Value::Boolean(!number.is_multiple_of(2)),
        FieldType::Date => {
            const DAYS: u64 = 3_652_000;
            let days = i64::try_from(number * 7919 % DAYS).unwrap();
            Value::Date(date(1, 1, 1).checked_add(Span::new().days(days)).unwrap())
        }
        FieldType::Timestamp => {
            let microseconds = signed * 1_000_000_007;
            Value::Timestamp(Timestamp::from_microsecond(microseconds).unwrap())
        }
        FieldType::Json => Value::Json(format!(r#"{{"n":{number},"t":["é",null]}}"#)),
    }
}

/// Returns the number of keys of these types, if it is small.
pub(crate) fn keys_of(kinds: &[FieldType]) -> Option<u64> {
    let is_small = kinds.iter().all(|kind| *kind == FieldType::Boolean);
    is_small.then(|| 1 << kinds.len())
}

/// Returns the key with this number, whose fields have these types. One field distinguishes most keys, and the others
/// have few values each, so that keys share fields.
pub(crate) fn key_of(kinds: &[FieldType], number: u64) -> Vec<Value> {
    let is_small = |kind: &FieldType| *kind == FieldType::Boolean;
    // The last such field in some shapes, the first one in others.
    let main = if kinds.len().is_multiple_of(2) {
        kinds.iter().position(|kind| !is_small(kind))
    } else {
        kinds.iter().rposition(|kind| !is_small(kind))
    };
    let mut rest = number;
    let mut key: Vec<Value> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            if Some(index) == main {
                return Value::Null;
            }
            let values = if is_small(kind) { 2 } else { 3 };
            let value = value_of(*kind, rest % values);
            rest /= values;
            value
        })
        .collect();
    match main {
        Some(main) => key[main] = value_of(kinds[main], rest),
        None => assert_eq!(rest, 0, "there are not so many keys"),
    }
    key
}

/// Returns the texts of a row's key.
pub(crate) fn key_texts(dataset: &Dataset, values: &[Value]) -> Vec<String> {
    let key = dataset.key_indexes().iter();
    key.map(|index| values[*index].to_text().unwrap().into_owned())
        .collect()
}

/// Asserts that the dataset's table holds exactly these rows.
pub(crate) async fn assert_rows(
    database: &Database,
    dataset: &Dataset,
    expected: &Rows,
    after: &str,
) {
    let found = database.read(dataset).await;
    let count = found.len();
    let found: Rows = found
        .into_iter()
        .map(|found| {
            let values: Vec<_> = found.values.iter().map(comparable).collect();
            let extra = found.extra.as_deref().map(without_spaces);
            (
                key_texts(dataset, &found.values),
                (values, extra, found.version),
            )
        })
        .collect();
    // Keys as they are read: truncated timestamps would merge two keys.
    let expected: BTreeMap<_, _> = expected
        .values()
        .map(|(values, extra, version)| {
            let read: Vec<_> = values
                .iter()
                .map(|value| as_read(database, value))
                .collect();
            let key = key_texts(dataset, &read);
            let values: Vec<_> = read.iter().map(comparable).collect();
            let extra = extra.as_deref().map(without_spaces);
            (key, (values, extra, version.clone()))
        })
        .collect();
    for (key, row) in &expected {
        assert_eq!(found.get(key), Some(row), "{key:?}, {after}");
    }
    assert_eq!(count, expected.len(), "rows, {after}");
}

/// Returns an instant cut to milliseconds, as MongoDB stores it.
pub(crate) fn in_milliseconds(at: Timestamp) -> Timestamp {
    let microseconds = at.as_microsecond();
    Timestamp::from_microsecond(microseconds - microseconds.rem_euclid(1000)).unwrap()
}

/// Returns a value as the database's own client reads it.
fn as_read(database: &Database, value: &Value) -> Value {
    match value {
        Value::Timestamp(at) if database.is_mongodb() => Value::Timestamp(in_milliseconds(*at)),
        other => other.clone(),
    }
}

/// Returns a value with JSON in one form.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Json(text) => Value::Json(without_spaces(text)),
        other => other.clone(),
    }
}

fn without_spaces(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value.to_string()
}
