//! What destinations have of the keys of a dataset ([`crate::changes`]).

use std::future::ready;

use async_trait::async_trait;
use futures::FutureExt as _;
use jiff::Timestamp;
use landfall_domain::{Dataset, FieldType, StoreKind};
use rusqlite::{Transaction, params_from_iter};

use super::error::{STORE, cut_off};
use super::prune::Range;
use super::read::column;
use super::table::{definition, quote};
use super::values::{bound, value};
use super::{ReadSqlite, Sqlite, registry};
use crate::changes::statements::{ChangeDialect, Statements};
use crate::changes::{
    Call, ChangeBackend, ChangeResult, ChangeTransaction, DueChange, Lease, ReadChanges, Selection,
    SyncStep, entries_of, keys_of, track,
};
use crate::error::Result;
use crate::read::page::PageBuilder;
use crate::read::sql::Found;
use crate::read::statement::{ReadColumn, ReadTable, Statement};
use crate::registry::{Entry, Registered, unsigned};
use crate::schema::{Column, ColumnKind, EXTRA, Table, VERSION, list};

/// Drops what was recorded about a table that no longer exists.
pub(super) fn forget(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
    let (entries, keys) = (quote(entries_of(&table.name)), quote(keys_of(&table.name)));
    let drop = format!("DROP TABLE IF EXISTS {entries}; DROP TABLE IF EXISTS {keys}");
    Ok(transaction.execute_batch(&drop)?)
}

fn create(table: &Table) -> String {
    let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
    let columns = list(table.columns.iter().filter(is_key), ", ", definition);
    let keys = keys_of(&table.name);
    format!(
        "CREATE TABLE IF NOT EXISTS {entries} ({columns}, {VERSION} BLOB NOT NULL, _at INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS {table} (_id INTEGER PRIMARY KEY, _destination TEXT NOT NULL, {columns}, \
         _wanted BLOB NOT NULL, _wanted_at INTEGER NOT NULL, _sent BLOB, \
         _exists INTEGER NOT NULL DEFAULT 0, _sent_as TEXT, \
         _state TEXT NOT NULL, _holds INTEGER NOT NULL DEFAULT 0, _attempts INTEGER NOT NULL DEFAULT 0, \
         _due_at INTEGER NOT NULL, _lease TEXT, _uncertain INTEGER NOT NULL DEFAULT 0, \
         _gone INTEGER NOT NULL DEFAULT 0, _answer TEXT, UNIQUE (_destination, {key})) STRICT;
         CREATE INDEX IF NOT EXISTS {due} ON {table} (_destination, _state, _due_at)",
        entries = quote(entries_of(&table.name)),
        table = quote(&keys),
        key = list(&table.key, ", ", quote),
        due = quote(format!("_due.{keys}")),
    )
}

#[derive(Clone, Copy)]
pub(crate) struct Dialect;

impl ChangeDialect for Dialect {
    /// Only one transaction writes at a time.
    const SKIP_LOCKED: &str = "";
    const BY_KEY: &str = "";

    fn quote(&self, name: &str) -> String {
        quote(name)
    }

    fn bytes(&self, hex: &str) -> String {
        format!("x'{hex}'")
    }

    fn hex(&self, expression: &str) -> String {
        // Of null, the function returns an empty text.
        format!("CASE WHEN {expression} IS NOT NULL THEN hex({expression}) END")
    }

    fn integer(&self, expression: &str) -> String {
        expression.to_owned()
    }

    fn place(&self, nth: usize, _: FieldType) -> String {
        self.text(nth)
    }

    fn text(&self, nth: usize) -> String {
        format!("?{nth}")
    }

    fn contains(&self, text: &str, part: &str) -> String {
        format!("instr({text}, {part}) > 0")
    }

    fn column(&self, name: &str, kind: FieldType) -> ReadColumn {
        column(name, kind, true, false)
    }

    fn rows(&self, dataset: &Dataset, table: &Table) -> ReadTable {
        Found::new(
            dataset,
            table,
            &[],
            quote(&table.name),
            quote(EXTRA),
            column,
        )
        .table
    }

    fn incoming(&self, column: &str) -> String {
        format!("excluded.{column}")
    }

    fn on_conflict(&self, key: &str, assignments: Option<&str>) -> String {
        match assignments {
            None => format!("ON CONFLICT ({key}) DO NOTHING"),
            Some(assignments) => format!(
                "ON CONFLICT ({key}) DO UPDATE SET {assignments} WHERE excluded._wanted > s._wanted"
            ),
        }
    }

    fn update_from(&self, table: &str, query: &str, set: &str, condition: &str) -> String {
        format!(
            "UPDATE {table} AS s SET {set} FROM ({query}) AS v WHERE s._id = v.new_id AND {condition}"
        )
    }
}

#[async_trait]
impl ReadChanges for ReadSqlite {
    type Changes = Dialect;

    async fn changes(&self) -> Result<Dialect> {
        Ok(Dialect)
    }
}

/// A transaction whose calls have ended when they return.
struct Tx<'t>(&'t Transaction<'t>);

impl Tx<'_> {
    fn execute_now(&self, statement: Statement) -> Result<u64> {
        let values = statement.values.into_iter().map(bound);
        let written = self.0.execute(&statement.sql, params_from_iter(values))?;
        Ok(written as u64)
    }

    fn fetch_now(
        &self,
        table: &ReadTable,
        statement: Statement,
        mut page: PageBuilder,
    ) -> Result<PageBuilder> {
        let mut select = self.0.prepare(&statement.sql)?;
        let values = statement.values.into_iter().map(bound);
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let value = |kind, place| value(kind, row.get_ref(place)?);
            if !page.push(table.row(value, |place| Ok(row.get(place)?))?) {
                break;
            }
        }
        Ok(page)
    }

    fn fold_now(
        &self,
        statements: &Statements<'_, Dialect>,
        destinations: &[String],
        now: i64,
        limit: u64,
    ) -> Result<u64> {
        let (entries, key) = (statements.entries_table(), statements.key(""));
        let select = format!(
            "SELECT MAX(_rowid_), COUNT(*) FROM (SELECT _rowid_ FROM {entries} ORDER BY _rowid_ LIMIT {limit})"
        );
        let last = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (last, folded): (Option<i64>, i64) = self.0.query_row(&select, [], last)?;
        let Some(last) = last else {
            return Ok(0);
        };
        let insert = statements.insert().replacen(" (", " AS s (", 1);
        let update = Dialect.on_conflict(&statements.unique(), Some(&statements.newer("s")));
        for destination in destinations {
            let fold = format!(
                "{insert} SELECT '{destination}', {key}, MAX({VERSION}), MIN(MIN(_at), {now}), \
                 MIN(MIN(_at), {now}), 'waiting' FROM {entries} WHERE _rowid_ <= {last} GROUP BY {key} {update}"
            );
            self.0.execute(&fold, [])?;
        }
        let delete = format!("DELETE FROM {entries} WHERE _rowid_ <= {last}");
        self.0.execute(&delete, [])?;
        unsigned(STORE, folded)
    }
}

impl ChangeTransaction for Tx<'_> {
    type Dialect = Dialect;
    const STORE: StoreKind = STORE;

    fn dialect(&self) -> Dialect {
        Dialect
    }

    fn destinations(&mut self, dataset: &str) -> impl Future<Output = Result<Entry>> + Send {
        ready(registry::prepared(self.0, dataset))
    }

    fn execute(&mut self, statement: Statement) -> impl Future<Output = Result<u64>> + Send {
        ready(self.execute_now(statement))
    }

    fn fetch(
        &mut self,
        table: &ReadTable,
        statement: Statement,
        page: PageBuilder,
    ) -> impl Future<Output = Result<PageBuilder>> + Send {
        ready(self.fetch_now(table, statement, page))
    }

    fn fold(
        &mut self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
        now: i64,
        limit: u64,
    ) -> impl Future<Output = Result<u64>> + Send {
        let statements = Statements {
            dialect: &Dialect,
            dataset,
            table,
        };
        ready(self.fold_now(&statements, destinations, now, limit))
    }
}

/// Returns the result of a sequence, whose calls have ended when they return.
fn ended<T>(sequence: impl Future<Output = Result<T>>) -> Result<T> {
    sequence.now_or_never().unwrap_or_else(|| Err(cut_off()))
}

impl Sqlite {
    /// Runs a call for a destination in a transaction.
    async fn call<T: Send + 'static>(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        work: impl FnOnce(&Call<'_>, &mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (dataset, table, destination) =
            (dataset.clone(), table.clone(), destination.to_owned());
        self.transact(move |transaction| {
            let call = Call {
                dataset: &dataset,
                table: &table,
                destination: &destination,
            };
            work(&call, &mut Tx(transaction))
        })
        .await
    }
}

#[async_trait]
impl ChangeBackend for Sqlite {
    async fn track(
        &self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
    ) -> Result<bool> {
        let (dataset, table, rows) = (dataset.clone(), table.clone(), self.step_rows);
        let destinations = destinations.to_vec();
        self.transact(move |transaction| {
            let mut entry = registry::prepared(transaction, &table.name)?;
            if entry.registered.tracking.is_for(&destinations) {
                return Ok(true);
            }
            if !destinations.is_empty() {
                transaction.execute_batch(&create(&table))?;
            }
            let tx = &mut Tx(transaction);
            let is_done = ended(track(tx, &dataset, &table, &mut entry, &destinations, rows))?;
            registry::write(transaction, &table.name, &entry.registered)?;
            registry::set_walks(transaction, &table.name, &entry)?;
            Ok(is_done)
        })
        .await
    }

    async fn tracked(&self) -> Result<Vec<(String, Registered)>> {
        self.transact(|transaction| registry::tracked(transaction))
            .await
    }

    async fn lease(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        let lease = lease.clone();
        self.call(dataset, table, destination, move |call, tx| {
            ended(call.fold(tx, &lease))?;
            ended(call.lease(tx, &lease, limit))
        })
        .await
    }

    async fn record(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64> {
        let (lease, results) = (lease.clone(), results.to_vec());
        self.call(dataset, table, destination, move |call, tx| {
            ended(call.record(tx, &lease, &results))
        })
        .await
    }

    async fn redrive(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64> {
        let selection = selection.clone();
        self.call(dataset, table, destination, move |call, tx| {
            ended(call.redrive(tx, &selection, now, limit))
        })
        .await
    }

    async fn sync_step(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        now: Timestamp,
        rows: u64,
    ) -> Result<SyncStep> {
        self.call(dataset, table, destination, move |call, tx| {
            let (transaction, name) = (tx.0, &call.table.name);
            let mut entry = registry::prepared(transaction, name)?;
            call.check(STORE, &entry)?;
            let known = entry.walks.sync(call.destination);
            let range = Range::next(transaction, name, known.place.as_deref(), rows)?;
            let marked = ended(call.sync(tx, &range.condition(), now))?;
            let step = entry
                .walks
                .advance_sync(call.destination, marked, range.next);
            registry::set_walks(transaction, name, &entry)?;
            Ok(step)
        })
        .await
    }
}
