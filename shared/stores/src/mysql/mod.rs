//! `MySQL` (8.0.17 and later) and `MariaDB` (10.2 and later): multi-row upserts that write only over what is
//! older, at READ COMMITTED.
//!
//! Keys are in lanes, and merges of a lane run one after the other. So no merge waits for a row of another one,
//! whatever keys they share; only other programs that write to the table can get in the way. A chunk takes its lanes
//! side by side, a transaction each. What concerns several keys (totals, deletes, snapshots) takes all lanes, in one
//! transaction.
//!
//! Statements that create tables commit implicitly. So a chunk is staged, and the table of tombstones created, before
//! its transaction begins.
//!
//! Texts compare by their bytes, including trailing spaces. A text key is `varchar(512)`; the texts of a key of
//! several are `varbinary`. Timestamps are UTC. JSON is kept as text.
//! `InnoDB` has room for about 185 full text fields in a row; see [`crate::size`].

mod build;
mod changes;
mod columns;
mod dialect;
mod existing;
mod indexes;
mod keys;
mod prepare;
mod ranges;
mod read;
mod registry;
mod search;
mod statement;
mod totals;
mod upsert;
mod versions;
mod write;

use async_trait::async_trait;
use landfall_domain::{Dataset, PrunePreview, RowVersion, StoreCounts, StoreKind};
use sqlx::MySql;
use sqlx::pool::PoolConnection;

use crate::error::Result;
use crate::maintenance::{Current, Maintenance, Prepared};
use crate::registry::Entry;
use crate::schema::Table;
use crate::sql::{self, SqlDatabase};
use crate::store::{Backend, Load, StoreOptions};
use crate::walk::Step;
use indexes::Means;
pub(crate) use read::ReadMysql;
use statement::{Server, error};
use write::{Chunk, Statements, Write};

/// Strict, so that a value that does not fit is an error rather than another value. Also timeouts that clean up after
/// a function that died mid-transaction, and limit waits for it.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
    SET SESSION innodb_lock_wait_timeout = 30; \
    SET SESSION lock_wait_timeout = 30; \
    SET SESSION wait_timeout = 600; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

pub(crate) struct Mysql {
    server: Server,
    step_rows: u64,
    small_table_rows: u64,
}

impl Mysql {
    pub(crate) fn new(url: &str, options: StoreOptions) -> Result<Self> {
        let (acquire_timeout, session) = (options.timeout / 2, SESSION.to_owned());
        Ok(Self {
            server: Server::new(url, options.connections, acquire_timeout, session)?,
            step_rows: options.step_rows,
            small_table_rows: options.small_table_rows,
        })
    }

    async fn connection(&self) -> Result<PoolConnection<MySql>> {
        self.server.pool.acquire().await.map_err(error)
    }
}

#[async_trait]
impl SqlDatabase for Mysql {
    type Statements = Statements;
    type Transaction = Write;

    async fn statements(&self, table: &Table) -> Result<Statements> {
        let dialect = self.server.dialect().await.map_err(error)?;
        Ok(Statements::new(table, dialect))
    }

    async fn look_up(&self, chunk: &Chunk<'_>) -> Result<Option<bool>> {
        let mut connection = self.connection().await?;
        let entry = registry::read(&mut connection, &chunk.table.name).await?;
        let can_use_lanes = entry.is_some_and(|entry| chunk.can_use_lanes(&entry));
        Ok(can_use_lanes.then_some(false))
    }

    fn step_rows(&self) -> u64 {
        self.step_rows
    }

    async fn begin_walk(&self, table: &Table) -> Result<Write> {
        let dialect = self.server.dialect().await.map_err(error)?;
        Write::walk(self.connection().await?, table, dialect).await
    }

    async fn begin(&self) -> Result<Write> {
        let dialect = self.server.dialect().await.map_err(error)?;
        Write::begin(self.connection().await?, dialect).await
    }

    async fn stage(&self, chunk: &Chunk<'_>) -> Result<Write> {
        Write::chunk(self.connection().await?, chunk).await
    }

    async fn entry(&self, dataset: &str) -> Result<Entry> {
        registry::registered(&mut *self.connection().await?, dataset).await
    }

    async fn stage_keys(&self, chunk: &Chunk<'_>) -> Result<Write> {
        // The updates are staged beside the keys.
        self.stage(chunk).await
    }
}

#[async_trait]
impl Backend for Mysql {
    const KIND: StoreKind = StoreKind::Mysql;

    async fn prepare(&self, dataset: &Dataset, table: &Table) -> Result<Prepared> {
        let dialect = self.server.dialect().await.map_err(error)?;
        let (mut connection, small) = (self.connection().await?, self.small_table_rows);
        prepare::prepare(&mut connection, dataset, table, dialect, small).await
    }

    async fn is_maintained(&self, table: &Table) -> Result<bool> {
        indexes::is_locked(&mut *self.connection().await?, table).await
    }

    async fn maintain(
        &self,
        dataset: &Dataset,
        table: &Table,
        current: &Current,
    ) -> Result<Maintenance> {
        let dialect = self.server.dialect().await.map_err(error)?;
        // Not of the pool: the lock is that of the session, and ends with it.
        let connection = self.connection().await?.detach();
        let means = Means {
            pool: &self.server.pool,
            dialect,
            step_rows: self.step_rows,
            small_table_rows: self.small_table_rows,
        };
        indexes::maintain(connection, dataset, table, current, &means).await
    }

    async fn searched(&self, dataset: &str) -> Result<Vec<String>> {
        let entry = registry::read(&mut *self.connection().await?, dataset).await?;
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
        let dialect = self.server.dialect().await.map_err(error)?;
        let mut connection = self.connection().await?;
        prepare::rebuild_totals(&mut connection, dataset, table, dialect).await
    }
}
