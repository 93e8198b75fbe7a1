//! The registry entry of a dataset.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::error::{STORE, unavailable};
use super::table::exists;
use crate::changes::{IS_TRACKED, tracked_of};
use crate::error::Result;
use crate::registry::{Entry, EntryColumns, REGISTRY, Registered, signed};

pub(super) fn make(transaction: &Transaction<'_>) -> Result<()> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {REGISTRY} (dataset TEXT PRIMARY KEY, definition TEXT NOT NULL, \
         tombstones INTEGER NOT NULL DEFAULT FALSE, floor BLOB, pruned INTEGER, walks TEXT) STRICT"
    );
    transaction.execute_batch(&create)?;
    // Registries of earlier releases have no walks.
    let select = format!(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('{REGISTRY}') WHERE name = 'walks')"
    );
    if !transaction.query_row(&select, [], |row| row.get(0))? {
        transaction.execute_batch(&format!("ALTER TABLE {REGISTRY} ADD COLUMN walks TEXT"))?;
    }
    Ok(())
}

pub(super) fn read(connection: &Connection, dataset: &str) -> Result<Option<Entry>> {
    let select = format!(
        "SELECT definition, tombstones, floor, COALESCE(pruned, 0), walks FROM {REGISTRY} WHERE dataset = ?"
    );
    let mut select = connection.prepare_cached(&select)?;
    let found = select.query_row([dataset], |row| EntryColumns::try_from(row));
    let entry = |columns| Entry::from_columns(STORE, columns);
    found.optional()?.map(entry).transpose()
}

pub(super) fn prepared(transaction: &Transaction<'_>, dataset: &str) -> Result<Entry> {
    let entry = read(transaction, dataset)?;
    entry.ok_or_else(|| unavailable("the dataset is not registered"))
}

/// Registers a definition, and leaves the rest of the entry.
pub(super) fn write(
    transaction: &Transaction<'_>,
    dataset: &str,
    registered: &Registered,
) -> Result<()> {
    let definition = registered.to_json(STORE)?;
    let upsert = format!(
        "INSERT INTO {REGISTRY} (dataset, definition) VALUES (?, ?)
         ON CONFLICT (dataset) DO UPDATE SET definition = excluded.definition"
    );
    transaction.execute(&upsert, [dataset, &definition])?;
    Ok(())
}

pub(super) fn remove(transaction: &Transaction<'_>, dataset: &str) -> Result<()> {
    let delete = format!("DELETE FROM {REGISTRY} WHERE dataset = ?");
    transaction.execute(&delete, [dataset])?;
    Ok(())
}

/// Returns the entries of datasets that changes are, or were, recorded of.
pub(super) fn tracked(connection: &Connection) -> Result<Vec<(String, Registered)>> {
    if !exists(connection, REGISTRY)? {
        return Ok(Vec::new());
    }
    let select = format!("SELECT dataset, definition FROM {REGISTRY} WHERE {IS_TRACKED}");
    let mut select = connection.prepare(&select)?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tracked_of(STORE, found.collect::<rusqlite::Result<_>>()?)
}

/// Returns the first dataset after this one, by name, that has tombstones.
pub(super) fn next_with_tombstones(connection: &Connection, after: &str) -> Result<Option<String>> {
    if !exists(connection, REGISTRY)? {
        return Ok(None);
    }
    let select = format!(
        "SELECT dataset FROM {REGISTRY} WHERE tombstones AND dataset > ? ORDER BY dataset LIMIT 1"
    );
    let next = connection.query_row(&select, [after], |row| row.get(0));
    Ok(next.optional()?)
}

pub(super) fn set_tombstones(
    transaction: &Transaction<'_>,
    dataset: &str,
    there: bool,
) -> Result<()> {
    let update = format!("UPDATE {REGISTRY} SET tombstones = ? WHERE dataset = ?");
    transaction.execute(&update, (there, dataset))?;
    Ok(())
}

/// Saves floor and walks.
pub(super) fn set_walks(transaction: &Transaction<'_>, dataset: &str, entry: &Entry) -> Result<()> {
    let update =
        format!("UPDATE {REGISTRY} SET floor = ?, pruned = ?, walks = ? WHERE dataset = ?");
    let (pruned, walks) = (signed(STORE, entry.pruned)?, entry.walks_json(STORE)?);
    transaction.execute(&update, (&entry.floor, pruned, walks, dataset))?;
    Ok(())
}
