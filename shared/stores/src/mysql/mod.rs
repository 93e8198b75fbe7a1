//! `MySQL` (8.0.17 and later) and `MariaDB` (10.2 and later): a chunk is staged in a temporary table
//! by multi-row inserts and merged with a few set-based statements, at READ COMMITTED.
//!
//! Texts compare by their bytes, spaces at the end included. A text key is `varchar(512)`; where a
//! key has several texts, they are `varbinary`. Timestamps are UTC. JSON stays the text that it was.
//! `InnoDB` has room for about 190 text fields in a row; a dataset with more can't be prepared.

mod merge;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind, Value};
use sqlx::mysql::{MySql, MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::query::Query;
use sqlx::{Acquire, AssertSqlSafe, ConnectOptions, Executor, MySqlConnection, Row as _};
use tokio::sync::OnceCell;

use crate::merge::{Present, Staged, settle};
use crate::retry::{bounded, retried};
use crate::schema::{ExistingColumn, Prepared, Table};
use crate::sql_error::from_sqlx;
use crate::text::{date_text, timestamp_text};
use crate::{Store, StoreError, StoreOptions};
use merge::{Dialect, Merge};

/// Rows of one statement, the values that a statement can have, and their bytes: well below the 16
/// MiB of `max_allowed_packet` in `MariaDB`, the smallest default.
const BATCH_ROWS: usize = 1000;
const BATCH_VALUES: usize = 65_535;
const BATCH_BYTES: usize = 2 << 20;

/// Strict, so that a value that does not fit is an error and not another value; and bounds for what a
/// function leaves behind that ends without a word.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
    SET SESSION innodb_lock_wait_timeout = 10; \
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

    async fn make(&self, table: &Table) -> Result<(), StoreError> {
        let dialect = self.dialect().await?;
        let type_of = |column: &_| dialect.type_of(table, column);
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let mut existing = columns(&mut connection, table).await.map_err(error)?;
        if existing.is_empty() {
            run(&mut connection, &dialect.create(table)).await?;
            existing = columns(&mut connection, table).await.map_err(error)?;
        }
        let missing = table.missing(&existing, type_of)?;
        if missing.is_empty() {
            return Ok(());
        }
        match run(&mut connection, &dialect.add_columns(table, &missing)).await {
            Ok(_) => Ok(()),
            // Another worker may have been first; if it was, nothing is missing any more.
            Err(failure) => {
                let existing = columns(&mut connection, table).await.map_err(error)?;
                if table.missing(&existing, type_of)?.is_empty() {
                    return Ok(());
                }
                Err(failure)
            }
        }
    }

    async fn attempt(
        &self,
        merge: &Merge,
        has_extra: bool,
        order: &ObjectOrder,
        rows: &[Row],
    ) -> Result<StoreCounts, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(merge.stage.clone())))
            .await
            .map_err(error)?;
        let mut transaction = connection.begin().await.map_err(error)?;
        stage(&mut transaction, merge, has_extra, order, rows)
            .await
            .map_err(error)?;
        let mut chunk = Chunk {
            connection: &mut transaction,
            merge,
        };
        let counts = settle(StoreKind::Mysql, rows.len() as u64, &mut chunk).await?;
        transaction.commit().await.map_err(error)?;
        Ok(counts)
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
            .once(&table, self.timeout, || self.make(&table))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<[Row]>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Mysql)?;
        if rows.is_empty() {
            return Ok(StoreCounts::default());
        }
        let work = async {
            let merge = Merge::new(&table, self.dialect().await?);
            retried(|| self.attempt(&merge, table.has_extra(), order, rows)).await
        };
        bounded(StoreKind::Mysql, self.timeout, work)
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
    connection: &mut MySqlConnection,
    table: &Table,
) -> Result<Vec<ExistingColumn>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT CAST(c.column_name AS CHAR), CAST(c.column_type AS CHAR), \
         CAST(c.collation_name AS CHAR), CAST(k.seq_in_index AS SIGNED) \
         FROM information_schema.columns c LEFT JOIN information_schema.statistics k \
         ON k.table_schema = c.table_schema AND k.table_name = c.table_name \
         AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
         WHERE c.table_schema = DATABASE() AND c.table_name = ?",
    )
    .bind(&table.name)
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| {
            let mut sql_type: String = row.try_get(1)?;
            // Older servers show a width that means nothing.
            if sql_type.starts_with("bigint(") {
                "bigint".clone_into(&mut sql_type);
            }
            if let Some(collation) = row.try_get::<Option<String>, _>(2)? {
                sql_type = format!("{sql_type} collate {collation}");
            }
            let place: Option<i64> = row.try_get(3)?;
            Ok(ExistingColumn {
                name: row.try_get(0)?,
                sql_type,
                key_place: place.and_then(|place| usize::try_from(place - 1).ok()),
            })
        })
        .collect()
}

async fn run(connection: &mut MySqlConnection, statement: &str) -> Result<u64, StoreError> {
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    Ok(query
        .execute(connection)
        .await
        .map_err(error)?
        .rows_affected())
}

/// Puts all rows into the staging table.
async fn stage(
    connection: &mut MySqlConnection,
    merge: &Merge,
    has_extra: bool,
    order: &ObjectOrder,
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    let columns = rows.first().map_or(0, |row| row.values.len()) + usize::from(has_extra) + 1;
    let most = BATCH_ROWS.min(BATCH_VALUES / columns);
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(most).take_while(|row| {
            bytes += size(row);
            bytes <= BATCH_BYTES
        });
        let (batch, others) = rest.split_at(fits.count().max(1));
        rest = others;
        let places = vec![merge.places.as_str(); batch.len()].join(",");
        // Full batches are one statement, prepared once; others come in any size.
        let statement = AssertSqlSafe(format!("{}{places}", merge.fill));
        let mut query = sqlx::query(statement).persistent(batch.len() == most);
        for row in batch {
            query = row.values.iter().fold(query, bind);
            if has_extra {
                query = query.bind(row.extra.as_deref());
            }
            query = query.bind(order.at(row.offset).as_bytes().to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Bytes that a row takes in a statement, about.
fn size(row: &Row) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        _ => 30,
    };
    row.values.iter().map(value).sum::<usize>() + row.extra.as_ref().map_or(0, String::len)
}

fn bind<'q>(
    query: Query<'q, MySql, MySqlArguments>,
    value: &'q Value,
) -> Query<'q, MySql, MySqlArguments> {
    match value {
        Value::Null => query.bind(None::<&str>),
        Value::Text(text) | Value::Json(text) => query.bind(text.as_str()),
        Value::Integer(number) => query.bind(number),
        Value::Decimal(number) => query.bind(number.to_string()),
        Value::Float(number) => query.bind(number),
        Value::Boolean(boolean) => query.bind(boolean),
        Value::Date(day) => query.bind(date_text(*day)),
        Value::Timestamp(instant) => query.bind(timestamp_text(*instant, ' ', "")),
    }
}

/// A chunk in the staging table of a connection.
struct Chunk<'a> {
    connection: &'a mut MySqlConnection,
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
