//! Deletes: of single keys, remembered as tombstones, and of what a snapshot does not have.

use landfall_domain::{RowVersion, StoreCounts};
use sqlx::{AssertSqlSafe, PgConnection};

use super::destination::Destination;
use super::error;
use super::merge::same_key;
use super::table::{count, definition, name_for, quote, run};
use crate::StoreError;
use crate::registry::{SWEPT_AT_ONCE, TOMBSTONE_DAYS, tombstones_of};
use crate::schema::{ColumnKind, Table, VERSION, list};

/// The statements that deletes need, and upserts where there are tombstones.
pub(super) struct Deletes {
    /// Makes the table of staged keys, empty at each commit.
    pub(super) stage: String,
    /// That table.
    pub(super) staged: Destination,
    /// Makes the table of tombstones where it is missing.
    pub(super) create: String,
    forbidden: String,
    outlived: String,
    delete: String,
    stale: String,
    bury: String,
    sweep: String,
}

impl Deletes {
    /// `staged` is the table of staged upserts.
    pub(super) fn new(table: &Table, staged: &str) -> Self {
        let target = quote(&table.name);
        let graves = graves(table);
        let key = list(&table.key, ", ", quote);
        let required = |null: &str| {
            let key = table.columns.iter().filter(|column| {
                matches!(column.kind, ColumnKind::Key(_)) || column.name == VERSION
            });
            list(key, ", ", |column| format!("{}{null}", definition(column)))
        };
        let keys = name_for("_keys", &format!("{} {key}", required("")));
        Self {
            stage: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {keys} ({}) ON COMMIT DELETE ROWS",
                required("")
            ),
            create: format!(
                "CREATE TABLE IF NOT EXISTS {graves} ({}, \
                 _deleted_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ({key})); \
                 CREATE INDEX IF NOT EXISTS {} ON {graves} (_deleted_at)",
                required(" NOT NULL"),
                name_for("_deleted_at", &table.name)
            ),
            forbidden: format!(
                "DELETE FROM {staged} s USING {graves} g \
                 WHERE {} AND s._version < g._version",
                same_key(table, "g", "s")
            ),
            outlived: format!(
                "DELETE FROM {graves} g USING {staged} s \
                 WHERE {} AND g._version < s._version",
                same_key(table, "g", "s")
            ),
            delete: format!(
                "DELETE FROM {target} t USING pg_temp.{keys} k \
                 WHERE {} AND t._version < k._version",
                same_key(table, "t", "k")
            ),
            stale: format!(
                "SELECT count(*) FROM pg_temp.{keys} k WHERE \
                 EXISTS (SELECT FROM {target} t WHERE {} AND t._version > k._version) OR \
                 EXISTS (SELECT FROM {graves} g WHERE {} AND g._version > k._version)",
                same_key(table, "t", "k"),
                same_key(table, "g", "k")
            ),
            bury: format!(
                "INSERT INTO {graves} AS g ({key}, _version) \
                 SELECT {key}, _version FROM pg_temp.{keys} k WHERE NOT EXISTS \
                 (SELECT FROM {target} t WHERE {} AND t._version > k._version) \
                 ON CONFLICT ({key}) DO UPDATE SET _version = excluded._version, \
                 _deleted_at = excluded._deleted_at WHERE g._version < excluded._version",
                same_key(table, "t", "k")
            ),
            sweep: format!(
                "DELETE FROM {graves} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {graves} \
                 WHERE _deleted_at < now() - interval '{TOMBSTONE_DAYS} days' LIMIT {SWEPT_AT_ONCE}))"
            ),
            staged: Destination {
                table: format!("pg_temp.{keys}"),
                columns: format!("{key}, _version"),
            },
        }
    }

    /// Takes staged rows away whose key a newer row deleted, and gives how many; and tombstones that are
    /// older than the rows that stay.
    pub(super) async fn drop_forbidden(
        &self,
        connection: &mut PgConnection,
    ) -> Result<u64, StoreError> {
        let forbidden = run(connection, self.forbidden.as_str()).await?;
        run(connection, self.outlived.as_str()).await?;
        Ok(forbidden)
    }

    /// Deletes the staged keys, of which there are `total`, where they are older.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        total: u64,
    ) -> Result<StoreCounts, StoreError> {
        let deleted = run(connection, self.delete.as_str()).await?;
        let [stale] = count(connection, self.stale.as_str()).await?;
        run(connection, self.bury.as_str()).await?;
        run(connection, self.sweep.as_str()).await?;
        Ok(StoreCounts {
            deleted,
            stale,
            unchanged: total - deleted - stale,
            ..StoreCounts::default()
        })
    }
}

fn graves(table: &Table) -> String {
    quote(tombstones_of(&table.name))
}

/// Deletes what is older than this version, and gives the number of rows.
pub(super) async fn prune(
    connection: &mut PgConnection,
    table: &Table,
    version: &RowVersion,
    tombstones: bool,
) -> Result<u64, StoreError> {
    let pruned = delete_older(connection, &quote(&table.name), version).await?;
    if tombstones {
        delete_older(connection, &graves(table), version).await?;
    }
    Ok(pruned)
}

async fn delete_older(
    connection: &mut PgConnection,
    table: &str,
    version: &RowVersion,
) -> Result<u64, StoreError> {
    let delete = format!("DELETE FROM {table} WHERE _version < $1");
    let done = sqlx::query(AssertSqlSafe(delete))
        .persistent(false)
        .bind(version.as_bytes().as_slice())
        .execute(connection)
        .await
        .map_err(error)?;
    Ok(done.rows_affected())
}

/// Drops the tombstones of a table that is no longer there.
pub(super) async fn forget(connection: &mut PgConnection, table: &Table) -> Result<(), StoreError> {
    run(
        connection,
        format!("DROP TABLE IF EXISTS {}", graves(table)),
    )
    .await
    .map(drop)
}
