//! Reading: single statements on connections that can't write.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use landfall_domain::{Dataset, FieldType, SORTED_CHARS, StoreKind, Total, Value};
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions, Executor as _, Row as _};
use tokio::sync::OnceCell;

use super::dialect::{Dialect, beginning_of, index_name, quote};
use super::prepare::{columns, has_index};
use crate::StoreError;
use crate::read::gather::Gather;
use crate::read::sql::{Found, SqlDatabase, columns_of_totals};
use crate::read::statement::{self, ReadColumn, ReadTable, Statement};
use crate::read::{ReadOptions, StoredRow};
use crate::schema::{EXTRA, Table};
use crate::sql_error::of_read;
use crate::text::{timestamp_text, without_zeros};

/// A `MySQL` or `MariaDB` database that is only read.
pub(crate) struct ReadMysql {
    pool: MySqlPool,
    dialect: OnceCell<Dialect>,
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn error(error: sqlx::Error) -> StoreError {
    of_read(StoreKind::Mysql, &error)
}

impl ReadMysql {
    /// Connects when first used.
    pub(crate) fn new(url: &str, options: ReadOptions) -> Result<Self, StoreError> {
        let connect: MySqlConnectOptions = url
            .parse()
            .map_err(|_| StoreError::Config("the MySQL URL can't be read".to_owned()))?;
        if connect.get_database().is_none() {
            return Err(StoreError::Config(
                "the MySQL URL names no database".to_owned(),
            ));
        }
        // MariaDB reads comments of the first kind, MySQL those of the second: each has a bound of its own.
        let session = format!(
            "SET SESSION wait_timeout = 600 /*M! , max_statement_time = {} */ \
             /*!80000 , max_execution_time = {} */; \
             SET SESSION TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
            options.timeout.as_secs_f64(),
            options.timeout.as_millis()
        );
        let pool = MySqlPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.connect_timeout())
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move {
                    connection
                        .execute(sqlx::raw_sql(AssertSqlSafe(session)))
                        .await?;
                    Ok(())
                })
            })
            .connect_lazy_with(connect.disable_statement_logging());
        Ok(Self {
            pool,
            dialect: OnceCell::new(),
        })
    }

    async fn server(&self) -> Result<Dialect, StoreError> {
        let ask = || async {
            let version: String = sqlx::query_scalar("SELECT VERSION()")
                .fetch_one(&self.pool)
                .await
                .map_err(error)?;
            Ok(Dialect::of(&version))
        };
        self.dialect.get_or_try_init(ask).await.copied()
    }
}

#[async_trait]
impl SqlDatabase for ReadMysql {
    const KIND: StoreKind = StoreKind::Mysql;
    type Dialect = ReadDialect;

    fn dialect(&self) -> &ReadDialect {
        &ReadDialect
    }

    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>, StoreError> {
        let server = self.server().await?;
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let existing = columns(&mut connection, &table.name).await?;
        if existing.is_empty() {
            return Ok(None);
        }
        let missing = table.missing(&existing, |column| server.type_of(table, column))?;
        let is_there = |name: &str| existing.iter().any(|column| column.name == name);
        let has_beginnings =
            |name: &str| table.has_beginnings_of(name) && is_there(&beginning_of(name));
        // One that is not made yet is an error where it is named.
        let mut indexes = HashMap::new();
        for index in &table.indexes {
            let name = index_name(index);
            if has_index(&mut connection, &table.name, &name).await? {
                indexes.insert(
                    index.field.as_str(),
                    format!(" FORCE INDEX ({})", quote(name)),
                );
            }
        }
        let is_complete = missing.is_empty() && indexes.len() == table.indexes.len();
        let columns = dataset.fields.iter().map(|field| {
            let name = field.name.as_str();
            let mut column = column(name, field.kind, is_there(name));
            if table.has_beginnings_of(name) {
                column.beginning = Some(if has_beginnings(name) {
                    quote(beginning_of(name))
                } else {
                    beginning(&column.raw)
                });
            }
            column.by_index = indexes.remove(name).unwrap_or_default();
            column
        });
        Ok(Some(Found {
            table: ReadTable {
                name: quote(&table.name),
                columns: columns.collect(),
                extra: (table.has_extra() && is_there(EXTRA)).then(|| quote(EXTRA)),
                by_key: " FORCE INDEX (PRIMARY)",
            },
            is_complete,
        }))
    }

    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
    ) -> Result<Option<ReadTable>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        if columns(&mut connection, &total.name).await?.is_empty() {
            return Ok(None);
        }
        let group = ReadColumn {
            value: "HEX(_group)".to_owned(),
            ordered: "HEX(_group)".to_owned(),
            ..column("_group", FieldType::Text, true)
        };
        Ok(Some(ReadTable {
            name: quote(&total.name),
            columns: columns_of_totals(
                dataset,
                total,
                |name, kind, has_beginnings| {
                    let column = column(name, kind, true);
                    let beginning = has_beginnings.then(|| beginning(&column.raw));
                    ReadColumn {
                        beginning,
                        ..column
                    }
                },
                |name| format!("CAST({} AS CHAR)", quote(name)),
                group,
            ),
            extra: None,
            by_key: "",
        }))
    }

    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        mut page: Gather,
    ) -> Result<Gather, StoreError> {
        let values = arguments(statement.values).map_err(error)?;
        let select = sqlx::query_with(AssertSqlSafe(statement.sql), values);
        let mut rows = select.fetch(&self.pool);
        while let Some(row) = rows.try_next().await.map_err(error)? {
            if !page.take(stored(table, &row).map_err(error)?) {
                break;
            }
        }
        Ok(page)
    }

    async fn count(&self, statement: Statement) -> Result<u64, StoreError> {
        let values = arguments(statement.values).map_err(error)?;
        let count = sqlx::query_scalar_with(AssertSqlSafe(statement.sql), values);
        let count: i64 = count.fetch_one(&self.pool).await.map_err(error)?;
        Ok(count.unsigned_abs())
    }
}

fn column(name: &str, kind: FieldType, is_there: bool) -> ReadColumn {
    let raw = if is_there {
        quote(name)
    } else {
        "NULL".to_owned()
    };
    ReadColumn {
        kind,
        value: match kind {
            FieldType::Decimal | FieldType::Date | FieldType::Timestamp => {
                format!("CAST({raw} AS CHAR)")
            }
            _ => raw.clone(),
        },
        ordered: raw.clone(),
        beginning: None,
        by_index: String::new(),
        raw,
    }
}

fn beginning(expression: &str) -> String {
    format!("LEFT({expression}, {SORTED_CHARS})")
}

/// How statements are written here.
pub(crate) struct ReadDialect;

impl statement::Dialect for ReadDialect {
    const HAS_ROW_VALUES: bool = false;
    const ORDERS_BY_CONSTANTS: bool = false;

    fn place(&self, _: usize, kind: FieldType) -> String {
        // A number or time beside a text is compared as a float otherwise.
        match kind {
            FieldType::Decimal => "CAST(? AS DECIMAL(56,28))".to_owned(),
            FieldType::Date => "CAST(? AS DATE)".to_owned(),
            FieldType::Timestamp => "CAST(? AS DATETIME(6))".to_owned(),
            _ => "?".to_owned(),
        }
    }

    fn ordered(&self, _: FieldType, expression: &str) -> String {
        expression.to_owned()
    }

    fn present(&self, _: FieldType, ordered: &str) -> String {
        format!("{ordered} IS NOT NULL")
    }
}

fn arguments(values: Vec<Value>) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(number) => arguments.add(number),
            Value::Float(number) => arguments.add(number),
            Value::Boolean(boolean) => arguments.add(boolean),
            Value::Timestamp(instant) => arguments.add(timestamp_text(instant, ' ', "")),
            other => arguments.add(other.to_text().map(Cow::into_owned)),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn stored(table: &ReadTable, row: &MySqlRow) -> Result<StoredRow, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let extra = table.extra.as_ref();
    Ok(StoredRow {
        values: columns
            .map(|(at, column)| value(column.kind, row, at))
            .collect::<Result<_, _>>()?,
        extra: extra.map_or(Ok(None), |_| row.try_get_unchecked(table.columns.len()))?,
    })
}

/// Unchecked: texts of a key may be bytes by their type.
fn value(kind: FieldType, row: &MySqlRow, at: usize) -> Result<Value, sqlx::Error> {
    let unreadable = || sqlx::Error::Decode("a value is not of its column's type".into());
    let found = match kind {
        FieldType::Integer => row
            .try_get_unchecked::<Option<_>, _>(at)?
            .map(Value::Integer),
        FieldType::Float => row.try_get_unchecked::<Option<_>, _>(at)?.map(Value::Float),
        FieldType::Boolean => row
            .try_get_unchecked::<Option<_>, _>(at)?
            .map(Value::Boolean),
        FieldType::Text => row
            .try_get_unchecked::<Option<&str>, _>(at)?
            .map(|text| Value::Text(text.into())),
        FieldType::Json => row.try_get_unchecked::<Option<_>, _>(at)?.map(Value::Json),
        FieldType::Decimal | FieldType::Date | FieldType::Timestamp => {
            let Some(text) = row.try_get_unchecked::<Option<String>, _>(at)? else {
                return Ok(Value::Null);
            };
            let text = match kind {
                FieldType::Decimal => without_zeros(&text),
                _ => text.as_str(),
            };
            Some(Value::from_text(kind, text).map_err(|_| unreadable())?)
        }
    };
    Ok(found.unwrap_or(Value::Null))
}
