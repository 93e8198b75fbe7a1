//! Records which keys change, and keeps what destinations have of them ([`crate::changes`]).

use async_trait::async_trait;
use futures::TryStreamExt as _;
use landfall_domain::{Dataset, FieldType, StoreKind};
use sqlx::{AssertSqlSafe, PgConnection, Postgres as Driver};

use super::destination::Destination;
use super::key_ranges;
use super::merge::{differs, same_key};
use super::read::column;
use super::statement::{STORE, count, error, run};
use super::table::{definition, field_type, name_for, quote};
use super::write::Write;
use super::{Postgres, ReadPostgres, registry};
use crate::changes::statements::{ChangeDialect, Statements};
use crate::changes::{ChangeTransaction, ReadChanges, ServerChanges, entries_of, keys_of};
use crate::error::Result;
use crate::read::fetch::ReadRows as _;
use crate::read::page::PageBuilder;
use crate::read::sql::Found;
use crate::read::statement::{ReadColumn, ReadTable, Statement};
use crate::registry::{Entry, Registered};
use crate::schema::{Column, ColumnKind, EXTRA, Table, VERSION, list};
use crate::sql::lanes::LaneLock;
use crate::sql::{Below, SqlTransaction as _};
use crate::walk::Range;

/// Numbers the lock of a dataset's destinations among its locks, the others of which are those of lanes.
const DESTINATIONS: i32 = 100;

/// The statements that record which keys of a chunk change.
pub(super) struct Changes {
    /// The table of recorded changes.
    pub(super) entries: Destination,
    upserts: String,
    deletes: String,
}

impl Changes {
    /// `staged` is the table of staged upserts.
    pub(super) fn new(table: &Table, staged: &str) -> Self {
        let target = quote(&table.name);
        // What is staged for a merge by column is decided.
        let is_older = if table.is_merged() {
            ""
        } else {
            "t._version < s._version AND "
        };
        Self {
            entries: Destination {
                table: quote(entries_of(&table.name)),
                columns: list(&table.key, "", |name| format!("{}, ", quote(name)))
                    + "_version, _at",
            },
            upserts: format!(
                "FROM {staged} s LEFT JOIN {target} t ON {} \
                 WHERE t._version IS NULL OR {is_older}({})",
                same_key(table, "t", "s"),
                differs(table)
            ),
            deletes: format!(
                "k JOIN {target} t ON {} WHERE t._version < k._version",
                same_key(table, "t", "k")
            ),
        }
    }

    /// Returns the statement that records which keys a merge is about to insert or change.
    pub(super) fn of_upserts(&self, at: i64) -> String {
        let Destination { table, columns } = &self.entries;
        let selected = selected(columns, "s", at);
        format!(
            "INSERT INTO {table} ({columns}) SELECT {selected} {}",
            self.upserts
        )
    }

    /// Returns the statement that records which of the staged keys are about to be deleted.
    pub(super) fn of_deletes(&self, staged: &str, at: i64) -> String {
        let Destination { table, columns } = &self.entries;
        let selected = selected(columns, "k", at);
        format!(
            "INSERT INTO {table} ({columns}) SELECT {selected} FROM {staged} {}",
            self.deletes
        )
    }
}

/// Returns what is selected of an alias for these columns of recorded changes.
fn selected(columns: &str, alias: &str, at: i64) -> String {
    let columns = columns.split(", ").filter(|column| *column != "_at");
    list(columns, ", ", |column| format!("{alias}.{column}")) + &format!(", {at}")
}

/// Returns the statement that records which keys a prune is about to delete.
pub(super) fn of_prune(table: &Table, below: &Below<'_>, at: i64) -> String {
    let Below { floor, condition } = below;
    let key = list(&table.key, ", ", quote);
    format!(
        "INSERT INTO {} ({key}, _version, _at) SELECT {key}, '\\x{floor}'::bytea, {at} FROM {} t \
         WHERE t.{VERSION} < '\\x{floor}'::bytea AND {condition}",
        quote(entries_of(&table.name)),
        quote(&table.name)
    )
}

/// Drops what was recorded about a table that no longer exists.
pub(super) async fn forget(connection: &mut PgConnection, table: &Table) -> Result<()> {
    let (entries, keys) = (quote(entries_of(&table.name)), quote(keys_of(&table.name)));
    let drop = format!("DROP TABLE IF EXISTS {entries}, {keys}");
    run(connection, drop).await.map(std::mem::drop)
}

fn create(table: &Table) -> String {
    let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
    let columns = list(table.columns.iter().filter(is_key), "", |column| {
        format!("{} NOT NULL, ", definition(column))
    });
    let keys = quote(keys_of(&table.name));
    format!(
        "CREATE TABLE IF NOT EXISTS {entries} ({columns}_version bytea NOT NULL, _at bigint NOT NULL); \
         CREATE TABLE IF NOT EXISTS {keys} (\
         _id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         _destination text COLLATE \"C\" NOT NULL, {columns}\
         _wanted bytea NOT NULL, _wanted_at bigint NOT NULL, _sent bytea, \
         _exists smallint NOT NULL DEFAULT 0, _sent_as text, \
         _state text COLLATE \"C\" NOT NULL, _holds smallint NOT NULL DEFAULT 0, \
         _attempts bigint NOT NULL DEFAULT 0, _due_at bigint NOT NULL, _lease text, \
         _uncertain smallint NOT NULL DEFAULT 0, _gone smallint NOT NULL DEFAULT 0, _answer text, \
         CONSTRAINT {unique} UNIQUE (_destination, {key})); \
         CREATE INDEX IF NOT EXISTS {due} ON {keys} (_destination, _state, _due_at, _id)",
        entries = quote(entries_of(&table.name)),
        key = list(&table.key, ", ", quote),
        unique = name_for("_key", &keys),
        due = name_for("_due", &keys),
    )
}

#[derive(Clone, Copy)]
pub(crate) struct Dialect;

impl ChangeDialect for Dialect {
    const SKIP_LOCKED: &str = "FOR UPDATE SKIP LOCKED";
    const BY_KEY: &str = "";

    fn quote(&self, name: &str) -> String {
        quote(name)
    }

    fn bytes(&self, hex: &str) -> String {
        format!("'\\x{hex}'::bytea")
    }

    fn hex(&self, expression: &str) -> String {
        format!("encode({expression}, 'hex')")
    }

    fn integer(&self, expression: &str) -> String {
        format!("({expression})::bigint")
    }

    fn place(&self, nth: usize, kind: FieldType) -> String {
        format!("${nth}::{}", field_type(kind))
    }

    fn text(&self, nth: usize) -> String {
        format!("${nth}::text")
    }

    fn contains(&self, text: &str, part: &str) -> String {
        format!("strpos({text}, {part}) > 0")
    }

    fn column(&self, name: &str, kind: FieldType) -> ReadColumn {
        column(name, kind, true, false)
    }

    fn rows(&self, dataset: &Dataset, table: &Table) -> ReadTable {
        let extra = format!("t.{}::text", quote(EXTRA));
        Found::new(dataset, table, &[], quote(&table.name), extra, column).table
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
            "UPDATE {table} s SET {set} FROM ({query}) v WHERE s._id = v.new_id AND {condition}"
        )
    }
}

#[async_trait]
impl ReadChanges for ReadPostgres {
    type Changes = Dialect;

    async fn changes(&self) -> Result<Dialect> {
        Ok(Dialect)
    }
}

impl ChangeTransaction for Write {
    type Dialect = Dialect;
    const STORE: StoreKind = STORE;

    fn dialect(&self) -> Dialect {
        Dialect
    }

    async fn destinations(&mut self, dataset: &str) -> Result<Entry> {
        let lock = format!(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended('landfall:{dataset}', {DESTINATIONS}))"
        );
        run(&mut self.transaction, lock).await?;
        let entry = registry::entry(&mut self.transaction, dataset).await?;
        entry.ok_or_else(registry::not_registered)
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64> {
        let arguments = Driver::arguments(statement.values).map_err(error)?;
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
        let arguments = Driver::arguments(statement.values).map_err(error)?;
        let select = sqlx::query_with(AssertSqlSafe(statement.sql), arguments).persistent(false);
        let mut rows = select.fetch(&mut *self.transaction);
        while let Some(row) = rows.try_next().await.map_err(error)? {
            if !page.push(Driver::stored(table, &row).map_err(error)?) {
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
        let statements = Statements {
            dialect: &Dialect,
            dataset,
            table,
        };
        let (entries, key) = (statements.entries_table(), statements.key(""));
        let names = list(destinations, ", ", |name| format!("'{name}'"));
        let fold = format!(
            "WITH taken AS (DELETE FROM {entries} WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM {entries} LIMIT {limit} FOR UPDATE SKIP LOCKED)) \
             RETURNING {key}, _version, least(_at, {now}) AS _at), \
             newest AS (SELECT DISTINCT ON ({key}) {key}, _version, \
             min(_at) OVER (PARTITION BY {key}) AS _at FROM taken ORDER BY {key}, _version DESC), \
             folded AS ({insert_as} \
             SELECT d._destination, {newest}, n._version, n._at, n._at, 'waiting' \
             FROM newest n CROSS JOIN unnest(ARRAY[{names}]::text[]) d(_destination) \
             ORDER BY d._destination, {newest} {on_conflict}) \
             SELECT count(*) FROM taken",
            insert_as = statements.insert().replacen(" (", " AS s (", 1),
            newest = statements.key("n."),
            on_conflict = Dialect.on_conflict(&statements.unique(), Some(&statements.newer("s"))),
        );
        let [folded] = count(&mut self.transaction, fold).await?;
        Ok(folded)
    }
}

#[async_trait]
impl ServerChanges for Postgres {
    async fn create_tables(&self, table: &Table) -> Result<()> {
        let mut write = self.begin().await?;
        // `IF NOT EXISTS` fails if two create the same table at once.
        write.lock(&table.name, LaneLock::All).await?;
        run(&mut write.transaction, create(table)).await?;
        write.commit().await
    }

    async fn tracked_entries(&self) -> Result<Vec<(String, Registered)>> {
        registry::tracked(&mut *self.connection().await?).await
    }

    async fn lock_destinations(&self, write: &mut Write, dataset: &str) -> Result<()> {
        let lock = format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('landfall:{dataset}', {DESTINATIONS}))"
        );
        run(&mut write.transaction, lock).await.map(drop)
    }

    async fn key_range(
        &self,
        write: &mut Write,
        table: &Table,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range> {
        key_ranges::next(&mut write.transaction, table, place, rows).await
    }
}
