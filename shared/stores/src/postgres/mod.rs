//! `PostgreSQL`: a chunk is copied into a temporary table and merged with a few set-based statements.
//!
//! The keys that are there are locked in key order before any is written, and absent ones are added
//! in key order, so that chunks with common keys wait for each other and don't deadlock (READ
//! COMMITTED). Where another writer was first with an absent key, all is looked at again.
//!
//! `jsonb` holds JSON but for numbers of more than 1,000 digits or with exponents beyond ±400; such a
//! value is kept as a JSON string of its text.

mod copy;
mod merge;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor as _, PgConnection, Row as _};

use crate::merge::{Present, Staged, settle};
use crate::retry::{bounded, retried};
use crate::schema::{ExistingColumn, Prepared, Table};
use crate::sql_error::from_sqlx;
use crate::{Store, StoreError, StoreOptions};
use merge::Merge;

/// Bytes that are sent at once.
const SEND_BYTES: usize = 256 << 10;

/// Bounds for what a function leaves behind that ends without a word, and for what waits behind it.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '30s'";

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

    async fn make(&self, table: &Table) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let existing = columns(&mut connection, table).await.map_err(error)?;
        if !existing.is_empty() && table.missing(&existing, merge::type_of)?.is_empty() {
            return Ok(());
        }
        drop(connection);
        let mut transaction = self.pool.begin().await.map_err(error)?;
        // IF NOT EXISTS alone fails where two make the same table at once.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('landfall:' || $1, 0))")
            .bind(&table.name)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        run(&mut transaction, &merge::create(table)).await?;
        let existing = columns(&mut transaction, table).await.map_err(error)?;
        let missing = table.missing(&existing, merge::type_of)?;
        if !missing.is_empty() {
            run(&mut transaction, &merge::add_columns(table, &missing)).await?;
        }
        transaction.commit().await.map_err(error)
    }

    async fn attempt(
        &self,
        merge: &Merge,
        has_extra: bool,
        order: &ObjectOrder,
        rows: &[Row],
    ) -> Result<StoreCounts, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(error)?;
        // Work in proportion to the chunk, whatever the size of the table: look each key up.
        let settings = format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
             SET LOCAL client_min_messages = warning; {}",
            self.timeout.as_millis(),
            merge.stage
        );
        sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        copy(&mut transaction, merge, has_extra, order, rows)
            .await
            .map_err(error)?;
        let mut chunk = Chunk {
            connection: &mut transaction,
            merge,
        };
        let counts = settle(StoreKind::Postgres, rows.len() as u64, &mut chunk).await?;
        transaction.commit().await.map_err(error)?;
        Ok(counts)
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
            .once(&table, self.timeout, || self.make(&table))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<[Row]>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Postgres)?;
        if rows.is_empty() {
            return Ok(StoreCounts::default());
        }
        let merge = Merge::new(&table);
        let attempts = retried(|| self.attempt(&merge, table.has_extra(), order, rows));
        bounded(StoreKind::Postgres, self.timeout, attempts)
            .await
            .inspect_err(|_| self.prepared.forget(&table.name))
    }

    async fn prune(&self, _: &Dataset, _: &ObjectOrder) -> Result<u64, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }
}

/// The columns that the table has; none where there is no table.
async fn columns(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<Vec<ExistingColumn>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
         array_position(i.indkey::int2[], a.attnum) \
         FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
         WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .bind(merge::quote(&table.name))
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| {
            let place: Option<i32> = row.try_get(2)?;
            Ok(ExistingColumn {
                name: row.try_get(0)?,
                sql_type: row.try_get(1)?,
                key_place: place.and_then(|place| usize::try_from(place).ok()),
            })
        })
        .collect()
}

/// Runs a statement that is planned anew: a plan made for an empty table would stay otherwise.
async fn run(connection: &mut PgConnection, statement: &str) -> Result<u64, StoreError> {
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    Ok(query
        .execute(connection)
        .await
        .map_err(error)?
        .rows_affected())
}

async fn copy(
    connection: &mut PgConnection,
    merge: &Merge,
    has_extra: bool,
    order: &ObjectOrder,
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(&merge.copy).await?;
    let mut buffer = Vec::with_capacity(SEND_BYTES);
    buffer.extend_from_slice(copy::HEADER);
    for row in rows {
        copy::put_row(&mut buffer, row, has_extra, &order.at(row.offset));
        if buffer.len() >= SEND_BYTES {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(copy::TRAILER);
    copy.send(buffer.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}

/// A chunk in the staging table of a connection.
struct Chunk<'a> {
    connection: &'a mut PgConnection,
    merge: &'a Merge,
}

impl Staged for Chunk<'_> {
    async fn lock(&mut self) -> Result<Present, StoreError> {
        let lock = sqlx::query(AssertSqlSafe(self.merge.lock.as_str())).persistent(false);
        let row = lock.fetch_one(&mut *self.connection).await.map_err(error)?;
        let count = |index: usize| row.try_get(index).map(i64::unsigned_abs).map_err(error);
        Ok(Present {
            all: count(0)?,
            newer: count(1)?,
            older: count(2)?,
            changed: count(3)?,
        })
    }

    async fn overwrite_older(&mut self) -> Result<(), StoreError> {
        run(self.connection, &self.merge.update).await.map(drop)
    }

    async fn add_absent(&mut self) -> Result<u64, StoreError> {
        run(self.connection, &self.merge.insert).await
    }
}
