//! Reads by statements on read-only connections, each on a thread that may block.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use landfall_domain::{Clause, Dataset, FieldType, Search, StoreKind, Total};
use rusqlite::{Connection, OpenFlags, params_from_iter};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::{STORE, cut_off, unavailable};
use super::file::{BUSY_TIMEOUT, absolute};
use super::registry;
use super::search;
use super::table::{DELETED_AT, beginning, exists, missing, ordered, quote, tombstones};
use super::values::{bound, value};
use crate::error::{Result, StoreError};
use crate::read::ReadOptions;
use crate::read::key_versions::VersionColumns;
use crate::read::page::PageBuilder;
use crate::read::sql::{Found, SqlDatabase, table_of_totals};
use crate::read::statement::{Dialect, ReadColumn, ReadTable, Statement};
use crate::registry::{Entry, REGISTRY, unsigned};
use crate::schema::{Column, EXTRA, Table};

/// Number of prepared statements that a connection caches.
const PREPARED: usize = 64;
/// Number of a statement's instructions between two checks of whether it is to be interrupted.
const INSTRUCTIONS: i32 = 1000;

pub(crate) struct ReadSqlite {
    path: PathBuf,
    options: ReadOptions,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl ReadSqlite {
    pub(crate) fn new(path: &str, options: ReadOptions) -> Result<Self> {
        Ok(Self {
            path: absolute(path)?,
            options,
            turns: Arc::new(Semaphore::new(options.connections.max(1) as usize)),
            idle: Arc::default(),
        })
    }

    /// Runs `work`, or returns none if there is no file. `work` is interrupted after the timeout or if the caller
    /// stops waiting.
    async fn read<T, W>(&self, work: W) -> Result<Option<T>>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = timeout(self.options.connect_timeout(), turn)
            .await
            .map_err(|_| unavailable("no connection became free"))?
            .map_err(|_| cut_off())?;
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None if !self.path.exists() => return Ok(None),
            None => connect(&self.path)?,
        };
        let waiting = Arc::new(());
        let caller = Arc::downgrade(&waiting);
        let end = Instant::now() + self.options.timeout;
        // Not by `sqlite3_interrupt`, which does nothing before the statement has started.
        let interrupted = move || caller.strong_count() == 0 || Instant::now() >= end;
        connection.progress_handler(INSTRUCTIONS, Some(interrupted))?;
        let pool = Arc::clone(&self.idle);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&connection);
            lock(&pool).push(connection);
            drop(turn);
            done
        });
        let done = done.await;
        drop(waiting);
        done.unwrap_or_else(|_| Err(cut_off())).map(Some)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    Ok(connection)
}

#[async_trait]
impl SqlDatabase for ReadSqlite {
    const KIND: StoreKind = STORE;

    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>> {
        let wanted = table.clone();
        let missing = self.read(move |connection| {
            let missing = missing(connection, &wanted)?;
            let name = |column: &Column| column.name.clone();
            Ok(missing.map(|missing| missing.into_iter().map(name).collect::<Vec<_>>()))
        });
        Ok(missing.await?.flatten().map(|missing| {
            let (name, extra) = (quote(&table.name), quote(EXTRA));
            Found::new(dataset, table, &missing, name, extra, column)
        }))
    }

    async fn totals(&self, dataset: &Dataset, total: &Total) -> Result<Option<ReadTable>> {
        let name = total.name.clone();
        let is_there = self
            .read(move |connection| exists(connection, &name))
            .await?;
        Ok((is_there == Some(true)).then(|| {
            let text = |name: &str| format!("CAST({} AS TEXT)", quote(name));
            let group = column("_group", FieldType::Text, true, false);
            table_of_totals(dataset, total, quote(&total.name), column, text, group)
        }))
    }

    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        mut page: PageBuilder,
    ) -> Result<PageBuilder> {
        let table = Arc::clone(table);
        let fetched = self.read(move |connection| {
            let mut select = connection.prepare_cached(&statement.sql)?;
            let mut rows =
                select.query(params_from_iter(statement.values.into_iter().map(bound)))?;
            while let Some(row) = rows.next()? {
                let value = |kind, place| value(kind, row.get_ref(place)?);
                if !page.push(table.row(value, |place| Ok(row.get(place)?))?) {
                    break;
                }
            }
            Ok(page)
        });
        fetched.await?.ok_or_else(gone)
    }

    async fn count(&self, statement: Statement) -> Result<u64> {
        let counted = self.read(move |connection| {
            let mut select = connection.prepare_cached(&statement.sql)?;
            let values = params_from_iter(statement.values.into_iter().map(bound));
            let count = select.query_row(values, |row| row.get(0))?;
            unsigned(STORE, count)
        });
        counted.await?.ok_or_else(gone)
    }

    async fn entry(&self, dataset: &str) -> Result<Option<Entry>> {
        let dataset = dataset.to_owned();
        let entry = self.read(move |connection| {
            if exists(connection, REGISTRY)? {
                registry::read(connection, &dataset)
            } else {
                Ok(None)
            }
        });
        Ok(entry.await?.flatten())
    }

    async fn versions(&self, statement: Statement) -> Result<Vec<VersionColumns>> {
        let found = self.read(move |connection| {
            let mut select = connection.prepare_cached(&statement.sql)?;
            let values = params_from_iter(statement.values.into_iter().map(bound));
            let rows = select.query_map(values, |row| VersionColumns::try_from(row))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        });
        found.await?.ok_or_else(gone)
    }
}

fn gone() -> StoreError {
    unavailable("the file is gone")
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
        ordered: ordered(kind, &raw),
        beginning: has_beginnings.then(|| beginning(&raw)),
        ..ReadColumn::new(kind, raw)
    }
}

impl Dialect for ReadSqlite {
    const HAS_ROW_VALUES: bool = true;
    const ORDERS_BY_CONSTANTS: bool = false;

    fn place(&self, nth: usize, _: FieldType) -> String {
        format!("?{nth}")
    }

    fn ordered(&self, kind: FieldType, expression: &str) -> String {
        ordered(kind, expression)
    }

    fn tombstones(&self, dataset: &str) -> String {
        tombstones(dataset)
    }

    fn deleted_at(&self) -> &'static str {
        DELETED_AT
    }

    fn quoted(&self, name: &str) -> String {
        quote(name)
    }

    fn contains(&self, column: &str, place: &str) -> String {
        format!("instr({column}, {place}) > 0")
    }

    fn needle(&self, clause: &Clause) -> String {
        clause.needle().to_owned()
    }

    fn candidates(
        &self,
        dataset: &Dataset,
        _: &[String],
        search: &Search,
    ) -> Option<(String, String)> {
        let clauses = search.clauses().iter();
        let parts = clauses.flat_map(Clause::trigrams);
        let parts: Vec<String> = parts
            .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
            .collect();
        let index = search::index(&dataset.name);
        let condition = format!("_rowid_ IN (SELECT rowid FROM {index} WHERE {index} MATCH ?)");
        (!parts.is_empty()).then(|| (condition, parts.join(" AND ")))
    }

    fn present(&self, kind: FieldType, ordered: &str) -> String {
        // The least possible value: `IS NOT NULL` does not search an index.
        match kind {
            FieldType::Integer | FieldType::Float | FieldType::Boolean => {
                format!("{ordered} >= -9e999")
            }
            _ => format!("{ordered} >= ''"),
        }
    }
}
