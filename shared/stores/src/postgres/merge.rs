//! The merge of a staged chunk: one pass over its keys.

use std::time::Duration;

use landfall_domain::{StoreCounts, StoreKind};
use sqlx::{AssertSqlSafe, PgConnection};

use super::destination::Destination;
use super::table::{count, definition, name_for, quote};
use crate::StoreError;
use crate::schema::{ColumnKind, Table, list};

/// A sequence of the session that counts rows with other values: `MERGE` itself tells only how many rows it
/// wrote. It has a cache, so that counting is adding one in memory.
const COUNTER: &str = "CREATE TEMP SEQUENCE IF NOT EXISTS _changed CACHE 1000";

/// The statements that apply a chunk's rows.
pub(super) struct Merge {
    /// Begins the transaction and makes the staging table, empty at each commit, where this connection has
    /// none for this definition.
    pub(super) begin: String,
    /// The staging table.
    pub(super) staged: Destination,
    /// The dataset's own table.
    pub(super) table: Destination,
    statement: String,
    read_counters: String,
    compare: String,
    /// Name that `PostgreSQL` gives the primary key.
    primary_key: String,
}

/// Where the counters of changed and of inserted rows stand.
pub(super) struct Counters([u64; 2]);

impl Merge {
    pub(super) fn new(table: &Table, timeout: Duration) -> Self {
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let columns = list(&table.columns, ", ", definition);
        let stage = name_for("_stage", &columns);
        let same_key = same_key(table, "t", "s");
        let written = table
            .columns
            .iter()
            .filter(|column| !matches!(column.kind, ColumnKind::Key(_)));
        let set = list(written, ", ", |column| {
            format!("{0} = s.{0}", quote(&column.name))
        });
        let values = list(&table.columns, ", ", |column| {
            format!("s.{}", quote(&column.name))
        });
        let differs = list(table.values(), " OR ", |column| {
            format!("t.{0} IS DISTINCT FROM s.{0}", quote(&column.name))
        });
        let differs = if differs.is_empty() {
            "false"
        } else {
            &differs
        };
        Self {
            begin: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; \
                 SET LOCAL statement_timeout = {}; SET LOCAL client_min_messages = error; \
                 SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
                 SET LOCAL jit = off; {COUNTER}; \
                 CREATE TEMP TABLE IF NOT EXISTS {stage} ({columns}) ON COMMIT DELETE ROWS",
                timeout.as_millis()
            ),
            // The counter is above zero: every older row is updated.
            statement: format!(
                "MERGE INTO {target} t USING pg_temp.{stage} s ON {same_key} \
                 WHEN MATCHED AND CASE WHEN t._version >= s._version THEN false \
                 WHEN {differs} THEN nextval('pg_temp._changed') > 0 \
                 ELSE true END THEN UPDATE SET {set} \
                 WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
            ),
            read_counters: format!(
                "SELECT nextval('pg_temp._changed'), \
                 pg_stat_get_xact_tuples_inserted('{target}'::regclass)"
            ),
            compare: format!(
                "SELECT count(*), count(*) FILTER (WHERE t._version > s._version) \
                 FROM pg_temp.{stage} s JOIN {target} t ON {same_key}"
            ),
            primary_key: format!("{}_pkey", table.name),
            staged: Destination {
                table: format!("pg_temp.{stage}"),
                columns: names.clone(),
            },
            table: Destination {
                table: target,
                columns: names,
            },
        }
    }

    /// Before the merge, and before anyone else waits for it.
    pub(super) async fn counters(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Counters, StoreError> {
        let read = self.read_counters.as_str();
        count(connection, read).await.map(Counters)
    }

    /// Merges the staged rows, of which there are `total`.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        total: u64,
        before: &Counters,
    ) -> Result<StoreCounts, StoreError> {
        let written = sqlx::raw_sql(AssertSqlSafe(self.statement.as_str()))
            .execute(&mut *connection)
            .await
            .map_err(|error| self.sort(error))?
            .rows_affected();
        let after = self.counters(connection).await?;
        let [taken, inserted] = [0, 1].map(|index| after.0[index] - before.0[index]);
        // Reading the counter took one.
        let updated = taken - 1;
        // A row that another program changed meanwhile was looked at, and counted, twice.
        if updated + inserted > written {
            return Err(StoreError::Contended {
                store: StoreKind::Postgres,
                reason: "another program changed rows of the chunk".to_owned(),
            });
        }
        let stale = if written == total {
            0
        } else {
            // What was not written was there: this very version, or a newer one.
            let [there, newer] = count(connection, self.compare.as_str()).await?;
            if there != total {
                return Err(kept_out());
            }
            newer
        };
        Ok(StoreCounts {
            inserted,
            updated,
            unchanged: total - inserted - updated - stale,
            stale,
            ..StoreCounts::default()
        })
    }

    /// A key that another program adds meanwhile is there when the rows are merged again.
    pub(super) fn sort(&self, error: sqlx::Error) -> StoreError {
        let is_taken = error.as_database_error().is_some_and(|error| {
            error.is_unique_violation() && error.constraint() == Some(&self.primary_key)
        });
        match super::error(error) {
            StoreError::Refused { store, reason } if is_taken => {
                StoreError::Contended { store, reason }
            }
            other => other,
        }
    }
}

/// Fewer rows were written than came.
pub(super) fn kept_out() -> StoreError {
    StoreError::Refused {
        store: StoreKind::Postgres,
        reason: "a rule or trigger of the table keeps rows out".to_owned(),
    }
}

/// That rows of two aliases have one key.
pub(super) fn same_key(table: &Table, one: &str, other: &str) -> String {
    list(&table.key, " AND ", |name| {
        format!("{one}.{0} = {other}.{0}", quote(name))
    })
}
