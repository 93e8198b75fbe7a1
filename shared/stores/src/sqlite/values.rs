//! Values as `SQLite` stores them.

use std::fmt::Write;

use landfall_domain::{FieldType, Row, Value};
use rusqlite::types::{Value as Bound, ValueRef};

use super::error::unavailable;
use crate::error::Result;
use crate::text::{date_text, timestamp_text, write_date, write_timestamp};

pub(super) fn type_of(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Integer | FieldType::Boolean => "INTEGER",
        FieldType::Float => "REAL",
        FieldType::Text
        | FieldType::Decimal
        | FieldType::Date
        | FieldType::Timestamp
        | FieldType::Json => "TEXT",
    }
}

/// The values of one row at a time. It reuses the memory of their texts.
#[derive(Default)]
pub(super) struct Values {
    /// Texts of the values that are not texts themselves.
    texts: Vec<String>,
}

impl Values {
    /// Prepares a row.
    pub(super) fn set(&mut self, row: &Row) {
        self.texts.resize_with(row.values.len(), String::new);
        for (value, text) in row.values.iter().zip(&mut self.texts) {
            text.clear();
            match value {
                Value::Decimal(number) => {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{number}");
                }
                Value::Date(day) => write_date(text, *day),
                Value::Timestamp(instant) => write_timestamp(text, instant.to_datetime(), 'T', "Z"),
                _ => {}
            }
        }
    }

    /// Returns a value of the prepared row.
    pub(super) fn get<'a>(&'a self, row: &'a Row, index: usize) -> ValueRef<'a> {
        match &row.values[index] {
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Json(text) => ValueRef::Text(text.as_bytes()),
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Float(number) => ValueRef::Real(*number),
            Value::Boolean(boolean) => ValueRef::Integer(i64::from(*boolean)),
            Value::Decimal(_) | Value::Date(_) | Value::Timestamp(_) => {
                ValueRef::Text(self.texts[index].as_bytes())
            }
        }
    }
}

/// Returns a value as it is bound and stored.
pub(super) fn bound(value: Value) -> Bound {
    match value {
        Value::Null => Bound::Null,
        Value::Text(text) => Bound::Text(text.into()),
        Value::Json(text) => Bound::Text(text),
        Value::Integer(number) => Bound::Integer(number),
        Value::Float(number) => Bound::Real(number),
        Value::Boolean(boolean) => Bound::Integer(i64::from(boolean)),
        Value::Decimal(number) => Bound::Text(number.to_string()),
        Value::Date(day) => Bound::Text(date_text(day)),
        Value::Timestamp(instant) => Bound::Text(timestamp_text(instant.to_datetime(), 'T', "Z")),
    }
}

/// Returns a stored value of a column of this type.
pub(super) fn value(kind: FieldType, stored: ValueRef<'_>) -> Result<Value> {
    let unreadable = || unavailable("a value does not have its column's type");
    Ok(match (kind, stored) {
        (_, ValueRef::Null) => Value::Null,
        (FieldType::Boolean, ValueRef::Integer(number)) => Value::Boolean(number != 0),
        (FieldType::Integer, ValueRef::Integer(number)) => Value::Integer(number),
        (FieldType::Float, ValueRef::Real(number)) => Value::Float(number),
        (_, ValueRef::Text(_)) => {
            let text = stored.as_str().map_err(|_| unreadable())?;
            match kind {
                FieldType::Text => Value::Text(text.into()),
                FieldType::Json => Value::Json(text.to_owned()),
                _ => Value::from_text(kind, text).map_err(|_| unreadable())?,
            }
        }
        _ => return Err(unreadable()),
    })
}
