//! Reads by single statements on read-only connections.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use landfall_domain::{
    Clause, Dataset, FieldType, RowQuery, SORTED_CHARS, Search, StoreKind, Total, Value,
};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments as _, Error, MySql, Row as _};

use super::dialect::{beginning_of, index_name, quote};
use super::existing::columns;
use super::indexes::has_index;
use super::registry;
use super::search::Sources;
use super::statement::{STORE, Server};
use crate::error::{Result, StoreError};
use crate::read::fetch::{self, ReadRows};
use crate::read::key_versions::VersionColumns;
use crate::read::page::PageBuilder;
use crate::read::sql::{Found, SqlDatabase, table_of_totals};
use crate::read::statement::{Candidates, Dialect, ReadColumn, ReadTable, Statement};
use crate::read::{ReadOptions, StoredRow};
use crate::registry::{Entry, tombstones_of, unsigned};
use crate::schema::{EXTRA, Table};
use crate::sql::error::from_read;
use crate::text::timestamp_text;

pub(crate) struct ReadMysql {
    server: Server,
}

fn error(error: Error) -> StoreError {
    from_read(STORE, error)
}

impl ReadMysql {
    pub(crate) fn new(url: &str, options: ReadOptions) -> Result<Self> {
        // MariaDB executes comments of the first kind, MySQL those of the second: each has its own timeout variable.
        let session = format!(
            "SET SESSION wait_timeout = 600 /*M! , max_statement_time = {} */ \
             /*!80000 , max_execution_time = {} */; \
             SET SESSION TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
            options.timeout.as_secs_f64(),
            options.timeout.as_millis()
        );
        let acquire_timeout = options.connect_timeout();
        Ok(Self {
            server: Server::new(url, options.connections, acquire_timeout, session)?,
        })
    }

    pub(super) async fn dialect(&self) -> Result<super::dialect::Dialect> {
        self.server.dialect().await.map_err(error)
    }
}

#[async_trait]
impl SqlDatabase for ReadMysql {
    const KIND: StoreKind = STORE;

    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>> {
        let dialect = self.server.dialect().await.map_err(error)?;
        let mut connection = self.server.pool.acquire().await.map_err(error)?;
        let existing = columns(&mut connection, &table.name).await?;
        if existing.is_empty() {
            return Ok(None);
        }
        let missing = table.missing(&existing, |column| dialect.type_of(table, column))?;
        let is_there = |name: &str| existing.iter().any(|column| column.name == name);
        // Naming an index that does not exist is an error.
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
            let has_beginnings = table.has_beginnings_of(name);
            let mut column = column(name, field.kind, is_there(name), has_beginnings);
            if has_beginnings && is_there(&beginning_of(name)) {
                column.beginning = Some(quote(beginning_of(name)));
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

    async fn totals(&self, dataset: &Dataset, total: &Total) -> Result<Option<ReadTable>> {
        let mut connection = self.server.pool.acquire().await.map_err(error)?;
        if columns(&mut connection, &total.name).await?.is_empty() {
            return Ok(None);
        }
        let (name, group) = (quote(&total.name), "HEX(_group)".to_owned());
        let text = |name: &str| format!("CAST({} AS CHAR)", quote(name));
        let group = ReadColumn::new(FieldType::Text, group);
        let table = table_of_totals(dataset, total, name, column, text, group);
        Ok(Some(table))
    }

    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        page: PageBuilder,
    ) -> Result<PageBuilder> {
        fetch::fetch(&self.server.pool, table, statement, page)
            .await
            .map_err(error)
    }

    async fn count(&self, statement: Statement) -> Result<u64> {
        let count = fetch::count(&self.server.pool, statement)
            .await
            .map_err(error)?;
        unsigned(STORE, count)
    }

    async fn find_candidates(
        &self,
        dataset: &Dataset,
        query: &RowQuery,
        search: &Search,
    ) -> Result<Option<Candidates>> {
        let sources = Sources::new(dataset, query, search)?;
        let counted = self.count(sources.count()).await?;
        Ok(sources.candidates(counted))
    }

    async fn entry(&self, dataset: &str) -> Result<Option<Entry>> {
        let mut connection = self.server.pool.acquire().await.map_err(error)?;
        registry::read(&mut connection, dataset).await
    }

    async fn versions(&self, statement: Statement) -> Result<Vec<VersionColumns>> {
        let versions = fetch::versions(&self.server.pool, statement).await;
        versions.map_err(error)
    }
}

pub(super) fn column(
    name: &str,
    kind: FieldType,
    is_there: bool,
    has_beginnings: bool,
) -> ReadColumn {
    let raw = if is_there {
        quote(name)
    } else {
        "NULL".to_owned()
    };
    ReadColumn {
        value: match kind {
            FieldType::Decimal | FieldType::Date | FieldType::Timestamp => {
                format!("CAST({raw} AS CHAR)")
            }
            _ => raw.clone(),
        },
        beginning: has_beginnings.then(|| format!("LEFT({raw}, {SORTED_CHARS})")),
        ..ReadColumn::new(kind, raw)
    }
}

/// Returns the placeholder of a value of this type. A number or time beside a text would be compared as a float.
pub(super) fn place(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Decimal => "CAST(? AS DECIMAL(56,28))",
        FieldType::Date => "CAST(? AS DATE)",
        FieldType::Timestamp => "CAST(? AS DATETIME(6))",
        _ => "?",
    }
}

impl Dialect for ReadMysql {
    const HAS_ROW_VALUES: bool = false;
    const ORDERS_BY_CONSTANTS: bool = false;

    fn place(&self, _: usize, kind: FieldType) -> String {
        place(kind).to_owned()
    }

    const INDEXES_WORDS: bool = false;

    fn quoted(&self, name: &str) -> String {
        quote(name)
    }

    fn contains(&self, column: &str, place: &str) -> String {
        format!("LOCATE({place}, {column}) > 0")
    }

    fn needle(&self, clause: &Clause) -> String {
        clause.needle().to_owned()
    }

    fn tombstones(&self, dataset: &str) -> String {
        quote(tombstones_of(dataset))
    }

    fn deleted_at(&self) -> &'static str {
        "DATE_FORMAT(_deleted_at, '%Y-%m-%dT%H:%i:%s.%fZ')"
    }
}

impl ReadRows for MySql {
    fn arguments(values: Vec<Value>) -> Result<MySqlArguments, Error> {
        let mut arguments = MySqlArguments::default();
        for value in values {
            let added = match value {
                Value::Integer(number) => arguments.add(number),
                Value::Float(number) => arguments.add(number),
                Value::Boolean(boolean) => arguments.add(boolean),
                Value::Timestamp(instant) => {
                    arguments.add(timestamp_text(instant.to_datetime(), ' ', ""))
                }
                other => arguments.add(other.to_text().map(Cow::into_owned)),
            };
            added.map_err(Error::Encode)?;
        }
        Ok(arguments)
    }

    fn stored(table: &ReadTable, row: &MySqlRow) -> Result<StoredRow, Error> {
        let value = |kind, place| {
            fetch::value(kind, row, place, || {
                fetch::parsed(kind, row.try_get_unchecked(place)?)
            })
        };
        table.row(value, |place| row.try_get_unchecked(place))
    }
}
