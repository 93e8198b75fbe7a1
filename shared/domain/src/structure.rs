use serde::{Deserialize, Serialize};

/// What the maintenance of a big table creates or changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Structure {
    /// What it is.
    pub kind: StructureKind,
    /// The indexed field, or the name of the table.
    pub name: String,
    /// The number of rows that are included so far, if it is built in steps.
    pub rows: Option<u64>,
}

/// Kind of what the maintenance of a big table creates or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StructureKind {
    /// An index.
    Index,
    /// A table of totals.
    Totals,
    /// The versions of the rows, which get longer.
    Versions,
    /// The words of the searched fields.
    Search,
}

impl Structure {
    /// Returns the index of a field.
    pub fn index(field: &str) -> Self {
        Self {
            kind: StructureKind::Index,
            name: field.to_owned(),
            rows: None,
        }
    }

    /// Returns the versions of the rows of a table.
    pub fn versions(table: &str) -> Self {
        Self {
            kind: StructureKind::Versions,
            name: table.to_owned(),
            rows: None,
        }
    }

    /// Returns the words of the searched fields of a table, which these rows have if they are added in steps.
    pub fn search(table: &str, rows: Option<u64>) -> Self {
        Self {
            kind: StructureKind::Search,
            name: table.to_owned(),
            rows,
        }
    }

    /// Returns a table of totals of which these rows are included, if it is built in steps.
    pub fn totals(name: &str, rows: Option<u64>) -> Self {
        Self {
            kind: StructureKind::Totals,
            name: name.to_owned(),
            rows,
        }
    }
}
