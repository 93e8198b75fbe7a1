//! Records which keys change ([`crate::changes`]).

use landfall_domain::Row;
use rusqlite::Transaction;
use rusqlite::types::ValueRef;

use super::statement::Prepared;
use super::table::quote;
use super::values::Values;
use crate::changes::{entries_of, now};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::{Table, VERSION, list};

/// Records which keys of a chunk change, if the dataset has destinations.
pub(super) struct Recorder<'t> {
    /// Indexes of the key's values in a row.
    key: &'t [usize],
    at: i64,
    insert: Option<Prepared<'t>>,
}

impl<'t> Recorder<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'_>,
        table: &Table,
        key: &'t [usize],
        entry: &Entry,
    ) -> rusqlite::Result<Self> {
        let insert = || {
            let insert = insert(table);
            let places = vec!["?"; key.len() + 2].join(", ");
            Prepared::new(transaction, &format!("{insert} VALUES ({places})"))
        };
        let tracks = entry.registered.tracking.is_on();
        Ok(Self {
            key,
            at: now(),
            insert: tracks.then(insert).transpose()?,
        })
    }

    /// Records that the key of a row that the values were set to has changed.
    pub(super) fn record(&mut self, values: &Values, row: &Row, version: &[u8]) -> Result<()> {
        let Some(insert) = &mut self.insert else {
            return Ok(());
        };
        let key = self.key.iter().map(|index| values.get(row, *index));
        let rest = [ValueRef::Blob(version), ValueRef::Integer(self.at)];
        insert.execute(key.chain(rest)).map(drop)
    }
}

fn insert(table: &Table) -> String {
    let (entries, key) = (
        quote(entries_of(&table.name)),
        list(&table.key, ", ", quote),
    );
    format!("INSERT INTO {entries} ({key}, {VERSION}, _at)")
}

/// Records which keys a prune is about to delete.
pub(super) fn record_prune(
    transaction: &Transaction<'_>,
    table: &Table,
    floor: Option<&[u8]>,
    condition: &str,
) -> Result<()> {
    let (insert, key) = (insert(table), list(&table.key, ", ", quote));
    let record = format!(
        "{insert} SELECT {key}, ?1, {} FROM {} WHERE {VERSION} < ?1 AND {condition}",
        now(),
        quote(&table.name)
    );
    transaction.execute(&record, [floor])?;
    Ok(())
}
