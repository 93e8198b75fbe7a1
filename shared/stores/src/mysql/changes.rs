//! Records which keys change, and keeps what destinations have of them ([`crate::changes`]).
//!
//! MySQL and MariaDB do not report which rows an upsert has changed. For a dataset with destinations, a
//! chunk therefore copies the stored rows of its keys to a temporary table first, and compares them with the rows
//! that it has written.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use landfall_domain::{Dataset, FieldType, StoreKind};
use sqlx::{AssertSqlSafe, MySql, MySqlConnection};

use super::dialect::{self, BY_KEY, Dialect, name_for, quote, same_key};
use super::read::{column, place};
use super::statement::{STORE, error, run};
use super::write::Write;
use super::{Mysql, ReadMysql, ranges, registry};
use crate::changes::statements::{ChangeDialect, Statements};
use crate::changes::{ChangeTransaction, ReadChanges, ServerChanges, entries_of, keys_of, now};
use crate::error::{Result, StoreError};
use crate::read::fetch::ReadRows as _;
use crate::read::page::PageBuilder;
use crate::read::sql::Found;
use crate::read::statement::{ReadColumn, ReadTable, Statement};
use crate::registry::{Entry, Registered};
use crate::schema::{EXTRA, Table, VERSION, list};
use crate::sql::Below;
use crate::walk::Range;

/// The statements that record which keys of a chunk change.
pub(super) struct Changes {
    /// Creates the table of stored rows, empty.
    pub(super) create: String,
    copy_stored: String,
    entries: String,
    key: Vec<String>,
    upserts: String,
    deletes: String,
}

impl Changes {
    /// `keys` is the table of staged keys.
    pub(super) fn new(table: &Table, dialect: Dialect, keys: &str) -> Self {
        let definitions = list(&table.columns, ", ", |column| {
            format!("{} {}", quote(&column.name), dialect.type_of(table, column))
        });
        let definition = format!(
            "({definitions}, PRIMARY KEY ({})) {}",
            list(&table.key, ", ", quote),
            dialect.options()
        );
        let (before, target) = (quote(name_for("_before", &definition)), quote(&table.name));
        let names = |alias: &str| {
            list(&table.columns, ", ", |column| {
                format!("{alias}{}", quote(&column.name))
            })
        };
        let compared = table.values().filter(|column| column.is_compared());
        let same = list(compared, "", |column| {
            format!(" AND b.{0} <=> t.{0}", quote(&column.name))
        });
        let (with_row, with_stored) = (same_key(table, "t", "k"), same_key(table, "b", "k"));
        Self {
            create: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {before} {definition}; TRUNCATE TABLE {before}"
            ),
            copy_stored: format!(
                "INSERT INTO {before} ({}) SELECT {} FROM {keys} k \
                 STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row} WHERE NOT k._deletes",
                names(""),
                names("t.")
            ),
            entries: quote(entries_of(&table.name)),
            key: table.key.iter().map(quote).collect(),
            upserts: format!(
                "FROM {keys} k STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row} \
                 LEFT JOIN {before} b {BY_KEY} ON {with_stored} \
                 WHERE NOT k._deletes AND t.{VERSION} = k.{VERSION} \
                 AND (b.{VERSION} IS NULL OR b.{VERSION} < k.{VERSION} AND NOT (TRUE{same}))"
            ),
            deletes: format!(
                "FROM {keys} k STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row} \
                 WHERE k._deletes AND t.{VERSION} < k.{VERSION}"
            ),
        }
    }

    /// Keeps the stored rows of the staged keys, which are about to be upserted.
    pub(super) async fn copy_stored(&self, connection: &mut MySqlConnection) -> Result<()> {
        run(connection, &self.copy_stored).await.map(drop)
    }

    /// Records which keys were inserted or changed.
    pub(super) async fn record_upserts(&self, connection: &mut MySqlConnection) -> Result<()> {
        self.record(connection, "k", &self.upserts).await
    }

    /// Records which of the staged keys are about to be deleted.
    pub(super) async fn record_deletes(&self, connection: &mut MySqlConnection) -> Result<()> {
        self.record(connection, "k", &self.deletes).await
    }

    /// Records the keys of the rows of an alias that `from` selects.
    pub(super) async fn record(
        &self,
        connection: &mut MySqlConnection,
        alias: &str,
        from: &str,
    ) -> Result<()> {
        let key = list(&self.key, "", |name| format!("{alias}.{name}, "));
        let (insert, at) = (insert(&self.entries, &self.key.join(", ")), now());
        let record = format!("{insert} SELECT {key}{alias}.{VERSION}, {at} {from}");
        run(connection, &record).await.map(drop)
    }
}

fn insert(entries: &str, key: &str) -> String {
    format!("INSERT INTO {entries} ({key}, {VERSION}, _at)")
}

/// Records which keys a prune is about to delete.
pub(super) async fn record_prune(
    connection: &mut MySqlConnection,
    table: &Table,
    below: &Below<'_>,
) -> Result<()> {
    let Below { floor, condition } = below;
    let key = list(&table.key, ", ", quote);
    let (insert, at) = (insert(&quote(entries_of(&table.name)), &key), now());
    let record = format!(
        "{insert} SELECT {key}, x'{floor}', {at} FROM {} t {BY_KEY} \
         WHERE t.{VERSION} < x'{floor}' AND {condition}",
        quote(&table.name)
    );
    run(connection, &record).await.map(drop)
}

/// Drops what was recorded about a table that no longer exists.
pub(super) async fn forget(connection: &mut MySqlConnection, table: &Table) -> Result<()> {
    let (entries, keys) = (quote(entries_of(&table.name)), quote(keys_of(&table.name)));
    let drop = format!("DROP TABLE IF EXISTS {entries}, {keys}");
    run(connection, &drop).await.map(std::mem::drop)
}

fn create(table: &Table, dialect: Dialect) -> String {
    let (key, options) = (dialect.key_columns(table), dialect.options());
    let version = dialect::longest_version_type();
    let name = "CHARACTER SET ascii COLLATE ascii_bin";
    format!(
        "CREATE TABLE IF NOT EXISTS {entries} (_id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, {key}, \
         {VERSION} {version} NOT NULL, _at bigint NOT NULL) {options}; \
         CREATE TABLE IF NOT EXISTS {keys} (_id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, \
         _destination varchar(48) {name} NOT NULL, {key}, \
         _wanted {version} NOT NULL, _wanted_at bigint NOT NULL, _sent {version}, \
         _exists tinyint NOT NULL DEFAULT 0, _sent_as text, \
         _state varchar(16) {name} NOT NULL, _holds tinyint NOT NULL DEFAULT 0, \
         _attempts bigint NOT NULL DEFAULT 0, _due_at bigint NOT NULL, _lease varchar(64) {name}, \
         _uncertain tinyint NOT NULL DEFAULT 0, _gone tinyint NOT NULL DEFAULT 0, _answer text, \
         UNIQUE KEY _key (_destination, {names}), KEY _due (_destination, _state, _due_at, _id)) {options}",
        entries = quote(entries_of(&table.name)),
        keys = quote(keys_of(&table.name)),
        names = list(&table.key, ", ", quote),
    )
}

impl ChangeDialect for Dialect {
    const SKIP_LOCKED: &str = "FOR UPDATE SKIP LOCKED";
    const BY_KEY: &str = " FORCE INDEX (PRIMARY)";

    fn quote(&self, name: &str) -> String {
        quote(name)
    }

    fn bytes(&self, hex: &str) -> String {
        format!("x'{hex}'")
    }

    fn hex(&self, expression: &str) -> String {
        format!("HEX({expression})")
    }

    fn integer(&self, expression: &str) -> String {
        format!("CAST({expression} AS SIGNED)")
    }

    fn place(&self, _: usize, kind: FieldType) -> String {
        place(kind).to_owned()
    }

    fn text(&self, _: usize) -> String {
        "?".to_owned()
    }

    fn contains(&self, text: &str, part: &str) -> String {
        format!("LOCATE({part}, {text}) > 0")
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
        format!("VALUES({column})")
    }

    fn on_conflict(&self, _: &str, assignments: Option<&str>) -> String {
        let assignments = assignments.unwrap_or("_holds = _holds");
        format!("ON DUPLICATE KEY UPDATE {assignments}")
    }

    fn update_from(&self, table: &str, query: &str, set: &str, condition: &str) -> String {
        format!("UPDATE {table} s JOIN ({query}) v ON s._id = v.new_id SET {set} WHERE {condition}")
    }
}

#[async_trait]
impl ReadChanges for ReadMysql {
    type Changes = Dialect;

    async fn changes(&self) -> Result<Dialect> {
        self.dialect().await
    }
}

impl ChangeTransaction for Write {
    type Dialect = Dialect;
    const STORE: StoreKind = STORE;

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn destinations(&mut self, dataset: &str) -> Result<Entry> {
        registry::share(&mut self.transaction, dataset).await
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64> {
        let arguments = MySql::arguments(statement.values).map_err(error)?;
        let done = sqlx::query_with(AssertSqlSafe(statement.sql), arguments)
            .persistent(false)
            .execute(&mut *self.transaction)
            .await;
        Ok(done.map_err(error)?.rows_affected())
    }

    async fn fetch(
        &mut self,
        table: &ReadTable,
        statement: Statement,
        mut page: PageBuilder,
    ) -> Result<PageBuilder> {
        let arguments = MySql::arguments(statement.values).map_err(error)?;
        let select = sqlx::query_with(AssertSqlSafe(statement.sql), arguments).persistent(false);
        let mut rows = select.fetch(&mut *self.transaction);
        while let Some(row) = rows.try_next().await.map_err(error)? {
            if !page.push(MySql::stored(table, &row).map_err(error)?) {
                break;
            }
        }
        Ok(page)
    }

    async fn fold(
        &mut self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
        now: i64,
        limit: u64,
    ) -> Result<u64> {
        let dialect = self.dialect;
        let statements = Statements {
            dialect: &dialect,
            dataset,
            table,
        };
        let (entries, keys) = (statements.entries_table(), statements.keys_table());
        let select =
            format!("SELECT _id FROM {entries} ORDER BY _id LIMIT {limit} FOR UPDATE SKIP LOCKED");
        let taken = sqlx::query_scalar(AssertSqlSafe(select)).persistent(false);
        let taken: Vec<i64> = taken
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(error)?;
        if taken.is_empty() {
            return Ok(0);
        }
        let taken_entries = in_ranges(&taken);
        let (insert, key) = (statements.insert(), statements.key(""));
        let update = dialect.on_conflict("", Some(&statements.newer(&keys)));
        for destination in destinations {
            let fold = format!(
                "{insert} SELECT '{destination}', {key}, MAX({VERSION}), LEAST(MIN(_at), {now}), \
                 LEAST(MIN(_at), {now}), 'waiting' FROM {entries} WHERE {taken_entries} \
                 GROUP BY {key} ORDER BY {key} {update}"
            );
            run(&mut self.transaction, &fold).await?;
        }
        let delete = format!("DELETE FROM {entries} WHERE {taken_entries}");
        run(&mut self.transaction, &delete).await?;
        Ok(taken.len() as u64)
    }
}

/// Returns the condition that `_id` is one of these numbers, which ascend.
fn in_ranges(ids: &[i64]) -> String {
    let ranges = ids.chunk_by(|one, next| one + 1 == *next);
    let ranges = ranges.filter_map(|range| Some((range.first()?, range.last()?)));
    let ranges = list(ranges, " OR ", |(first, last)| {
        format!("_id BETWEEN {first} AND {last}")
    });
    format!("({ranges})")
}

#[async_trait]
impl ServerChanges for Mysql {
    async fn check_server(&self, table: &Table) -> Result<()> {
        if self.server.dialect().await.map_err(error)?.skips_locked {
            return Ok(());
        }
        let reason = "destinations need MariaDB 10.6 or MySQL 8.0.17, or newer: upgrade the server";
        Err(StoreError::schema(STORE, &table.name, reason))
    }

    async fn create_tables(&self, table: &Table) -> Result<()> {
        let dialect = self.server.dialect().await.map_err(error)?;
        let create = create(table, dialect);
        run(&mut *self.connection().await?, &create).await.map(drop)
    }

    async fn tracked_entries(&self) -> Result<Vec<(String, Registered)>> {
        registry::tracked(&mut *self.connection().await?).await
    }

    /// Readers of the destinations share the lock of the entry.
    async fn lock_destinations(&self, _: &mut Write, _: &str) -> Result<()> {
        Ok(())
    }

    async fn key_range(
        &self,
        write: &mut Write,
        table: &Table,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range> {
        ranges::next(&mut write.transaction, table, &table.name, place, rows).await
    }
}

#[cfg(test)]
mod tests {
    use super::in_ranges;

    #[test]
    fn numbers_without_gaps_are_a_range() {
        let condition = "(_id BETWEEN 1 AND 3 OR _id BETWEEN 5 AND 5 OR _id BETWEEN 9 AND 10)";
        assert_eq!(in_ranges(&[1, 2, 3, 5, 9, 10]), condition);
    }
}
