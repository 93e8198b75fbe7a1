//! Least and greatest values.

use landfall_domain::FieldType;
use rusqlite::types::{Value, ValueRef};
use rust_decimal::Decimal;

/// A value that can be the least or greatest of a column. All of one column are of one variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extreme {
    Integer(i64),
    Decimal(Decimal),
    /// Dates and timestamps, whose texts sort as they do.
    Text(String),
}

impl Extreme {
    /// Reads a value of a column of this type; none where it is null.
    pub(super) fn read(kind: FieldType, value: ValueRef<'_>) -> Result<Option<Self>, ()> {
        Ok(Some(match value {
            ValueRef::Null => return Ok(None),
            ValueRef::Integer(number) => Self::Integer(number),
            other => {
                let text = other.as_str().map_err(drop)?;
                match kind {
                    FieldType::Decimal => Self::Decimal(text.parse().map_err(drop)?),
                    _ => Self::Text(text.to_owned()),
                }
            }
        }))
    }

    /// The least or greatest of two.
    pub(super) fn of(a: Option<Self>, b: Option<Self>, is_least: bool) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if is_least { a.min(b) } else { a.max(b) }),
            (a, b) => a.or(b),
        }
    }
}

impl From<Extreme> for Value {
    fn from(extreme: Extreme) -> Self {
        match extreme {
            Extreme::Integer(number) => Self::Integer(number),
            Extreme::Decimal(number) => Self::Text(number.to_string()),
            Extreme::Text(text) => Self::Text(text),
        }
    }
}
