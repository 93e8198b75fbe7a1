//! Least and greatest values.

use landfall_domain::FieldType;
use rusqlite::types::{Value, ValueRef};
use rust_decimal::Decimal;

/// A least or greatest value. Those of one column have one variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extreme {
    Integer(i64),
    Decimal(Decimal),
    /// Dates and timestamps: their texts sort as they do.
    Text(String),
}

impl Extreme {
    /// Reads a value of a column of this type; none if it is null.
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

    /// Returns the lesser or greater of two.
    pub(super) fn best(a: Option<Self>, b: Option<Self>, is_least: bool) -> Option<Self> {
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
