//! PostgreSQL (15 or later): a chunk is copied into a temporary table, in parallel with others, and merged in one
//! pass.
//!
//! Keys are in [lanes](crate::sql::lanes), and merges in one lane run in turn, under an advisory lock that lasts
//! one transaction. A merge never waits for a row locked by another merge, whatever keys they share; only other
//! programs that write to the table can block it. A chunk processes its lanes in parallel, with one or two
//! transactions each. Work on several keys (totals, deletes, snapshots, the table itself) takes all lanes, in one
//! transaction.
//!
//! `jsonb` holds JSON except numbers of more than 1,000 digits or with exponents beyond ±400. Such a value is
//! stored as a JSON string of its text.
//!
//! # Commits
//!
//! A lane commits with `synchronous_commit = off`, so that the next writer does not wait for the disk. The chunk
//! then ends with a separate log record, committed as the server's settings say. Because the log is written in
//! order, everything that the ledger counts is then on disk.
//!
//! # What a row costs
//!
//! The cost of a row grows with the table. It grows most when the key's index and the rows that come again exceed
//! the server's memory, and when frequent checkpoints force nearly every changed page into the log in full. The
//! local PostgreSQL therefore gets 1 GB for pages (like the local MariaDB) and may let its log grow to 4 GB; the
//! defaults are 128 MB and 1 GB. What still grows is nearly all CPU time of the server (`cargo benchmark line`).
//!
//! That benchmark touches all memory before each load. The host of a virtual machine may provide memory only when
//! it is first touched, and take back free memory. If such a touch is slow, as on the machine of
//! `docs/benchmark.md`, the loads that need the most memory are delayed most, and the database seems to be the
//! cause.
//!
//! # Tried and given up
//!
//! A new table can be loaded without its key: the key is created when the job closes, and rows whose keys may
//! already exist are merged then. Most of the saved time is lost again, because one connection does this last part
//! while all workers wait. Until then, readers, other jobs and other programs see a table without its key.
//!
//! [`crate::sql::lanes`] and [`merge`] list what was tried for lanes and for the merge.

mod build;
mod changes;
mod chunk;
mod columns;
mod copy;
mod deletes;
mod destination;
mod key_ranges;
mod keys;
mod known;
mod maintain;
mod merge;
mod prepare;
mod ranges;
mod read;
mod registry;
mod search;
mod statement;
mod table;
mod totals;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, PrunePreview, Row, RowVersion, StoreCounts, StoreKind};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::error::{Result, StoreError};
use crate::maintenance::{Current, Maintenance, Prepared};
use crate::registry::Entry;
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::sql::{self, SqlDatabase, SqlTransaction as _};
use crate::store::{Backend, Load, StoreOptions};
use crate::walk::Step;
use chunk::{Chunk, Statements};
use known::Hashed;
pub(crate) use read::ReadPostgres;
use statement::{error, pool};
use write::Write;

/// Timeouts that clean up after a function that died mid-transaction, and limit waits for it; and memory for a staged
/// chunk.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '30s'; \
     SET temp_buffers = '24MB'";

/// Writes a record to the log, and waits until it, and with it all earlier commits, is durable by the server's
/// settings. Merges do not wait for that themselves, as others wait for them.
const FLUSH: &str = "SELECT pg_logical_emit_message(true, 'landfall', '')";

pub(crate) struct Postgres {
    pool: PgPool,
    timeout: Duration,
    step_rows: u64,
    small_table_rows: u64,
}

impl Postgres {
    pub(crate) fn new(url: &str, options: StoreOptions) -> Result<Self> {
        let acquire_timeout = options.timeout / 2;
        let session = SESSION.to_owned();
        Ok(Self {
            pool: pool(
                url,
                "landfall",
                options.connections,
                acquire_timeout,
                session,
            )?,
            timeout: options.timeout,
            step_rows: options.step_rows,
            small_table_rows: options.small_table_rows,
        })
    }

    async fn connection(&self) -> Result<PoolConnection<sqlx::Postgres>> {
        self.pool.acquire().await.map_err(error)
    }

    async fn begin_with(&self, statements: String) -> Result<Write> {
        let begun = self.pool.begin_with(AssertSqlSafe(statements)).await;
        begun.map(Write::new).map_err(error)
    }

    async fn begin(&self) -> Result<Write> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}; \
             SET LOCAL client_min_messages = warning",
            self.timeout.as_millis()
        );
        self.begin_with(begin).await
    }

    /// Inserts the new rows of a lane and returns the others, or none if no hashes are kept or all lanes are needed.
    async fn attempt_insert<'r>(
        &self,
        part: &Chunk<'r>,
        lane: usize,
        hashes: &[u32],
    ) -> Result<Option<Vec<&'r Row>>> {
        let name = &part.table.name;
        let hashed = Hashed::new(part, hashes);
        let mut transaction = self.begin_with(part.statements.merge.begin.clone()).await?;
        let lane_lock = LaneLock::Lane(lane);
        let entry = transaction.lock(name, lane_lock).await?;
        let is_sufficient = lane_lock.is_sufficient(&entry);
        let has_words = entry.registered.search == part.table.search;
        if !is_sufficient || !has_words || entry.has_floor_above(part.versions.first()) {
            transaction.rollback().await?;
            return Ok(None);
        }
        let connection = &mut transaction.transaction;
        let Some(split) = hashed.split(connection, lane).await? else {
            transaction.commit().await?;
            return Ok(None);
        };
        part.insert(connection, &split.new).await?;
        if entry.registered.tracking.is_on() {
            part.record(connection, &split.new).await?;
        }
        known::add(connection, name, lane, &split.hashes).await?;
        transaction.commit().await?;
        Ok(Some(split.others))
    }
}

#[async_trait]
impl SqlDatabase for Postgres {
    type Statements = Statements;
    type Transaction = Write;

    async fn statements(&self, table: &Table) -> Result<Statements> {
        Ok(Statements::new(table, self.timeout))
    }

    /// Deletes the hashes of keys if most of the chunk's keys exist.
    async fn look_up(&self, chunk: &Chunk<'_>) -> Result<Option<bool>> {
        let name = &chunk.table.name;
        let mut connection = self.connection().await?;
        let entry = registry::entry(&mut connection, name).await?;
        if !entry.is_some_and(|entry| chunk.can_use_lanes(&entry)) {
            return Ok(None);
        }
        if !known::are_kept(&mut connection, name).await? {
            return Ok(Some(false));
        }
        let are_new = known::are_most_new(&mut connection, chunk).await?;
        if !are_new {
            known::forget(&mut connection, name).await?;
        }
        Ok(Some(are_new))
    }

    fn step_rows(&self) -> u64 {
        self.step_rows
    }

    async fn begin_walk(&self, _: &Table) -> Result<Write> {
        self.begin().await
    }

    async fn begin(&self) -> Result<Write> {
        self.begin().await
    }

    async fn stage(&self, chunk: &Chunk<'_>) -> Result<Write> {
        let merge = &chunk.statements.merge;
        let mut write = self.begin_with(merge.begin.clone()).await?;
        chunk.stage(&mut write.transaction).await?;
        write.counters = merge.counters(&mut write.transaction).await?;
        Ok(write)
    }

    async fn entry(&self, dataset: &str) -> Result<Entry> {
        let entry = registry::entry(&mut *self.connection().await?, dataset).await?;
        entry.ok_or_else(registry::not_registered)
    }

    async fn stage_keys(&self, chunk: &Chunk<'_>) -> Result<Write> {
        let merge = &chunk.statements.merge;
        let mut write = self.begin_with(merge.begin.clone()).await?;
        chunk.stage_keys(&mut write.transaction).await?;
        write.counters = merge.counters(&mut write.transaction).await?;
        Ok(write)
    }

    async fn insert_new<'r>(
        &self,
        part: &Chunk<'r>,
        lane: usize,
        hashes: &[u32],
    ) -> Result<Vec<&'r Row>> {
        match self.attempt_insert(part, lane, hashes).await {
            Ok(others) => Ok(others.unwrap_or_else(|| part.rows.clone())),
            // A key exists without its hash, or others interfere: merges handle both.
            Err(StoreError::Contended { .. }) => {
                known::forget(&mut *self.connection().await?, &part.table.name).await?;
                Ok(part.rows.clone())
            }
            Err(other) => Err(other),
        }
    }

    async fn flush(&self) -> Result<()> {
        self.pool.execute(FLUSH).await.map(drop).map_err(error)
    }
}

#[async_trait]
impl Backend for Postgres {
    const KIND: StoreKind = StoreKind::Postgres;

    async fn prepare(&self, dataset: &Dataset, table: &Table) -> Result<Prepared> {
        let (mut connection, small) = (self.connection().await?, self.small_table_rows);
        prepare::check_server(&mut connection, table).await?;
        let prepared = prepare::prepared(&mut connection, dataset, table, small).await?;
        if let Some(prepared) = prepared {
            return Ok(prepared);
        }
        drop(connection);
        let mut write = self.begin().await?;
        let prepared = prepare::make(&mut write.transaction, dataset, table, small).await?;
        write.commit().await?;
        Ok(prepared)
    }

    async fn is_maintained(&self, table: &Table) -> Result<bool> {
        maintain::is_locked(&mut *self.connection().await?, table).await
    }

    async fn maintain(
        &self,
        dataset: &Dataset,
        table: &Table,
        current: &Current,
    ) -> Result<Maintenance> {
        maintain::step(self, dataset, table, current).await
    }

    async fn searched(&self, dataset: &str) -> Result<Vec<String>> {
        let entry = registry::entry(&mut *self.connection().await?, dataset).await?;
        Ok(entry
            .map(|entry| entry.registered.search)
            .unwrap_or_default())
    }

    async fn apply(&self, load: Load<'_>) -> Result<StoreCounts> {
        sql::apply(self, load).await
    }

    async fn preview_prune(&self, table: &Table, floor: RowVersion) -> Result<Step<PrunePreview>> {
        sql::preview_prune(self, table, floor).await
    }

    async fn prune(&self, table: &Table, floor: RowVersion) -> Result<Step<u64>> {
        sql::prune(self, table, floor).await
    }

    async fn next_to_sweep(&self, after: &str) -> Result<Option<String>> {
        registry::next_with_tombstones(&mut *self.connection().await?, after).await
    }

    async fn sweep(&self, dataset: &str) -> Result<u64> {
        sql::sweep(self, dataset).await
    }

    async fn rebuild_totals(&self, dataset: &Dataset, table: &Table) -> Result<Vec<(String, u64)>> {
        let mut write = self.begin().await?;
        let groups = prepare::rebuild_totals(&mut write.transaction, dataset, table).await?;
        write.commit().await?;
        Ok(groups)
    }
}
