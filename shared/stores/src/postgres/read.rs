//! Reads by single statements on read-only connections.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Span;
use jiff::civil::date;
use landfall_domain::{Clause, Dataset, FieldType, StoreKind, Timestamp, Total, Value};
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::{Arguments as _, Error, Postgres, Row as _};

use super::copy::EPOCH_MICROSECONDS;
use super::registry;
use super::statement::{STORE, pool};
use super::table::{beginning, field_type, missing, quote};
use crate::error::{Result, StoreError};
use crate::read::fetch::{self, ReadRows};
use crate::read::key_versions::VersionColumns;
use crate::read::page::PageBuilder;
use crate::read::sql::{Found, SqlDatabase, table_of_totals};
use crate::read::statement::{Dialect, ReadColumn, ReadTable, Statement};
use crate::read::{ReadOptions, StoredRow};
use crate::registry::{Entry, tombstones_of, unsigned};
use crate::schema::{EXTRA, Table};
use crate::sql::error::from_read;

pub(crate) struct ReadPostgres {
    pool: PgPool,
}

fn error(error: Error) -> StoreError {
    from_read(STORE, error)
}

impl ReadPostgres {
    pub(crate) fn new(url: &str, options: ReadOptions) -> Result<Self> {
        let session = format!(
            "SET default_transaction_read_only = on; SET statement_timeout = {}; \
             SET idle_in_transaction_session_timeout = '10s'",
            options.timeout.as_millis()
        );
        let acquire_timeout = options.connect_timeout();
        let connections = options.connections;
        let pool = pool(
            url,
            "landfall-reader",
            connections,
            acquire_timeout,
            session,
        )?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl SqlDatabase for ReadPostgres {
    const KIND: StoreKind = STORE;

    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        let missing = missing(&mut connection, table).await?;
        Ok(missing.map(|missing| {
            let missing: Vec<_> = missing.iter().map(|column| column.name.clone()).collect();
            let (name, extra) = (quote(&table.name), quote(EXTRA));
            let (name, extra) = (format!("{name} t"), format!("{extra}::text"));
            Found::new(dataset, table, &missing, name, extra, column)
        }))
    }

    async fn totals(&self, dataset: &Dataset, total: &Total) -> Result<Option<ReadTable>> {
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(quote(&total.name))
            .fetch_one(&self.pool)
            .await
            .map_err(error)?;
        Ok(is_there.then(|| {
            let name = format!("{} t", quote(&total.name));
            let text = |name: &str| format!("{}::text", quote(name));
            let digest = "encode(_group, 'hex') COLLATE \"C\"".to_owned();
            let group = ReadColumn::new(FieldType::Text, digest);
            table_of_totals(dataset, total, name, column, text, group)
        }))
    }

    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        page: PageBuilder,
    ) -> Result<PageBuilder> {
        fetch::fetch(&self.pool, table, statement, page)
            .await
            .map_err(error)
    }

    async fn count(&self, statement: Statement) -> Result<u64> {
        let count = fetch::count(&self.pool, statement).await.map_err(error)?;
        unsigned(STORE, count)
    }

    async fn entry(&self, dataset: &str) -> Result<Option<Entry>> {
        let mut connection = self.pool.acquire().await.map_err(error)?;
        registry::entry(&mut connection, dataset).await
    }

    async fn versions(&self, statement: Statement) -> Result<Vec<VersionColumns>> {
        let versions = fetch::versions(&self.pool, statement).await;
        versions.map_err(error)
    }
}

pub(super) fn column(
    name: &str,
    kind: FieldType,
    is_there: bool,
    has_beginnings: bool,
) -> ReadColumn {
    // Qualified: a bare name would mean the text that is selected.
    let raw = if is_there {
        format!("t.{}", quote(name))
    } else {
        format!("CAST(NULL AS {})", field_type(kind))
    };
    ReadColumn {
        value: match kind {
            FieldType::Decimal | FieldType::Json => format!("{raw}::text"),
            _ => raw.clone(),
        },
        ordered: ordered(kind, &raw),
        beginning: has_beginnings.then(|| beginning(&raw)),
        ..ReadColumn::new(kind, raw)
    }
}

fn ordered(kind: FieldType, expression: &str) -> String {
    match kind {
        FieldType::Text => format!("{expression} COLLATE \"C\""),
        _ => expression.to_owned(),
    }
}

impl Dialect for ReadPostgres {
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
        ordered(kind, expression)
    }

    fn tombstones(&self, dataset: &str) -> String {
        format!("{} t", quote(tombstones_of(dataset)))
    }

    fn deleted_at(&self) -> &'static str {
        "to_char(_deleted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    }

    const MATCHES_BEFORE_SORTING: bool = true;

    fn quoted(&self, name: &str) -> String {
        quote(name)
    }

    fn contains(&self, column: &str, place: &str) -> String {
        format!("{column} LIKE {place}")
    }

    fn needle(&self, clause: &Clause) -> String {
        let needle = clause.needle();
        let escaped = needle
            .replace('\\', "\\\\")
            .replace('_', "\\_")
            .replace('%', "\\%");
        format!("%{escaped}%")
    }

    fn no_bytes(&self) -> &'static str {
        "NULL::bytea"
    }

    fn no_text(&self) -> &'static str {
        "NULL::text"
    }
}

impl ReadRows for Postgres {
    /// The placeholders state their types.
    fn arguments(values: Vec<Value>) -> Result<PgArguments, Error> {
        let mut arguments = PgArguments::default();
        for value in values {
            let added = match value {
                Value::Integer(number) => arguments.add(number),
                Value::Float(number) => arguments.add(number),
                Value::Boolean(boolean) => arguments.add(boolean),
                other => arguments.add(other.to_text().map(Cow::into_owned)),
            };
            added.map_err(Error::Encode)?;
        }
        Ok(arguments)
    }

    fn stored(table: &ReadTable, row: &PgRow) -> Result<StoredRow, Error> {
        let value = |kind, place| {
            fetch::value(kind, row, place, || {
                let bytes = row.try_get_raw(place)?.as_bytes();
                instant(kind, bytes.map_err(Error::Decode)?).ok_or_else(fetch::unreadable)
            })
        };
        table.row(value, |place| row.try_get(place))
    }
}

/// Decodes a date or timestamp from the binary format; sqlx supports the types only with other time crates.
fn instant(kind: FieldType, bytes: &[u8]) -> Option<Value> {
    if kind == FieldType::Date {
        let days = i32::from_be_bytes(bytes.try_into().ok()?);
        let days = Span::new().try_days(days).ok()?;
        return Some(Value::Date(date(2000, 1, 1).checked_add(days).ok()?));
    }
    let microseconds = i64::from_be_bytes(bytes.try_into().ok()?);
    let since_1970 = microseconds.checked_add(EPOCH_MICROSECONDS)?;
    Some(Value::Timestamp(Timestamp::from_microsecond(since_1970)?))
}
