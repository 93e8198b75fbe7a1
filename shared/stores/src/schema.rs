//! Tables as datasets define them, the same for every SQL database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_domain::{Dataset, Field, FieldType, StoreKind, Total, UnknownColumns, is_name};

use crate::StoreError;
use crate::retry::{bounded, retried};

/// Name of the column of the columns that the dataset does not name.
pub(crate) const EXTRA: &str = "_extra";
/// Name of the column of the row's version.
pub(crate) const VERSION: &str = "_version";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// A part of the key.
    Key(FieldType),
    /// A field that is not part of the key.
    Field(FieldType),
    /// The columns that the dataset does not name: a JSON object.
    Extra,
    /// The version of the row.
    Version,
}

impl ColumnKind {
    /// Whether it is null in no row.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::Key(_) | Self::Version)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
}

/// An index that has the rows in the order of a field, then of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// Name of the field.
    pub(crate) field: String,
    pub(crate) kind: FieldType,
    /// Whether it is of the first characters only: key fields are short, other texts need not be.
    pub(crate) is_cut: bool,
    /// Names of the key columns that come after it.
    pub(crate) ties: Vec<String>,
}

impl Index {
    fn of(dataset: &Dataset, field: &Field) -> Self {
        let is_key = dataset.key_fields().any(|part| part.name == field.name);
        let ties = dataset.key_fields().filter(|part| part.name != field.name);
        Self {
            field: field.name.clone(),
            kind: field.kind,
            is_cut: field.kind == FieldType::Text && !is_key,
            ties: ties.map(|part| part.name.clone()).collect(),
        }
    }
}

/// A table. Its columns are the fields in the dataset's order, `_extra` if kept, and `_version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Names of the key columns, in the order of the key.
    pub(crate) key: Vec<String>,
    /// Totals that the dataset defines.
    pub(crate) totals: Vec<Total>,
    /// Indexes that the dataset defines, beside the key's.
    pub(crate) indexes: Vec<Index>,
    store: StoreKind,
}

/// A column that a table of the database has.
pub(crate) struct ExistingColumn {
    pub(crate) name: String,
    /// Type, written as this crate writes it when it makes the column.
    pub(crate) sql_type: String,
    /// Place in the primary key, from 0.
    pub(crate) key_place: Option<usize>,
}

impl Table {
    /// The table of a dataset. Checks the names, as they end up in SQL.
    pub(crate) fn of(dataset: &Dataset, store: StoreKind) -> Result<Self, StoreError> {
        let fields = dataset.fields.iter().map(|field| &field.name);
        let totals = dataset.totals.iter().flat_map(|total| {
            let columns = total.columns.iter().map(|column| &column.name);
            columns.chain([&total.name])
        });
        let mut names = fields.chain(totals).chain([&dataset.name]);
        if let Some(name) = names.find(|name| !is_name(name)) {
            return Err(StoreError::Config(format!(
                "not a name of a table or column: {name:?}"
            )));
        }
        let mut columns: Vec<Column> = dataset
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| Column {
                name: field.name.clone(),
                kind: if dataset.key_indexes().contains(&index) {
                    ColumnKind::Key(field.kind)
                } else {
                    ColumnKind::Field(field.kind)
                },
            })
            .collect();
        if dataset.unknown_columns == UnknownColumns::Keep {
            columns.push(Column {
                name: EXTRA.to_owned(),
                kind: ColumnKind::Extra,
            });
        }
        columns.push(Column {
            name: VERSION.to_owned(),
            kind: ColumnKind::Version,
        });
        Ok(Self {
            name: dataset.name.clone(),
            columns,
            key: dataset
                .key_fields()
                .map(|field| field.name.clone())
                .collect(),
            totals: dataset.totals.clone(),
            indexes: dataset
                .indexed_fields()
                .map(|field| Index::of(dataset, field))
                .collect(),
            store,
        })
    }

    /// The columns that are neither key nor version: what "the same values" is about.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Column> {
        self.columns
            .iter()
            .filter(|column| matches!(column.kind, ColumnKind::Field(_) | ColumnKind::Extra))
    }

    /// Whether `_extra` is kept.
    pub(crate) fn has_extra(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.kind == ColumnKind::Extra)
    }

    /// Whether this field has an index that is of the beginnings of texts.
    pub(crate) fn has_beginnings_of(&self, field: &str) -> bool {
        let mut indexes = self.indexes.iter();
        indexes.any(|index| index.is_cut && index.field == field)
    }

    /// Compares with what is there, and gives the columns that are missing.
    ///
    /// `type_of` is the type that a column is made with.
    pub(crate) fn missing(
        &self,
        existing: &[ExistingColumn],
        type_of: impl Fn(&Column) -> String,
    ) -> Result<Vec<&Column>, StoreError> {
        let mut key: Vec<_> = existing
            .iter()
            .filter_map(|column| Some((column.key_place?, &column.name)))
            .collect();
        key.sort_unstable();
        if !key.iter().map(|(_, name)| *name).eq(&self.key) {
            return Err(self.misfit(format!(
                "its primary key is not ({}); rename the table or change the dataset's key",
                self.key.join(", ")
            )));
        }
        let mut missing = Vec::new();
        for column in &self.columns {
            let expected = type_of(column);
            match existing.iter().find(|there| there.name == column.name) {
                Some(there) if there.sql_type.eq_ignore_ascii_case(&expected) => {}
                Some(there) => {
                    return Err(self.misfit(format!(
                        "column {} is {}, and the dataset needs {expected}; change one of them",
                        column.name, there.sql_type
                    )));
                }
                None if column.kind.is_required() => {
                    return Err(self.misfit(format!(
                        "column {} is missing: the table was made by something else; rename it",
                        column.name
                    )));
                }
                None => missing.push(column),
            }
        }
        Ok(missing)
    }

    fn misfit(&self, reason: String) -> StoreError {
        StoreError::Schema {
            store: self.store,
            table: self.name.clone(),
            reason,
        }
    }
}

/// Writes one piece for each item, with a separator between.
pub(crate) fn list<T>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
    piece: impl Fn(T) -> String,
) -> String {
    let pieces: Vec<String> = items.into_iter().map(piece).collect();
    pieces.join(separator)
}

/// Which tables this process has prepared, by name.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<HashMap<String, Table>>);

impl Prepared {
    /// Makes a table, unless this process has.
    pub(crate) async fn once<F>(
        &self,
        table: &Table,
        timeout: Duration,
        make: impl FnMut() -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        if self.tables().get(&table.name) != Some(table) {
            bounded(table.store, timeout, retried(make)).await?;
            self.tables().insert(table.name.clone(), table.clone());
        }
        Ok(())
    }

    /// So that the next `prepare` looks again: something about the table was not as prepared.
    pub(crate) fn forget(&self, name: &str) {
        self.tables().remove(name);
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
