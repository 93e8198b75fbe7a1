use serde::{Deserialize, Serialize};

/// A table of totals, with one row for each group of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Name of the table.
    pub name: String,
    /// Names of the fields whose values form a group. They are neither floats nor JSON. Null is a value
    /// like any other.
    pub by: Vec<String>,
    /// The columns beside the fields of the group, in the order of the definition.
    pub columns: Vec<TotalColumn>,
}

/// A column of a table of totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalColumn {
    /// Name of the column.
    pub name: String,
    /// What the column contains.
    pub measure: Measure,
}

/// An aggregate of the rows of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number of rows.
    Count,
    /// The sum of an integer or decimal field; 0 if no row has a value.
    Sum(String),
    /// The minimum of an integer, decimal, date or timestamp field; null if no row has a value.
    Min(String),
    /// The maximum of such a field; null if no row has a value.
    Max(String),
}

impl Measure {
    /// Returns the name of the aggregated field, or `None` for a count.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Min(field) | Self::Max(field) => Some(field),
        }
    }
}
