//! Reading: single statements on connections that can't write.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use jiff::civil::date;
use jiff::{SignedDuration, Span, Timestamp};
use landfall_domain::{Dataset, FieldType, StoreKind, Total, Value};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions, Executor as _, Row as _, ValueRef as _};

use super::table::{beginning, field_type, missing, quote};
use crate::StoreError;
use crate::read::gather::Gather;
use crate::read::sql::{Found, SqlDatabase, columns_of_totals};
use crate::read::statement::{Dialect, ReadColumn, ReadTable, Statement};
use crate::read::{ReadOptions, StoredRow};
use crate::schema::{EXTRA, Table};
use crate::sql_error::of_read;
use crate::text::without_zeros;

/// What the server's binary form counts microseconds from.
const EPOCH: Timestamp = Timestamp::constant(946_684_800, 0);

/// A `PostgreSQL` database that is only read.
pub(crate) struct ReadPostgres {
    pool: PgPool,
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn error(error: sqlx::Error) -> StoreError {
    of_read(StoreKind::Postgres, &error)
}

impl ReadPostgres {
    /// Connects when first used.
    pub(crate) fn new(url: &str, options: ReadOptions) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = url
            .parse()
            .map_err(|_| StoreError::Config("the PostgreSQL URL can't be read".to_owned()))?;
        let session = format!(
            "SET default_transaction_read_only = on; SET statement_timeout = {}; \
             SET idle_in_transaction_session_timeout = '10s'",
            options.timeout.as_millis()
        );
        let pool = PgPoolOptions::new()
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
            .connect_lazy_with(
                connect
                    .application_name("landfall-reader")
                    .disable_statement_logging(),
            );
        Ok(Self { pool })
    }
}

#[async_trait]
impl SqlDatabase for ReadPostgres {
    const KIND: StoreKind = StoreKind::Postgres;
    type Dialect = ReadDialect;

    fn dialect(&self) -> &ReadDialect {
        &ReadDialect
    }

    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let Some(missing) = missing(&mut connection, table).await? else {
            return Ok(None);
        };
        let is_there = |name: &str| !missing.iter().any(|column| column.name == name);
        let columns = dataset.fields.iter().map(|field| {
            let is_there = is_there(&field.name);
            let has_beginnings = is_there && table.has_beginnings_of(&field.name);
            column(&field.name, field.kind, is_there, has_beginnings)
        });
        Ok(Some(Found {
            table: ReadTable {
                name: format!("{} t", quote(&table.name)),
                columns: columns.collect(),
                extra: (table.has_extra() && is_there(EXTRA))
                    .then(|| format!("{}::text", quote(EXTRA))),
                by_key: "",
            },
            is_complete: missing.is_empty(),
        }))
    }

    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
    ) -> Result<Option<ReadTable>, StoreError> {
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(quote(&total.name))
            .fetch_one(&self.pool)
            .await
            .map_err(error)?;
        if !is_there {
            return Ok(None);
        }
        let digest = "encode(_group, 'hex') COLLATE \"C\"".to_owned();
        let group = ReadColumn {
            kind: FieldType::Text,
            raw: digest.clone(),
            value: digest.clone(),
            ordered: digest,
            beginning: None,
            by_index: String::new(),
        };
        Ok(Some(ReadTable {
            name: format!("{} t", quote(&total.name)),
            columns: columns_of_totals(
                dataset,
                total,
                |name, kind, has_beginnings| column(name, kind, true, has_beginnings),
                |name| format!("{}::text", quote(name)),
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

fn column(name: &str, kind: FieldType, is_there: bool, has_beginnings: bool) -> ReadColumn {
    // Of the table: a name alone would be that of the text that is selected.
    let raw = if is_there {
        format!("t.{}", quote(name))
    } else {
        format!("CAST(NULL AS {})", field_type(kind))
    };
    ReadColumn {
        kind,
        value: match kind {
            FieldType::Decimal | FieldType::Json => format!("{raw}::text"),
            _ => raw.clone(),
        },
        ordered: ReadDialect.ordered(kind, &raw),
        beginning: has_beginnings.then(|| beginning(&raw)),
        by_index: String::new(),
        raw,
    }
}

/// How statements are written here.
pub(crate) struct ReadDialect;

impl Dialect for ReadDialect {
    const HAS_ROW_VALUES: bool = true;
    const ORDERS_BY_CONSTANTS: bool = true;

    fn place(&self, nth: usize, kind: FieldType) -> String {
        match kind {
            FieldType::Decimal | FieldType::Date | FieldType::Timestamp => {
                format!("${nth}::{}", field_type(kind))
            }
            _ => format!("${nth}"),
        }
    }

    fn ordered(&self, kind: FieldType, expression: &str) -> String {
        match kind {
            FieldType::Text => format!("{expression} COLLATE \"C\""),
            _ => expression.to_owned(),
        }
    }

    fn present(&self, _: FieldType, ordered: &str) -> String {
        format!("{ordered} IS NOT NULL")
    }
}

/// Values as arguments of places that say of what types they are.
pub(super) fn arguments(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(number) => arguments.add(number),
            Value::Float(number) => arguments.add(number),
            Value::Boolean(boolean) => arguments.add(boolean),
            other => arguments.add(other.to_text().map(Cow::into_owned)),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn stored(table: &ReadTable, row: &PgRow) -> Result<StoredRow, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let extra = table.extra.as_ref();
    Ok(StoredRow {
        values: columns
            .map(|(at, column)| value(column.kind, row, at))
            .collect::<Result<_, _>>()?,
        extra: extra.map_or(Ok(None), |_| row.try_get(table.columns.len()))?,
    })
}

fn value(kind: FieldType, row: &PgRow, at: usize) -> Result<Value, sqlx::Error> {
    let unreadable = || sqlx::Error::Decode("a value is not of its column's type".into());
    let found = match kind {
        FieldType::Text => row
            .try_get::<Option<&str>, _>(at)?
            .map(|text| Value::Text(text.into())),
        FieldType::Json => row.try_get::<Option<_>, _>(at)?.map(Value::Json),
        FieldType::Integer => row.try_get::<Option<_>, _>(at)?.map(Value::Integer),
        FieldType::Float => row.try_get::<Option<_>, _>(at)?.map(Value::Float),
        FieldType::Boolean => row.try_get::<Option<_>, _>(at)?.map(Value::Boolean),
        FieldType::Decimal => match row.try_get::<Option<String>, _>(at)? {
            Some(text) => {
                let number = Value::from_text(kind, without_zeros(&text));
                Some(number.map_err(|_| unreadable())?)
            }
            None => None,
        },
        FieldType::Date | FieldType::Timestamp => {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
            Some(instant(kind, bytes).ok_or_else(unreadable)?)
        }
    };
    Ok(found.unwrap_or(Value::Null))
}

/// A day or instant from the binary form, whose type sqlx has only with another library for time.
fn instant(kind: FieldType, bytes: &[u8]) -> Option<Value> {
    if kind == FieldType::Date {
        let days = i32::from_be_bytes(bytes.try_into().ok()?);
        let days = Span::new().try_days(days).ok()?;
        return Some(Value::Date(date(2000, 1, 1).checked_add(days).ok()?));
    }
    let microseconds = i64::from_be_bytes(bytes.try_into().ok()?);
    let since = SignedDuration::from_micros(microseconds);
    Some(Value::Timestamp(EPOCH.checked_add(since).ok()?))
}
