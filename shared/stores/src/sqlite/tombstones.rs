//! The tombstones of a table within the transaction of a chunk.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use landfall_domain::{Row, TOMBSTONE_DAYS};
use rusqlite::Transaction;
use rusqlite::types::ValueRef;

use super::registry;
use super::statement::Prepared;
use super::table::{DELETED_AT, quote, tombstones};
use super::values::Values;
use crate::error::Result;
use crate::registry::{Entry, SWEPT_BY_CHUNK};
use crate::schema::{Table, VERSION, list};
use crate::text::timestamp_text;

pub(super) struct Tombstones<'t> {
    /// Indexes of the key's values in a row.
    key: &'t [usize],
    now: String,
    /// Number of tombstones that the chunk leaves.
    added: usize,
    find: Prepared<'t>,
    put: Prepared<'t>,
    delete: Prepared<'t>,
}

impl<'t> Tombstones<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'_>,
        table: &Table,
        key: &'t [usize],
    ) -> rusqlite::Result<Self> {
        let name = tombstones(&table.name);
        let keys = list(&table.key, ", ", quote);
        let places = vec!["?"; table.key.len()].join(", ");
        let is_key = list(&table.key, " AND ", |name| format!("{} = ?", quote(name)));
        let find = format!("SELECT {VERSION} FROM {name} WHERE {is_key}");
        let put = format!(
            "INSERT INTO {name} ({keys}, {VERSION}, {DELETED_AT}) VALUES ({places}, ?, ?) \
             ON CONFLICT ({keys}) DO UPDATE SET \
             {VERSION} = excluded.{VERSION}, {DELETED_AT} = excluded.{DELETED_AT}"
        );
        let delete = format!("DELETE FROM {name} WHERE {is_key}");
        Ok(Self {
            key,
            now: timestamp_text(now(), 'T', "Z"),
            added: 0,
            find: Prepared::new(transaction, &find)?,
            put: Prepared::new(transaction, &put)?,
            delete: Prepared::new(transaction, &delete)?,
        })
    }

    /// Returns the version of the tombstone of a row's key.
    pub(super) fn find(&mut self, values: &Values, row: &Row) -> Result<Option<Vec<u8>>> {
        self.find.bind_key(self.key, values, row)?;
        let mut found = self.find.0.raw_query();
        let version = found.next()?.map(|tombstone| tombstone.get(0));
        Ok(version.transpose()?)
    }

    /// Leaves a tombstone for a row's key.
    pub(super) fn put(&mut self, values: &Values, row: &Row, version: &[u8]) -> Result<()> {
        let key = self.key.iter().map(|index| values.get(row, *index));
        let rest = [ValueRef::Blob(version), ValueRef::Text(self.now.as_bytes())];
        self.put.execute(key.chain(rest))?;
        self.added += 1;
        Ok(())
    }

    /// Deletes the tombstone of a row's key.
    pub(super) fn delete(&mut self, values: &Values, row: &Row) -> Result<()> {
        let key = self.key.iter().map(|index| values.get(row, *index));
        self.delete.execute(key)?;
        Ok(())
    }

    /// Sweeps expired tombstones after new ones, and registers whether there are any.
    pub(super) fn finish(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        entry: &Entry,
    ) -> Result<()> {
        if self.added > 0 {
            delete_expired(transaction, &table.name, SWEPT_BY_CHUNK)?;
        }
        if self.added > 0 || entry.tombstones {
            register(transaction, &table.name, entry)?;
        }
        Ok(())
    }
}

/// Deletes at most so many of the expired tombstones of a dataset, and returns their number.
pub(super) fn sweep(transaction: &Transaction<'_>, dataset: &str, rows: u64) -> Result<u64> {
    let entry = registry::prepared(transaction, dataset)?;
    if !entry.tombstones {
        return Ok(0);
    }
    let swept = delete_expired(transaction, dataset, rows)?;
    register(transaction, dataset, &entry)?;
    Ok(swept)
}

fn delete_expired(transaction: &Transaction<'_>, dataset: &str, rows: u64) -> Result<u64> {
    let tombstones = tombstones(dataset);
    let delete = format!(
        "DELETE FROM {tombstones} WHERE _rowid_ IN (SELECT _rowid_ FROM {tombstones} \
         WHERE {DELETED_AT} < ? ORDER BY {DELETED_AT} LIMIT {rows})"
    );
    let kept = SignedDuration::from_hours(i64::from(TOMBSTONE_DAYS) * 24);
    let before = timestamp_text(now() - kept, 'T', "Z");
    Ok(transaction.execute(&delete, [before])? as u64)
}

/// Registers whether the dataset of this entry has tombstones, if that has changed.
fn register(transaction: &Transaction<'_>, dataset: &str, entry: &Entry) -> Result<()> {
    let select = format!("SELECT EXISTS (SELECT 1 FROM {})", tombstones(dataset));
    let has_tombstones = transaction.query_row(&select, [], |row| row.get(0))?;
    if has_tombstones != entry.tombstones {
        registry::set_tombstones(transaction, dataset, has_tombstones)?;
    }
    Ok(())
}

/// Returns the time in UTC.
fn now() -> DateTime {
    TimeZone::UTC.to_datetime(jiff::Timestamp::now())
}
