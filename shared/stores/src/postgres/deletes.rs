//! Deletes of single keys, which leave tombstones.

use landfall_domain::{StoreCounts, TOMBSTONE_DAYS};
use sqlx::PgConnection;

use super::destination::Destination;
use super::merge::same_key;
use super::statement::{STORE, count, run};
use super::table::{definition, name_for, quote};
use crate::error::Result;
use crate::registry::{SWEPT_BY_CHUNK, tombstones_of, uncounted};
use crate::schema::{ColumnKind, Table, VERSION, list};

/// The statements for deletes, and for upserts where there are tombstones.
pub(super) struct Deletes {
    /// Creates the table of staged keys, empty at each commit.
    pub(super) stage: String,
    pub(super) staged: Destination,
    pub(super) create: String,
    superseded: String,
    outlived: String,
    delete: String,
    stale: String,
    insert_tombstones: String,
    sweep: String,
}

impl Deletes {
    /// `staged` is the table of staged upserts.
    pub(super) fn new(table: &Table, staged: &str) -> Self {
        let target = quote(&table.name);
        let tombstones = tombstone_table(&table.name);
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
                "CREATE TABLE IF NOT EXISTS {tombstones} ({}, \
                 _deleted_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ({key})); \
                 CREATE INDEX IF NOT EXISTS {} ON {tombstones} (_deleted_at)",
                required(" NOT NULL"),
                name_for("_deleted_at", &table.name)
            ),
            superseded: format!(
                "DELETE FROM {staged} s USING {tombstones} g \
                 WHERE {} AND s._version < g._version",
                same_key(table, "g", "s")
            ),
            outlived: format!(
                "DELETE FROM {tombstones} g USING {staged} s \
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
                 EXISTS (SELECT FROM {tombstones} g WHERE {} AND g._version > k._version)",
                same_key(table, "t", "k"),
                same_key(table, "g", "k")
            ),
            insert_tombstones: format!(
                "INSERT INTO {tombstones} AS g ({key}, _version) \
                 SELECT {key}, _version FROM pg_temp.{keys} k WHERE NOT EXISTS \
                 (SELECT FROM {target} t WHERE {} AND t._version > k._version) \
                 ON CONFLICT ({key}) DO UPDATE SET _version = excluded._version, \
                 _deleted_at = excluded._deleted_at WHERE g._version < excluded._version",
                same_key(table, "t", "k")
            ),
            sweep: sweep(&table.name, SWEPT_BY_CHUNK),
            staged: Destination {
                table: format!("pg_temp.{keys}"),
                columns: format!("{key}, _version"),
            },
        }
    }

    /// Drops staged rows whose keys a newer row deleted, and returns their number. Also deletes the tombstones that
    /// are older than the other rows.
    pub(super) async fn drop_rows_of_deleted_keys(
        &self,
        connection: &mut PgConnection,
    ) -> Result<u64> {
        let dropped = run(connection, self.superseded.as_str()).await?;
        self.delete_outlived_tombstones(connection).await?;
        Ok(dropped)
    }

    /// Deletes the tombstones that are older than the staged rows.
    pub(super) async fn delete_outlived_tombstones(
        &self,
        connection: &mut PgConnection,
    ) -> Result<()> {
        run(connection, self.outlived.as_str()).await.map(drop)
    }

    /// Deletes the `total` staged keys where the stored row is older.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        total: u64,
    ) -> Result<StoreCounts> {
        let deleted = run(connection, self.delete.as_str()).await?;
        let [stale] = count(connection, self.stale.as_str()).await?;
        run(connection, self.insert_tombstones.as_str()).await?;
        run(connection, self.sweep.as_str()).await?;
        Ok(StoreCounts {
            deleted,
            stale,
            unchanged: uncounted(STORE, total, [deleted, stale])?,
            ..StoreCounts::default()
        })
    }
}

pub(super) fn tombstone_table(dataset: &str) -> String {
    quote(tombstones_of(dataset))
}

/// Returns the statement that deletes at most so many of the expired tombstones of a dataset.
pub(super) fn sweep(dataset: &str, rows: u64) -> String {
    let tombstones = tombstone_table(dataset);
    format!(
        "DELETE FROM {tombstones} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {tombstones} \
         WHERE _deleted_at < now() - interval '{TOMBSTONE_DAYS} days' LIMIT {rows}))"
    )
}

/// Drops the tombstones of a table that no longer exists.
pub(super) async fn forget(connection: &mut PgConnection, table: &Table) -> Result<()> {
    run(
        connection,
        format!("DROP TABLE IF EXISTS {}", tombstone_table(&table.name)),
    )
    .await
    .map(drop)
}
