//! What an SQL server supplies to the write path.

use async_trait::async_trait;
use landfall_domain::{Dataset, Row, RowVersions, StoreCounts, StoredKey};

use super::lanes::{self, LaneLock};
use crate::columns::{Columns, Plan};
use crate::error::{Result, SEARCH_CHANGED, StoreError};
use crate::registry::Entry;
use crate::schema::Table;
use crate::store::Backend;
use crate::walk::Range;

/// Rows of one object on their way into a table. `S` are the database's statements for the table.
pub(crate) struct Chunk<'a, S> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a Table,
    pub(crate) statements: &'a S,
    /// Indexes of the key's fields.
    pub(crate) key: &'a [usize],
    pub(crate) versions: RowVersions,
    pub(crate) deletes: u64,
    pub(crate) rows: Vec<&'a Row>,
}

impl<S> Chunk<'_, S> {
    /// Returns whether the chunk can be applied lane by lane: it is large enough, and its rows affect no rows of other
    /// lanes.
    pub(crate) fn can_use_lanes(&self, entry: &Entry) -> bool {
        self.rows.len() >= lanes::MIN_ROWS && self.deletes == 0 && lanes::are_independent(entry)
    }
}

/// What a transaction changes.
pub(crate) enum Change<'a, S> {
    /// The keys of a staged chunk.
    Chunk(&'a Chunk<'a, S>),
    /// Rows that a prune deletes.
    Below(&'a Below<'a>),
}

/// The rows of a range that are below a floor.
pub(crate) struct Below<'a> {
    /// The floor in hexadecimal.
    pub(crate) floor: &'a str,
    /// The condition of the range, on the alias `t`.
    pub(crate) condition: &'a str,
}

/// A database server that chunks are written to.
#[async_trait]
pub(crate) trait SqlDatabase: Backend {
    type Statements: Send + Sync;
    type Transaction: SqlTransaction<Self::Statements>;

    async fn statements(&self, table: &Table) -> Result<Self::Statements>;

    /// Returns whether [`SqlDatabase::insert_new`] is worth an attempt for a chunk that can be applied lane by lane,
    /// or none if it cannot. Locks nothing.
    async fn look_up(&self, chunk: &Chunk<'_, Self::Statements>) -> Result<Option<bool>>;

    /// Returns the approximate number of rows of a range.
    fn step_rows(&self) -> u64;

    /// Begins a transaction that handles a range of a table.
    async fn begin_walk(&self, table: &Table) -> Result<Self::Transaction>;

    /// Begins a transaction that nothing is staged for.
    async fn begin(&self) -> Result<Self::Transaction>;

    /// Stages a chunk, and begins the transaction that applies it.
    async fn stage(&self, chunk: &Chunk<'_, Self::Statements>) -> Result<Self::Transaction>;

    /// Returns the registry entry of a dataset. Locks nothing.
    async fn entry(&self, dataset: &str) -> Result<Entry>;

    /// Stages the keys of a chunk that is merged by column, and begins the transaction that applies it.
    async fn stage_keys(&self, chunk: &Chunk<'_, Self::Statements>) -> Result<Self::Transaction>;

    /// Inserts the rows of a lane whose keys are certainly new, in a separate transaction, and returns the others.
    /// `hashes` are those of the rows' keys.
    async fn insert_new<'r>(
        &self,
        chunk: &Chunk<'r, Self::Statements>,
        _lane: usize,
        _hashes: &[u32],
    ) -> Result<Vec<&'r Row>> {
        Ok(chunk.rows.clone())
    }

    /// Waits until all that was committed is durable, for databases whose commits do not.
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// A transaction on one dataset: the steps of the sequence. Without a commit it is rolled back when it is dropped.
///
/// If the dataset that is locked has destinations, the steps that insert, update or delete rows also record which keys
/// change ([`crate::changes`]).
#[async_trait]
pub(crate) trait SqlTransaction<S>: Send + Sized {
    /// Waits for other writers of the dataset, and keeps them waiting until the transaction ends. Returns the
    /// registry entry. Only a holder of all lanes changes it, so it stays as it is read.
    async fn lock(&mut self, dataset: &str, lock: LaneLock) -> Result<Entry>;

    /// Writes the registry entry of a dataset that is locked.
    async fn save(&mut self, dataset: &str, entry: &Entry) -> Result<()>;

    /// Returns whether the transaction was staged for another state of the registry.
    fn is_outdated(&self, _entry: &Entry) -> bool {
        false
    }

    /// Drops staged rows whose keys a newer row deleted, and returns their number. Also deletes the tombstones that
    /// are older than the other rows.
    async fn drop_rows_of_deleted_keys(&mut self, chunk: &Chunk<'_, S>) -> Result<u64>;

    /// Creates the table of tombstones, unless staging a chunk with deletes did.
    async fn create_tombstones(&mut self, _chunk: &Chunk<'_, S>) -> Result<()> {
        Ok(())
    }

    /// Sums up, for each table of totals, what the change is about to do.
    async fn sum_totals(
        &mut self,
        table: &Table,
        entry: &Entry,
        change: &Change<'_, S>,
    ) -> Result<()>;

    /// Returns what is stored for the key of each row, whose keys are staged.
    async fn stored_keys(&mut self, chunk: &Chunk<'_, S>, entry: &Entry) -> Result<Vec<StoredKey>>;

    /// Stages what is planned for the rows of a chunk that is merged by column.
    async fn stage_updates(
        &mut self,
        chunk: &Chunk<'_, S>,
        columns: &Columns,
        plan: &Plan<'_>,
    ) -> Result<()>;

    /// Deletes the tombstones that are older than the staged updates.
    async fn delete_outlived_tombstones(&mut self, chunk: &Chunk<'_, S>) -> Result<()>;

    /// Writes the staged updates. Returns how many of those of existing rows change a value.
    async fn write_updates(&mut self, chunk: &Chunk<'_, S>, plan: &Plan<'_>) -> Result<u64>;

    /// Upserts the staged rows that neither delete their keys nor were dropped; there are `rows` of them.
    async fn upsert(&mut self, chunk: &Chunk<'_, S>, rows: u64) -> Result<StoreCounts>;

    /// Deletes the keys of the staged rows that do so, and leaves tombstones.
    async fn delete(&mut self, chunk: &Chunk<'_, S>) -> Result<StoreCounts>;

    /// Returns the range of about so many rows that begins at a place, of the table with this name, which has the rows
    /// or the tombstones.
    async fn range(
        &mut self,
        table: &Table,
        name: &str,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range>;

    /// Counts the rows of a range, and those below the floor.
    async fn count_below(&mut self, table: &Table, below: &Below<'_>) -> Result<[u64; 2]>;

    /// Deletes rows or tombstones, from the table with this name, and returns their number.
    async fn delete_below(&mut self, table: &Table, name: &str, below: &Below<'_>) -> Result<u64>;

    /// Deletes at most so many of the expired tombstones of a dataset that is locked, and returns their number.
    async fn sweep(&mut self, dataset: &str, rows: u64) -> Result<u64>;

    /// Returns whether a dataset that is locked has tombstones.
    async fn has_tombstones(&mut self, dataset: &str) -> Result<bool>;

    /// Adds what was summed up to the tables of totals, once the rows are written.
    async fn update_totals(&mut self) -> Result<()>;

    async fn commit(self) -> Result<()>;

    async fn rollback(self) -> Result<()>;
}

/// Another worker changed the registry after the transaction was staged.
pub(super) fn outdated<D: SqlDatabase>() -> StoreError {
    StoreError::contended(D::KIND, "the dataset's registration changed")
}

/// The dataset has gained search after the words of the rows were to be stored.
pub(super) fn words_outdated<D: SqlDatabase>() -> StoreError {
    StoreError::unavailable(D::KIND, SEARCH_CHANGED)
}
