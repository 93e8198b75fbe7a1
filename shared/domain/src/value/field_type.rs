//! The types that values can have.

use serde::{Deserialize, Serialize};

/// Type of a field and of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FieldType {
    /// Unicode text.
    Text,
    /// Signed 64-bit integer.
    Integer,
    /// Exact decimal number of at most 28 significant digits.
    Decimal,
    /// Finite 64-bit floating-point number.
    Float,
    /// True or false.
    Boolean,
    /// Calendar date.
    Date,
    /// Instant in time.
    Timestamp,
    /// Any JSON value.
    Json,
}

impl FieldType {
    /// Returns the word used in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }

    /// Returns whether every store can index the values exactly.
    pub fn can_be_key(self) -> bool {
        !matches!(self, Self::Float | Self::Json)
    }
}
