//! The registry's row of a dataset.

use landfall_domain::StoreKind;
use rusqlite::{OptionalExtension, Transaction};

use super::error::{Result, unavailable};
use crate::registry::{Entry, REGISTRY, Registered};

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
    Ok(Some(Entry {
        registered: Registered::from_json(StoreKind::Sqlite, &definition)?,
        tombstones,
        floor,
        pruned: super::count(pruned),
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
    let definition = registered.to_json(StoreKind::Sqlite)?;
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
    pruned: u64,
) -> Result<()> {
    let update = format!("UPDATE {REGISTRY} SET floor = ?, pruned = ? WHERE dataset = ?");
    let pruned = i64::try_from(pruned).unwrap_or(i64::MAX);
    transaction.execute(&update, (floor, pruned, dataset))?;
    Ok(())
}
