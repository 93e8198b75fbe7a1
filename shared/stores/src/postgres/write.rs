//! The steps of a chunk in a transaction.

use async_trait::async_trait;
use landfall_domain::{StoreCounts, StoredKey};
use sqlx::{Postgres as Driver, Transaction};

use super::chunk::{Chunk, Statements};
use super::merge::Counters;
use super::statement::{count, error, run};
use super::totals::Totals;
use super::{changes, deletes, ranges, registry};
use crate::changes::now;
use crate::columns::{Columns, Plan};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::sql::{Below, Change, SqlTransaction};
use crate::walk::Range;

/// A transaction, and the state between its steps.
pub(crate) struct Write {
    pub(super) transaction: Transaction<'static, Driver>,
    /// The counters of the merge when the rows were staged.
    pub(super) counters: Counters,
    /// The statements that add the changes to the tables of totals.
    update_totals: Vec<String>,
    /// Whether the dataset that is locked has destinations.
    pub(super) tracks: bool,
}

impl Write {
    pub(super) fn new(transaction: Transaction<'static, Driver>) -> Self {
        Self {
            transaction,
            counters: Counters::default(),
            update_totals: Vec::new(),
            tracks: false,
        }
    }
}

#[async_trait]
impl SqlTransaction<Statements> for Write {
    async fn lock(&mut self, dataset: &str, lock: LaneLock) -> Result<Entry> {
        let entry = registry::lock(&mut self.transaction, dataset, lock).await?;
        self.tracks = entry.registered.tracking.is_on();
        Ok(entry)
    }

    async fn save(&mut self, dataset: &str, entry: &Entry) -> Result<()> {
        registry::save(&mut self.transaction, dataset, entry).await
    }

    async fn drop_rows_of_deleted_keys(&mut self, chunk: &Chunk<'_>) -> Result<u64> {
        let deletes = &chunk.statements.deletes;
        deletes
            .drop_rows_of_deleted_keys(&mut self.transaction)
            .await
    }

    async fn create_tombstones(&mut self, chunk: &Chunk<'_>) -> Result<()> {
        let create = chunk.statements.deletes.create.as_str();
        run(&mut self.transaction, create).await.map(drop)
    }

    async fn sum_totals(
        &mut self,
        table: &Table,
        entry: &Entry,
        change: &Change<'_, Statements>,
    ) -> Result<()> {
        for total in Totals::all(table, entry)? {
            let rows = match change {
                Change::Chunk(chunk) => {
                    let Statements { merge, deletes, .. } = chunk.statements;
                    let deletes = (chunk.deletes > 0).then_some(deletes);
                    total.rows_of_chunk(table, merge, deletes)?
                }
                Change::Below(below) => total.rows_below(table, below)?,
            };
            run(&mut self.transaction, total.sum_up(&rows)).await?;
            self.update_totals.push(total.update);
        }
        Ok(())
    }

    async fn stored_keys(&mut self, chunk: &Chunk<'_>, entry: &Entry) -> Result<Vec<StoredKey>> {
        chunk
            .stored_keys(&mut self.transaction, entry.tombstones)
            .await
    }

    async fn stage_updates(
        &mut self,
        chunk: &Chunk<'_>,
        columns: &Columns,
        plan: &Plan<'_>,
    ) -> Result<()> {
        chunk
            .stage_updates(&mut self.transaction, columns, plan)
            .await
    }

    async fn delete_outlived_tombstones(&mut self, chunk: &Chunk<'_>) -> Result<()> {
        let deletes = &chunk.statements.deletes;
        deletes
            .delete_outlived_tombstones(&mut self.transaction)
            .await
    }

    async fn write_updates(&mut self, chunk: &Chunk<'_>, plan: &Plan<'_>) -> Result<u64> {
        let rows = plan.updates.len() as u64;
        Ok(self.upsert(chunk, rows).await?.updated)
    }

    async fn upsert(&mut self, chunk: &Chunk<'_>, rows: u64) -> Result<StoreCounts> {
        let Statements { merge, changes, .. } = chunk.statements;
        if self.tracks {
            run(&mut self.transaction, changes.of_upserts(now())).await?;
        }
        merge.run(&mut self.transaction, rows, &self.counters).await
    }

    async fn delete(&mut self, chunk: &Chunk<'_>) -> Result<StoreCounts> {
        let Statements {
            deletes, changes, ..
        } = chunk.statements;
        if self.tracks {
            let staged = &deletes.staged.table;
            run(&mut self.transaction, changes.of_deletes(staged, now())).await?;
        }
        deletes.run(&mut self.transaction, chunk.deletes).await
    }

    async fn range(
        &mut self,
        _: &Table,
        name: &str,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range> {
        ranges::next(&mut self.transaction, name, place, rows).await
    }

    async fn count_below(&mut self, table: &Table, below: &Below<'_>) -> Result<[u64; 2]> {
        ranges::count_below(&mut self.transaction, &table.name, below).await
    }

    async fn delete_below(&mut self, table: &Table, name: &str, below: &Below<'_>) -> Result<u64> {
        if self.tracks && *name == table.name {
            let entries = changes::of_prune(table, below, now());
            run(&mut self.transaction, entries).await?;
        }
        ranges::delete_below(&mut self.transaction, name, below).await
    }

    async fn sweep(&mut self, dataset: &str, rows: u64) -> Result<u64> {
        run(&mut self.transaction, deletes::sweep(dataset, rows)).await
    }

    async fn has_tombstones(&mut self, dataset: &str) -> Result<bool> {
        let tombstones = deletes::tombstone_table(dataset);
        let any = format!("SELECT count(*) FROM (SELECT FROM {tombstones} LIMIT 1) t");
        Ok(count(&mut self.transaction, any).await? == [1])
    }

    async fn update_totals(&mut self) -> Result<()> {
        for statements in &self.update_totals {
            run(&mut self.transaction, statements.as_str()).await?;
        }
        Ok(())
    }

    async fn commit(self) -> Result<()> {
        self.transaction.commit().await.map_err(error)
    }

    async fn rollback(self) -> Result<()> {
        self.transaction.rollback().await.map_err(error)
    }
}
