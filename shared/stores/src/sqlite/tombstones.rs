//! The tombstones of a table within the transaction of a chunk.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use landfall_domain::Row;
use rusqlite::Transaction;
use rusqlite::types::ValueRef;

use super::registry;
use super::statement::Prepared;
use super::table::{DELETED_AT, quote, tombstones};
use super::values::Values;
use crate::error::Result;
use crate::registry::{Entry, SWEPT_AT_ONCE, TOMBSTONE_DAYS};
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
            sweep(transaction, table)?;
        }
        if self.added > 0 || entry.tombstones {
            let select = format!("SELECT EXISTS (SELECT 1 FROM {})", tombstones(&table.name));
            let has_tombstones = transaction.query_row(&select, [], |row| row.get(0))?;
            if has_tombstones != entry.tombstones {
                registry::set_tombstones(transaction, &table.name, has_tombstones)?;
            }
        }
        Ok(())
    }
}

fn sweep(transaction: &Transaction<'_>, table: &Table) -> rusqlite::Result<()> {
    let tombstones = tombstones(&table.name);
    let sweep = format!(
        "DELETE FROM {tombstones} WHERE _rowid_ IN (SELECT _rowid_ FROM {tombstones} \
         WHERE {DELETED_AT} < ? ORDER BY {DELETED_AT} LIMIT {SWEPT_AT_ONCE})"
    );
    let kept = SignedDuration::from_hours(i64::from(TOMBSTONE_DAYS) * 24);
    let before = timestamp_text(now() - kept, 'T', "Z");
    transaction.execute(&sweep, [before]).map(drop)
}

/// Returns the time in UTC.
fn now() -> DateTime {
    TimeZone::UTC.to_datetime(jiff::Timestamp::now())
}
