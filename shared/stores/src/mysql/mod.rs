//! `MySQL` (8.0.17 and later) and `MariaDB` (10.2 and later): multi-row upserts that write only over what is
//! older, at READ COMMITTED.
//!
//! Keys are in lanes, and merges of a lane come one after the other: none waits for a row of another one,
//! whatever keys they have in common; only other programs that write to the table can be in the way. A
//! chunk takes its lanes side by side, a transaction each; what concerns several keys (totals, deletes,
//! snapshots) takes all lanes, in one transaction.
//!
//! Texts compare by their bytes, spaces at the end included. A text key is `varchar(512)`; where a
//! key has several texts, they are `varbinary`. Timestamps are UTC. JSON stays the text that it was.
//! `InnoDB` has room for about 190 text fields in a row; a dataset with more can't be prepared.

mod chunk;
mod dialect;
mod keys;
mod prepare;
mod read;
mod registry;
mod totals;
mod upsert;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{Acquire as _, AssertSqlSafe, ConnectOptions, Executor as _, MySqlConnection};
use tokio::sync::OnceCell;

use crate::lanes::{self, Hold, LaneBy, LaneRows};
use crate::registry::{Entry, Registered};
use crate::retry::{bounded, retried};
use crate::schema::{Prepared, Table};
use crate::sql_error::from_sqlx;
use crate::{Store, StoreError, StoreOptions};
use chunk::Chunk;
use dialect::Dialect;
pub(crate) use read::ReadMysql;
use totals::Totals;
use upsert::Upsert;

/// Strict, so that a value that does not fit is an error and not another value; and bounds for what a
/// function leaves behind that ends without a word, and for what waits behind it.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
    SET SESSION innodb_lock_wait_timeout = 30; \
    SET SESSION lock_wait_timeout = 30; \
    SET SESSION wait_timeout = 600; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A `MySQL` or `MariaDB` database.
pub(crate) struct Mysql {
    pool: MySqlPool,
    timeout: Duration,
    dialect: OnceCell<Dialect>,
    prepared: Prepared,
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn error(error: sqlx::Error) -> StoreError {
    from_sqlx(StoreKind::Mysql, &error)
}

/// Runs statements without values, and gives the number of rows that the last one wrote.
async fn run(connection: &mut MySqlConnection, statements: &str) -> Result<u64, StoreError> {
    let done = connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
        .await;
    Ok(done.map_err(error)?.rows_affected())
}

impl Mysql {
    /// Connects when first used.
    pub(crate) fn new(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let connect: MySqlConnectOptions = url
            .parse()
            .map_err(|_| StoreError::Config("the MySQL URL can't be read".to_owned()))?;
        if connect.get_database().is_none() {
            return Err(StoreError::Config(
                "the MySQL URL names no database".to_owned(),
            ));
        }
        let pool = MySqlPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.timeout / 2)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(SESSION)).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(connect.disable_statement_logging());
        Ok(Self {
            pool,
            timeout: options.timeout,
            dialect: OnceCell::new(),
            prepared: Prepared::default(),
        })
    }

    async fn dialect(&self) -> Result<Dialect, StoreError> {
        let ask = || async {
            let version: String = sqlx::query_scalar("SELECT VERSION()")
                .fetch_one(&self.pool)
                .await
                .map_err(error)?;
            Ok(Dialect::of(&version))
        };
        self.dialect.get_or_try_init(ask).await.copied()
    }

    async fn make(&self, dataset: &Dataset, table: &Table) -> Result<(), StoreError> {
        let dialect = self.dialect().await?;
        let mut connection = self.pool.acquire().await.map_err(error)?;
        prepare::prepare(&mut connection, dataset, table, dialect).await
    }

    /// Applies rows in one transaction, which holds only this lane if that is enough.
    async fn attempt(&self, chunk: &Chunk<'_>, hold: Hold) -> Result<StoreCounts, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let staged = chunk.stage(&mut connection).await?;
        let hold = if staged.is_held_by(hold) {
            hold
        } else {
            Hold::All
        };
        let mut transaction = connection.begin().await.map_err(error)?;
        let counts = chunk.settle(&mut transaction, &staged, hold).await?;
        transaction.commit().await.map_err(error)?;
        Ok(counts)
    }

    /// Applies rows lane by lane, a transaction each, where that can be.
    async fn apply_by_lane(&self, chunk: Chunk<'_>) -> Result<StoreCounts, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let entry = registry::read(&mut connection, &chunk.table.name).await?;
        drop(connection);
        let in_lanes = |entry: &Entry| lanes::are_worth_it(chunk.rows.len(), chunk.deleted, entry);
        let Some(entry) = entry.filter(in_lanes) else {
            return retried(|| self.attempt(&chunk, Hold::All)).await;
        };
        let (key, by) = (chunk.dataset.key_indexes(), entry.registered.lane_by);
        let lanes = if let Some(lanes) = lanes::split_evenly(&chunk.rows, key, by) {
            lanes
        } else {
            let by = retried(|| self.choose_lanes(&chunk, by)).await?;
            lanes::split(&chunk.rows, key, by)
        };
        let parts = lanes.into_iter().map(|LaneRows { lane, rows, .. }| {
            let part = Chunk { rows, ..chunk };
            async move { retried(|| self.attempt(&part, Hold::Lane(lane))).await }
        });
        lanes::side_by_side(parts).await
    }

    /// Registers what of a key says its lane, instead of what does not fit these rows, unless another worker has.
    async fn choose_lanes(
        &self,
        chunk: &Chunk<'_>,
        unfit: Option<LaneBy>,
    ) -> Result<LaneBy, StoreError> {
        let name = &chunk.table.name;
        let mut transaction = self.pool.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, name, Hold::All).await?;
        let (key, registered) = (chunk.dataset.key_indexes(), entry.registered.lane_by);
        let by = lanes::choose(&chunk.rows, key, registered, unfit);
        entry.registered.lane_by = Some(by);
        registry::save(&mut transaction, name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        Ok(by)
    }

    async fn prune_once(&self, table: &Table, order: &ObjectOrder) -> Result<u64, StoreError> {
        let (version, dialect) = (order.at(0), self.dialect().await?);
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let staged = registry::read(&mut connection, &table.name).await?;
        let staged = staged.ok_or_else(registry::not_registered)?;
        let totals = Totals::all(table, &staged.registered, dialect);
        totals::stage(&mut connection, &totals).await?;
        let mut transaction = connection.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, &table.name, Hold::All).await?;
        if entry.registered != staged.registered {
            return Err(chunk::changed());
        }
        if let Some(pruned) = entry.pruned_by(version) {
            return Ok(pruned);
        }
        totals::note_older(&mut transaction, &totals, table, &version).await?;
        entry.pruned = keys::prune(&mut transaction, table, &version, entry.tombstones).await?;
        totals::settle_pruned(&mut transaction, &totals).await?;
        entry.floor = Some(version.as_bytes().to_vec());
        registry::save(&mut transaction, &table.name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        Ok(entry.pruned)
    }

    async fn rebuild_once(
        &self,
        dataset: &Dataset,
        table: &Table,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let dialect = self.dialect().await?;
        let mut connection = self.pool.acquire().await.map_err(error)?;
        // Tables can't be dropped within a transaction. So no merge has to do with them any more when they are.
        let mut transaction = connection.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, &table.name, Hold::All).await?;
        let old = std::mem::take(&mut entry.registered.totals);
        let registered = Registered {
            totals: dataset.totals.clone(),
            ..entry.registered.clone()
        };
        registry::save(&mut transaction, &table.name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        for total in old.iter().chain(&dataset.totals) {
            prepare::drop_totals(&mut connection, table, total, &registered, dialect).await?;
        }
        prepare::make_totals(&mut connection, table, &registered, dialect).await?;
        let mut transaction = connection.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, &table.name, Hold::All).await?;
        let mut groups = Vec::with_capacity(registered.totals.len());
        for (total, statements) in
            registered
                .totals
                .iter()
                .zip(Totals::all(table, &registered, dialect))
        {
            let made = statements.refill(&mut transaction).await?;
            groups.push((total.name.clone(), made));
        }
        entry.registered.totals = registered.totals;
        registry::save(&mut transaction, &table.name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        Ok(groups)
    }
}

#[async_trait]
impl Store for Mysql {
    fn kind(&self) -> StoreKind {
        StoreKind::Mysql
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let table = Table::of(dataset, StoreKind::Mysql)?;
        self.prepared
            .once(&table, self.timeout, || self.make(dataset, &table))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Mysql)?;
        if rows.is_empty() {
            return Ok(StoreCounts::default());
        }
        let work = async {
            let upsert = Upsert::new(&table);
            let chunk = Chunk {
                dataset,
                table: &table,
                dialect: self.dialect().await?,
                upsert: &upsert,
                deleted: rows.iter().filter(|row| row.deleted).count() as u64,
                order,
                rows: rows.iter().collect(),
            };
            self.apply_by_lane(chunk).await
        };
        bounded(StoreKind::Mysql, self.timeout, work)
            .await
            .inspect_err(|_| self.prepared.forget(&table.name))
    }

    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<u64, StoreError> {
        let table = Table::of(dataset, StoreKind::Mysql)?;
        let attempts = retried(|| self.prune_once(&table, order));
        bounded(StoreKind::Mysql, self.timeout, attempts).await
    }

    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        let table = Table::of(dataset, StoreKind::Mysql)?;
        let attempts = retried(|| self.rebuild_once(dataset, &table));
        bounded(StoreKind::Mysql, self.timeout, attempts)
            .await
            .inspect(|_| self.prepared.forget(&table.name))
    }
}
