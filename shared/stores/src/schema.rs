//! Tables as datasets define them, the same for every SQL database.
//!
//! A worker creates or extends a dataset's table when it first needs it, and not again for the same definition.
//! Deployment would be too late, because definitions change without one. Nothing is dropped or retyped, and two
//! workers that find the same column missing do not conflict. If a definition no longer has a field, its column
//! keeps its values in SQL; in MongoDB, a document loses the field with its next change.

/// Name of the column with the input columns that the dataset does not define.
pub(crate) use landfall_domain::EXTRA_COLUMN as EXTRA;
use landfall_domain::{
    Dataset, Field, FieldType, Mode, StoreKind, Total, UnknownColumns, is_name, is_total_name,
    search_column,
};

use crate::error::{Result, StoreError};

pub(crate) const VERSION: &str = "_version";
/// Name of the column with the versions of the columns that are older than their row.
pub(crate) const VERSIONS: &str = "_versions";

/// The role of a column, with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Key(FieldType),
    Field(FieldType),
    /// The input columns that the dataset does not define: a JSON object.
    Extra,
    /// The words of a searched field.
    Search,
    Version,
    /// The versions of the columns that are older than their row, if the dataset is merged by column.
    Versions,
}

impl ColumnKind {
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::Key(_) | Self::Version)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
}

/// An index of the rows by a field, then by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) field: String,
    pub(crate) kind: FieldType,
    /// Whether it covers only the first characters: texts outside the key may be long.
    pub(crate) is_cut: bool,
    /// Names of the key columns that follow the field.
    pub(crate) ties: Vec<String>,
}

impl Index {
    fn new(dataset: &Dataset, field: &Field) -> Self {
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

/// A table. Its columns are the fields in the dataset's order, those of the words of searched fields, `_extra` if kept,
/// `_version`, and `_versions` if rows are merged by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) key: Vec<String>,
    pub(crate) totals: Vec<Total>,
    /// Indexes that the dataset defines, beside the key's.
    pub(crate) indexes: Vec<Index>,
    /// The field whose value decides which row is newer.
    pub(crate) order: Option<String>,
    /// The fields that are searched.
    pub(crate) search: Vec<String>,
    /// The stack that prepares the table, if the caller says so.
    pub(crate) owner: Option<String>,
    store: StoreKind,
}

pub(crate) struct ExistingColumn {
    pub(crate) name: String,
    /// The type, as this crate writes it when it creates the column.
    pub(crate) sql_type: String,
    /// Position in the primary key, from 0.
    pub(crate) key_place: Option<usize>,
}

impl Table {
    /// Returns the table of a dataset. Checks the names, as they become part of SQL.
    pub(crate) fn new(dataset: &Dataset, store: StoreKind) -> Result<Self> {
        let records = dataset.of_records();
        let fields = records.fields.iter().map(|field| &field.name);
        let totals = dataset.totals.iter().flat_map(|total| {
            let columns = total.columns.iter().map(|column| &column.name);
            columns.chain(Some(&total.name).filter(|name| !is_total_name(name)))
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
        if dataset.mode == Mode::Merge {
            columns.push(versions_column());
        }
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
                .map(|field| Index::new(dataset, field))
                .collect(),
            order: dataset.order().map(|field| field.name.clone()),
            search: Vec::new(),
            owner: None,
            store,
        })
    }

    /// Adds the columns with the words of these fields, if the dataset has them.
    pub(crate) fn with_search(mut self, dataset: &Dataset, search: &[String]) -> Self {
        let columns = searched(dataset, search).map(|(_, field)| words_column(field));
        let at = dataset.fields.len();
        self.columns.splice(at..at, columns);
        self.search = search.to_vec();
        self
    }

    /// Returns the table with these columns, which are merged by column, after those of the key.
    pub(crate) fn merged(&self, columns: impl Iterator<Item = Column>) -> Self {
        let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
        let key = self.columns.iter().filter(is_key).cloned();
        let version = Column {
            name: VERSION.to_owned(),
            kind: ColumnKind::Version,
        };
        let versions = [version, versions_column()];
        Self {
            columns: key.chain(columns).chain(versions).collect(),
            ..self.clone()
        }
    }

    /// Returns whether rows are merged by column.
    pub(crate) fn is_merged(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| column.kind == ColumnKind::Versions)
    }

    /// Returns the columns that are neither key nor version.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Column> {
        let is_value = |kind| {
            matches!(
                kind,
                ColumnKind::Field(_) | ColumnKind::Extra | ColumnKind::Search
            )
        };
        let columns = self.columns.iter();
        columns.filter(move |column| is_value(column.kind))
    }

    pub(crate) fn has_extra(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.kind == ColumnKind::Extra)
    }

    /// Returns whether this field has an index of the beginnings of its texts.
    pub(crate) fn has_beginnings_of(&self, field: &str) -> bool {
        let mut indexes = self.indexes.iter();
        indexes.any(|index| index.is_cut && index.field == field)
    }

    /// Returns the columns that an existing table lacks, or an error if it does not fit.
    ///
    /// `type_of` returns the type that a column is created with.
    pub(crate) fn missing(
        &self,
        existing: &[ExistingColumn],
        type_of: impl Fn(&Column) -> String,
    ) -> Result<Vec<&Column>> {
        let mut key: Vec<_> = existing
            .iter()
            .filter_map(|column| Some((column.key_place?, &column.name)))
            .collect();
        key.sort_unstable();
        if !key.iter().map(|(_, name)| *name).eq(&self.key) {
            return Err(self.mismatch(format!(
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
                    return Err(self.mismatch(format!(
                        "column {} is {}, and the dataset needs {expected}; change one of them",
                        column.name, there.sql_type
                    )));
                }
                None if column.kind.is_required() => {
                    return Err(self.mismatch(format!(
                        "column {} is missing: the table was made by something else; rename it",
                        column.name
                    )));
                }
                None => missing.push(column),
            }
        }
        Ok(missing)
    }

    fn mismatch(&self, reason: String) -> StoreError {
        StoreError::schema(self.store, &self.name, reason)
    }
}

impl Column {
    /// Returns whether the column decides whether two rows have the same values. Words follow from other columns, and
    /// may be missing in rows that are older than the search.
    pub(crate) fn is_compared(&self) -> bool {
        matches!(self.kind, ColumnKind::Field(_) | ColumnKind::Extra)
    }
}

/// Returns the fields that a dataset searches.
pub(crate) fn search_of(dataset: &Dataset) -> Vec<String> {
    let fields = dataset.search_indexes().iter();
    fields
        .map(|index| dataset.fields[*index].name.clone())
        .collect()
}

/// Returns those of the searched fields that a dataset has, with their indexes.
pub(crate) fn searched<'s>(
    dataset: &Dataset,
    search: &'s [String],
) -> impl Iterator<Item = (usize, &'s String)> {
    search.iter().filter_map(|name| {
        let index = dataset.fields.iter().position(|field| field.name == *name);
        index.map(|index| (index, name))
    })
}

/// Returns the column of the words of a field.
pub(crate) fn words_column(field: &str) -> Column {
    Column {
        name: search_column(field),
        kind: ColumnKind::Search,
    }
}

fn versions_column() -> Column {
    Column {
        name: VERSIONS.to_owned(),
        kind: ColumnKind::Versions,
    }
}

pub(crate) fn list<T>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
    piece: impl FnMut(T) -> String,
) -> String {
    let pieces: Vec<String> = items.into_iter().map(piece).collect();
    pieces.join(separator)
}
