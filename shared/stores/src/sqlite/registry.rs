//! The registry's row of a dataset.

use landfall_domain::RowVersion;
use rusqlite::{OptionalExtension, Transaction};

use super::error::{Result, unavailable};
use crate::registry::{REGISTRY, Registered};

/// What the registry has of a dataset.
pub(super) struct Entry {
    pub(super) registered: Registered,
    /// Whether there may be tombstones.
    pub(super) tombstones: bool,
    floor: Option<Vec<u8>>,
    pruned: i64,
}

impl Entry {
    /// Rows that the prune with this floor deleted, if there was one.
    pub(super) fn pruned_at(&self, floor: RowVersion) -> Option<i64> {
        let is_it = self.floor.as_deref() == Some(floor.as_bytes().as_slice());
        is_it.then_some(self.pruned)
    }

    /// Whether a newer snapshot than this has pruned.
    pub(super) fn has_floor_above(&self, version: RowVersion) -> bool {
        let floor = self.floor.as_deref();
        floor.is_some_and(|floor| floor > version.as_bytes().as_slice())
    }
}

/// Makes the registry where it is missing.
pub(super) fn make(transaction: &Transaction<'_>) -> Result<()> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {REGISTRY} (dataset TEXT PRIMARY KEY, definition TEXT NOT NULL, \
         tombstones INTEGER NOT NULL DEFAULT FALSE, floor BLOB, pruned INTEGER) STRICT"
    );
    Ok(transaction.execute_batch(&create)?)
}

pub(super) fn read(transaction: &Transaction<'_>, dataset: &str) -> Result<Option<Entry>> {
    let select = format!(
        "SELECT definition, tombstones, floor, COALESCE(pruned, 0) FROM {REGISTRY} WHERE dataset = ?"
    );
    let mut select = transaction.prepare_cached(&select)?;
    let found = select.query_row([dataset], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
        ))
    });
    let Some((definition, tombstones, floor, pruned)) = found.optional()? else {
        return Ok(None);
    };
    let registered = serde_json::from_str(&definition)
        .map_err(|_| unavailable("the registry's definition can't be read"))?;
    Ok(Some(Entry {
        registered,
        tombstones,
        floor,
        pruned,
    }))
}

/// The entry of a dataset that was prepared.
pub(super) fn prepared(transaction: &Transaction<'_>, dataset: &str) -> Result<Entry> {
    let entry = read(transaction, dataset)?;
    Ok(entry.ok_or_else(|| unavailable("the dataset is not registered"))?)
}

/// Registers what a definition adds; leaves the rest of the row.
pub(super) fn write(
    transaction: &Transaction<'_>,
    dataset: &str,
    registered: &Registered,
) -> Result<()> {
    let definition = serde_json::to_string(registered)
        .map_err(|_| unavailable("the registry's definition can't be written"))?;
    let upsert = format!(
        "INSERT INTO {REGISTRY} (dataset, definition) VALUES (?, ?)
         ON CONFLICT (dataset) DO UPDATE SET definition = excluded.definition"
    );
    transaction.execute(&upsert, [dataset, &definition])?;
    Ok(())
}

/// Forgets a dataset.
pub(super) fn remove(transaction: &Transaction<'_>, dataset: &str) -> Result<()> {
    let delete = format!("DELETE FROM {REGISTRY} WHERE dataset = ?");
    transaction.execute(&delete, [dataset])?;
    Ok(())
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

pub(super) fn set_floor(
    transaction: &Transaction<'_>,
    dataset: &str,
    floor: &[u8],
    pruned: i64,
) -> Result<()> {
    let update = format!("UPDATE {REGISTRY} SET floor = ?, pruned = ? WHERE dataset = ?");
    let values = (floor, pruned, dataset);
    transaction.execute(&update, values)?;
    Ok(())
}
