//! The merge of a staged chunk: one pass over its keys.
//!
//! One `MERGE` looks each key up once. It overwrites an older row, even if only the version changes, and adds an
//! absent one.
//!
//! `MERGE` reports only how many rows it wrote. Temporary sequences count the other outcomes as it proceeds: rows
//! with other values, and rows left alone because the table has this version or a newer one. The server's
//! statistics of the transaction count the inserted rows, so `track_counts` must be on, which is the default.
//! Looking up the keys once more to count those left alone would hold the lane longer.
//!
//! If the counts do not cover every row, a trigger or rule has kept a row out, and the chunk is refused. A row that
//! another program changes at the same moment may be counted twice. If the sums show this, the chunk is merged
//! again. The rows are correct in any case.
//!
//! Hash and merge joins are disabled within a merge: its cost should follow the chunk, not the table, and a
//! temporary table has no statistics to plan with.
//!
//! # Tried and given up
//!
//! These took as much time or more, or did more work under the lock: `UPDATE` then `INSERT`, `INSERT` then
//! `UPDATE`, one statement of CTEs, and a look-up of all keys before a `COPY` of the absent rows.

use std::time::Duration;

use landfall_domain::StoreCounts;
use sqlx::{AssertSqlSafe, PgConnection};

use super::destination::Destination;
use super::statement::{STORE, count, error};
use super::table::{definition, name_for, quote};
use crate::error::{Result, StoreError};
use crate::schema::{ColumnKind, Table, list};

/// Sequences of the session that count rows as `MERGE` meets them, as it reports only how many it wrote: rows with
/// other values, rows stored in this very version, and rows stored in a newer one. They have a cache, so that
/// counting is an addition in memory.
const COUNTERS: &str = "CREATE TEMP SEQUENCE IF NOT EXISTS _changed CACHE 1000; \
     CREATE TEMP SEQUENCE IF NOT EXISTS _same CACHE 1000; \
     CREATE TEMP SEQUENCE IF NOT EXISTS _newer CACHE 1000";

pub(super) struct Merge {
    /// Begins the transaction, and creates the staging table, empty at each commit, unless this connection has it.
    pub(super) begin: String,
    pub(super) staged: Destination,
    pub(super) table: Destination,
    statement: String,
    read_counters: String,
    /// The name that `PostgreSQL` gives the primary key.
    primary_key: String,
}

/// The counters of changed, same, newer and inserted rows.
#[derive(Default)]
pub(super) struct Counters([u64; 4]);

impl Merge {
    pub(super) fn new(table: &Table, timeout: Duration) -> Self {
        let is_merged = table.is_merged();
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let (kept, kept_definition) = if is_merged {
            (", _kept", ", _kept bytea")
        } else {
            ("", "")
        };
        let columns = list(&table.columns, ", ", definition) + kept_definition;
        let stage = name_for("_stage", &columns);
        let same_key = same_key(table, "t", "s");
        let written = table
            .columns
            .iter()
            .filter(|column| !matches!(column.kind, ColumnKind::Key(_)));
        let set = list(written, ", ", |column| {
            let name = &column.name;
            format!("{} = {}", quote(name), new_value(table, name))
        });
        let values = list(&table.columns, ", ", |column| {
            format!("s.{}", quote(&column.name))
        });
        let differs = differs(table);
        // What is staged for a merge by column is decided.
        let newer_or_same = if is_merged {
            ""
        } else {
            "WHEN t._version >= s._version \
             THEN CASE WHEN t._version = s._version THEN nextval('pg_temp._same') \
             ELSE nextval('pg_temp._newer') END < 0 "
        };
        Self {
            begin: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; \
                 SET LOCAL statement_timeout = {}; SET LOCAL client_min_messages = error; \
                 SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
                 SET LOCAL jit = off; {COUNTERS}; \
                 CREATE TEMP TABLE IF NOT EXISTS {stage} ({columns}) ON COMMIT DELETE ROWS",
                timeout.as_millis()
            ),
            // The counters are positive: every older row is updated, and no other one.
            statement: format!(
                "MERGE INTO {target} t USING pg_temp.{stage} s ON {same_key} \
                 WHEN MATCHED AND CASE {newer_or_same}\
                 WHEN {differs} THEN nextval('pg_temp._changed') > 0 \
                 ELSE true END THEN UPDATE SET {set} \
                 WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
            ),
            read_counters: format!(
                "SELECT nextval('pg_temp._changed'), nextval('pg_temp._same'), \
                 nextval('pg_temp._newer'), pg_stat_get_xact_tuples_inserted('{target}'::regclass)"
            ),
            primary_key: format!("{}_pkey", table.name),
            staged: Destination {
                table: format!("pg_temp.{stage}"),
                columns: format!("{names}{kept}"),
            },
            table: Destination {
                table: target,
                columns: names,
            },
        }
    }

    /// Reads the counters: before the merge, and before others wait for it.
    pub(super) async fn counters(&self, connection: &mut PgConnection) -> Result<Counters> {
        let read = self.read_counters.as_str();
        count(connection, read).await.map(Counters)
    }

    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        total: u64,
        before: &Counters,
    ) -> Result<StoreCounts> {
        let written = sqlx::raw_sql(AssertSqlSafe(self.statement.as_str()))
            .execute(&mut *connection)
            .await
            .map_err(|error| self.classify(error))?
            .rows_affected();
        let after = self.counters(connection).await?;
        let [changed, same, newer, inserted] =
            std::array::from_fn(|index| after.0[index] - before.0[index]);
        // Reading a sequence increments it.
        let [updated, same, stale] = [changed, same, newer].map(|counted| counted - 1);
        if written + same + stale < total {
            return Err(rows_suppressed());
        }
        // A row that another program changed meanwhile was visited, and counted, twice.
        if updated + inserted > written || written + same + stale > total {
            let reason = "another program changed rows of the chunk";
            return Err(StoreError::contended(STORE, reason));
        }
        Ok(StoreCounts {
            inserted,
            updated,
            unchanged: total - inserted - updated - stale,
            stale,
            ..StoreCounts::default()
        })
    }

    /// Classifies an error. A key that another program has just added exists when the rows are merged again.
    pub(super) fn classify(&self, error: sqlx::Error) -> StoreError {
        let is_taken = error.as_database_error().is_some_and(|error| {
            error.is_unique_violation() && error.constraint() == Some(&self.primary_key)
        });
        match self::error(error) {
            StoreError::Refused { store, reason } if is_taken => {
                StoreError::Contended { store, reason }
            }
            other => other,
        }
    }
}

/// Returns the condition that the stored row `t` gets another value from the staged row `s`.
pub(super) fn differs(table: &Table) -> String {
    let compared = table.values().filter(|column| column.is_compared());
    let differs = list(compared, " OR ", |column| {
        let name = &column.name;
        format!(
            "t.{} IS DISTINCT FROM {}",
            quote(name),
            new_value(table, name)
        )
    });
    if differs.is_empty() {
        return "false".to_owned();
    }
    differs
}

/// Returns the value that a column of the stored row `t` gets from the staged row `s`.
pub(super) fn new_value(table: &Table, name: &str) -> String {
    let (column, mut values) = (quote(name), table.values());
    let number = values.position(|column| column.name == name);
    match number.filter(|_| table.is_merged()) {
        Some(number) => {
            format!("CASE get_bit(s._kept, {number}) WHEN 1 THEN t.{column} ELSE s.{column} END")
        }
        None => format!("s.{column}"),
    }
}

/// Fewer rows were written than staged.
pub(super) fn rows_suppressed() -> StoreError {
    StoreError::refused(STORE, "a rule or trigger of the table keeps rows out")
}

/// Returns the condition that rows of two aliases have the same key.
pub(super) fn same_key(table: &Table, one: &str, other: &str) -> String {
    list(&table.key, " AND ", |name| {
        format!("{one}.{0} = {other}.{0}", quote(name))
    })
}
