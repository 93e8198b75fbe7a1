//! What a store has of a single key: the versions of its row, and its tombstone.
//!
//! One statement reads both, as a delete replaces the row by the tombstone, and a newer row the tombstone by a row.

use landfall_domain::{Dataset, StoreKind, Value, columns_by_version};

use super::statement::{Dialect, ReadTable, Statement};
use super::{KeyVersions, StoredVersions, Tombstone};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, Registered};
use crate::schema::{VERSION, VERSIONS};

/// A row of the statement: version, versions of the columns, and the time of the delete if it is a tombstone.
pub(crate) type VersionColumns = (Vec<u8>, Option<Vec<u8>>, Option<String>);

/// Returns the statement that selects the versions of a key, if it has a row or a tombstone.
pub(crate) fn select(
    dialect: &impl Dialect,
    dataset: &Dataset,
    table: &ReadTable,
    entry: Option<&Entry>,
    key: &[Value],
) -> Statement {
    let mut values = Vec::new();
    let mut is_key = || {
        let fields = dataset.key_indexes().iter().zip(key);
        let conditions = fields.map(|(field, value)| {
            values.push(value.clone());
            let column = &table.columns[*field];
            let place = dialect.place(values.len(), column.kind);
            format!("{} = {place}", column.raw)
        });
        conditions.collect::<Vec<_>>().join(" AND ")
    };
    let is_merged = entry.is_some_and(|entry| entry.registered.is_merged());
    let no_bytes = dialect.no_bytes();
    let versions = if is_merged { VERSIONS } else { no_bytes };
    let no_time = dialect.no_text();
    let mut sql = format!(
        "SELECT {VERSION}, {versions}, {no_time} FROM {} WHERE {}",
        table.name,
        is_key()
    );
    if entry.is_some_and(|entry| entry.tombstones) {
        let (tombstones, time) = (dialect.tombstones(&dataset.name), dialect.deleted_at());
        let tombstones = format!(
            " UNION ALL SELECT {VERSION}, {no_bytes}, {time} FROM {tombstones} WHERE {}",
            is_key()
        );
        sql.push_str(&tombstones);
    }
    Statement { sql, values }
}

/// Returns what rows of the statement say.
pub(crate) fn found(
    store: StoreKind,
    entry: Option<Entry>,
    rows: Vec<VersionColumns>,
) -> Result<KeyVersions> {
    let mut found = KeyVersions::default();
    for (version, versions, deleted_at) in rows {
        if let Some(deleted_at) = deleted_at {
            found.tombstone = Some(Tombstone {
                version,
                deleted_at,
            });
        } else {
            let registered = entry.as_ref().map(|entry| &entry.registered);
            found.row = Some(of_row(store, registered, version, versions)?);
        }
    }
    found.floor = entry.and_then(|entry| entry.floor);
    Ok(found)
}

/// Returns the versions of a row.
pub(crate) fn of_row(
    store: StoreKind,
    registered: Option<&Registered>,
    version: Vec<u8>,
    versions: Option<Vec<u8>>,
) -> Result<StoredVersions> {
    let names = registered.map_or(&[][..], |registered| &registered.merged);
    let groups = match versions {
        None => Vec::new(),
        Some(versions) => columns_by_version(&version, &versions, names.len())
            .map_err(|error| StoreError::unavailable(store, error.to_string()))?,
    };
    let columns = groups.into_iter().map(|(version, columns)| {
        let columns = columns.iter().filter_map(|column| names.get(column));
        (version, columns.cloned().collect())
    });
    Ok(StoredVersions {
        version,
        columns: columns.collect(),
    })
}
