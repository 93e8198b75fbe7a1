//! `PostgreSQL`: a chunk is copied into a temporary table, in parallel with others, and merged in one pass.
//!
//! Keys are in lanes, and merges of a lane come one after the other: none waits for a row of another one,
//! whatever keys they have in common; only other programs that write to the table can be in the way. A
//! chunk takes its lanes side by side, a transaction or two each; what concerns several keys (totals, deletes,
//! snapshots, the table itself) takes all lanes, in one transaction.
//!
//! `jsonb` holds JSON but for numbers of more than 1,000 digits or with exponents beyond ±400; such a
//! value is kept as a JSON string of its text.

mod chunk;
mod copy;
mod deletes;
mod destination;
mod known;
mod merge;
mod prepare;
mod read;
mod registry;
mod table;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor as _, PgConnection, Postgres as Driver, Transaction,
};

use crate::lanes::{self, Hold, Lane, LaneBy, LaneRows};
use crate::registry::Entry;
use crate::retry::{bounded, retried};
use crate::schema::{Prepared, Table};
use crate::sql_error::from_sqlx;
use crate::{Store, StoreError, StoreOptions};
use chunk::Chunk;
use deletes::Deletes;
use known::Hashed;
use merge::Merge;
pub(crate) use read::ReadPostgres;
use totals::Totals;

/// Bounds for what a function leaves behind that ends without a word, and for what waits behind it; and
/// memory for a staged chunk.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '30s'; \
     SET temp_buffers = '24MB'";

/// Writes a record to the log and waits until it, and so all that was committed before, is as safe as the
/// server's settings say. Merges don't wait for that themselves, as others wait for them.
const FLUSH: &str = "SELECT pg_logical_emit_message(true, 'landfall', '')";

/// A `PostgreSQL` database.
pub(crate) struct Postgres {
    pool: PgPool,
    timeout: Duration,
    prepared: Prepared,
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn error(error: sqlx::Error) -> StoreError {
    from_sqlx(StoreKind::Postgres, &error)
}

impl Postgres {
    /// Connects when first used.
    pub(crate) fn new(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = url
            .parse()
            .map_err(|_| StoreError::Config("the PostgreSQL URL can't be read".to_owned()))?;
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.timeout / 2)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(SESSION)).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(
                connect
                    .application_name("landfall")
                    .disable_statement_logging(),
            );
        Ok(Self {
            pool,
            timeout: options.timeout,
            prepared: Prepared::default(),
        })
    }

    async fn begin(&self, statements: String) -> Result<Transaction<'static, Driver>, StoreError> {
        self.pool
            .begin_with(AssertSqlSafe(statements))
            .await
            .map_err(error)
    }

    /// Begins a transaction that works on whole tables.
    async fn begin_plain(&self) -> Result<Transaction<'static, Driver>, StoreError> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}; \
             SET LOCAL client_min_messages = warning",
            self.timeout.as_millis()
        );
        self.begin(begin).await
    }

    async fn prepare_once(&self, dataset: &Dataset, table: &Table) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        prepare::check_server(&mut connection, table).await?;
        if prepare::is_done(&mut connection, dataset, table).await? {
            return Ok(());
        }
        drop(connection);
        let mut transaction = self.begin_plain().await?;
        prepare::run(&mut transaction, dataset, table).await?;
        transaction.commit().await.map_err(error)
    }

    /// Applies rows in one transaction; gives none where they need all lanes and only one was to be held.
    async fn attempt(
        &self,
        chunk: &Chunk<'_>,
        hold: Hold,
    ) -> Result<Option<StoreCounts>, StoreError> {
        let mut transaction = self.begin(chunk.merge.begin.clone()).await?;
        chunk.stage(&mut transaction).await?;
        let counters = chunk.merge.counters(&mut transaction).await?;
        let mut entry = registry::lock(&mut transaction, &chunk.table.name, hold).await?;
        if !hold.suffices(&entry.registered, entry.tombstones) {
            transaction.rollback().await.map_err(error)?;
            return Ok(None);
        }
        if entry.has_floor_above(chunk.order.at(0)) {
            transaction.rollback().await.map_err(error)?;
            return Ok(Some(StoreCounts {
                stale: chunk.rows.len() as u64,
                ..StoreCounts::default()
            }));
        }
        let counts = chunk
            .settle(&mut transaction, &mut entry, &counters)
            .await?;
        transaction.commit().await.map_err(error)?;
        Ok(Some(counts))
    }

    /// Applies rows while nobody else writes to the dataset.
    async fn apply_alone(&self, chunk: &Chunk<'_>) -> Result<StoreCounts, StoreError> {
        let counts = retried(|| self.attempt(chunk, Hold::All)).await?;
        Ok(counts.unwrap_or_default())
    }

    /// Applies rows lane by lane, a transaction or two each, where that can be.
    async fn apply_by_lane(&self, chunk: Chunk<'_>) -> Result<StoreCounts, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let entry = registry::entry(&mut connection, &chunk.table.name).await?;
        let in_lanes = |entry: &Entry| lanes::are_worth_it(chunk.rows.len(), chunk.deleted, entry);
        let Some(entry) = entry.filter(in_lanes) else {
            drop(connection);
            return self.apply_alone(&chunk).await;
        };
        let are_new = self.are_new(&mut connection, &chunk).await?;
        drop(connection);
        let by = entry.registered.lane_by;
        let lanes = if let Some(lanes) = lanes::split_evenly(&chunk.rows, chunk.key, by) {
            lanes
        } else {
            let by = retried(|| self.choose_lanes(&chunk, by)).await?;
            lanes::split(&chunk.rows, chunk.key, by)
        };
        let parts = lanes.into_iter().map(|LaneRows { lane, rows, hashes }| {
            let part = Chunk { rows, ..chunk };
            self.apply_lane(part, lane, are_new.then_some(hashes))
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
        let mut transaction = self.begin_plain().await?;
        let mut entry = registry::lock(&mut transaction, name, Hold::All).await?;
        let registered = entry.registered.lane_by;
        let by = lanes::choose(&chunk.rows, chunk.key, registered, unfit);
        if unfit.is_some() {
            // They are kept by lane.
            known::forget(&mut transaction, name).await?;
        }
        entry.registered.lane_by = Some(by);
        registry::save(&mut transaction, name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        Ok(by)
    }

    /// Applies the rows of a lane; with the hashes of their keys where most of them seem to be new.
    async fn apply_lane(
        &self,
        mut part: Chunk<'_>,
        lane: Lane,
        hashes: Option<Vec<u32>>,
    ) -> Result<StoreCounts, StoreError> {
        let mut counts = StoreCounts::default();
        if let Some(hashes) = hashes {
            let rest = self.insert_new(&part, lane, &hashes).await?;
            counts.inserted += (part.rows.len() - rest.len()) as u64;
            part.rows = rest;
        }
        if part.rows.is_empty() {
            return Ok(counts);
        }
        counts += match retried(|| self.attempt(&part, Hold::Lane(lane))).await? {
            Some(counts) => counts,
            None => self.apply_alone(&part).await?,
        };
        Ok(counts)
    }

    /// Whether new keys are known by their hashes, and most of these seem to be; ends the hashes otherwise.
    async fn are_new(
        &self,
        connection: &mut PgConnection,
        chunk: &Chunk<'_>,
    ) -> Result<bool, StoreError> {
        if !known::are_kept(connection, &chunk.table.name).await? {
            return Ok(false);
        }
        let are_new = known::are_most_new(connection, chunk).await?;
        if !are_new {
            known::forget(connection, &chunk.table.name).await?;
        }
        Ok(are_new)
    }

    /// Takes in the rows of a lane whose keys are new, and gives the others.
    async fn insert_new<'r>(
        &self,
        part: &Chunk<'r>,
        lane: Lane,
        hashes: &[u32],
    ) -> Result<Vec<&'r Row>, StoreError> {
        match self.attempt_insert(part, lane, hashes).await {
            Ok(Some(others)) => Ok(others),
            Ok(None) => Ok(part.rows.clone()),
            // A key is there whose hash is not, or others are in the way: merges cope with both.
            Err(StoreError::Contended { .. }) => {
                let mut connection = self.pool.acquire().await.map_err(error)?;
                known::forget(&mut connection, &part.table.name).await?;
                Ok(part.rows.clone())
            }
            Err(other) => Err(other),
        }
    }

    async fn attempt_insert<'r>(
        &self,
        part: &Chunk<'r>,
        lane: Lane,
        hashes: &[u32],
    ) -> Result<Option<Vec<&'r Row>>, StoreError> {
        let hashed = Hashed::new(part, hashes);
        let mut transaction = self.begin(part.merge.begin.clone()).await?;
        let hold = Hold::Lane(lane);
        let entry = registry::lock(&mut transaction, &part.table.name, hold).await?;
        let suffices = hold.suffices(&entry.registered, entry.tombstones);
        if !suffices || entry.has_floor_above(part.order.at(0)) {
            transaction.rollback().await.map_err(error)?;
            return Ok(None);
        }
        let Some(apart) = hashed.take_apart(&mut transaction, lane.number).await? else {
            transaction.commit().await.map_err(error)?;
            return Ok(None);
        };
        part.insert(&mut transaction, &apart.new).await?;
        apart
            .keep(&mut transaction, &part.table.name, lane.number)
            .await?;
        transaction.commit().await.map_err(error)?;
        Ok(Some(apart.others))
    }

    /// Applies rows, and waits until they are safe.
    async fn apply_safely(&self, chunk: Chunk<'_>) -> Result<StoreCounts, StoreError> {
        let counts = self.apply_by_lane(chunk).await?;
        self.pool.execute(FLUSH).await.map_err(error)?;
        Ok(counts)
    }

    async fn prune_once(&self, table: &Table, order: &ObjectOrder) -> Result<u64, StoreError> {
        let version = order.at(0);
        let mut transaction = self.begin_plain().await?;
        let mut entry = registry::lock(&mut transaction, &table.name, Hold::All).await?;
        if let Some(pruned) = entry.pruned_by(version) {
            transaction.rollback().await.map_err(error)?;
            return Ok(pruned);
        }
        let totals = Totals::new(table, &entry.registered);
        totals.prepare_prune(&mut transaction, &version).await?;
        let pruned = deletes::prune(&mut transaction, table, &version, entry.tombstones).await?;
        totals.settle(&mut transaction).await?;
        entry.pruned = pruned;
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
        let mut transaction = self.begin_plain().await?;
        let groups = prepare::rebuild_totals(&mut transaction, dataset, table).await?;
        transaction.commit().await.map_err(error)?;
        Ok(groups)
    }
}

#[async_trait]
impl Store for Postgres {
    fn kind(&self) -> StoreKind {
        StoreKind::Postgres
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let table = Table::of(dataset, StoreKind::Postgres)?;
        self.prepared
            .once(&table, self.timeout, || self.prepare_once(dataset, &table))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Postgres)?;
        if rows.is_empty() {
            return Ok(StoreCounts::default());
        }
        let merge = Merge::new(&table, self.timeout);
        let chunk = Chunk {
            deletes: &Deletes::new(&table, &merge.staged.table),
            merge: &merge,
            deleted: rows.iter().filter(|row| row.deleted).count() as u64,
            key: dataset.key_indexes(),
            table: &table,
            order,
            rows: rows.iter().collect(),
        };
        bounded(StoreKind::Postgres, self.timeout, self.apply_safely(chunk))
            .await
            .inspect_err(|_| self.prepared.forget(&table.name))
    }

    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<u64, StoreError> {
        let table = Table::of(dataset, StoreKind::Postgres)?;
        let attempts = retried(|| self.prune_once(&table, order));
        bounded(StoreKind::Postgres, self.timeout, attempts).await
    }

    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        let table = Table::of(dataset, StoreKind::Postgres)?;
        let attempts = retried(|| self.rebuild_once(dataset, &table));
        bounded(StoreKind::Postgres, self.timeout, attempts)
            .await
            .inspect(|_| self.prepared.forget(&table.name))
    }
}
