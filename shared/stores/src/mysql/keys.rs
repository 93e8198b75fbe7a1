//! Staged keys of a chunk: for totals, for deletes, and for upserts where there are tombstones.

use landfall_domain::{Row, RowVersions, StoreCounts, StoredKey, TOMBSTONE_DAYS};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::dialect::{self, BY_KEY, Dialect, name_for, quote, same_key};
use super::statement::{STORE, error, run, unavailable};
use super::upsert::{add, bind, fill};
use crate::error::Result;
use crate::registry::{SWEPT_BY_CHUNK, tombstones_of, uncounted, unsigned};
use crate::schema::{Table, list};

pub(super) struct Keys {
    pub(super) name: String,
    create: String,
    insert: String,
    places: String,
    columns: usize,
    create_tombstones: String,
    superseded: String,
    outlived: String,
    stored: String,
    stored_or_deleted: String,
    delete: String,
    stale: String,
    insert_tombstones: String,
    sweep: String,
}

impl Keys {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let (target, tombstones) = (quote(&table.name), tombstones(&table.name));
        let key_columns = dialect.key_columns(table);
        let options = dialect.options();
        let version = dialect::version_type(table);
        let definition = format!(
            "(_row int unsigned NOT NULL, _deletes tinyint(1) NOT NULL, {key_columns}, \
             _version {version} NOT NULL) {options}"
        );
        let name = quote(name_for("_keys", &definition));
        let key = list(&table.key, ", ", quote);
        let staged = list(&table.key, ", ", |name| format!("k.{}", quote(name)));
        let first = table.key.first().map(quote).unwrap_or_default();
        let with_row = same_key(table, "t", "k");
        let with_tombstone = same_key(table, "d", "k");
        Self {
            create: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {name} {definition}; TRUNCATE TABLE {name}"
            ),
            insert: format!("INSERT INTO {name} (_row, _deletes, {key}, _version) VALUES "),
            places: format!("(?,?,{},?)", list(&table.key, ",", |_| "?".to_owned())),
            columns: table.key.len() + 3,
            create_tombstones: format!(
                "CREATE TABLE IF NOT EXISTS {tombstones} ({key_columns}, \
                 _version {version} NOT NULL, _deleted_at datetime(6) NOT NULL, \
                 PRIMARY KEY ({key}), KEY _deleted_at (_deleted_at)) {options}"
            ),
            superseded: format!(
                "SELECT k._row FROM {name} k STRAIGHT_JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE NOT k._deletes AND k._version < d._version"
            ),
            outlived: format!(
                "DELETE d FROM {name} k STRAIGHT_JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE NOT k._deletes AND d._version < k._version"
            ),
            stored: format!(
                "SELECT k._row, t._version, t._versions, NULL FROM {name} k \
                 LEFT JOIN {target} t {BY_KEY} ON {with_row}"
            ),
            stored_or_deleted: format!(
                "SELECT k._row, t._version, t._versions, d._version FROM {name} k \
                 LEFT JOIN {target} t {BY_KEY} ON {with_row} \
                 LEFT JOIN {tombstones} d {BY_KEY} ON {with_tombstone}"
            ),
            delete: format!(
                "DELETE t FROM {name} k STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row} \
                 WHERE k._deletes AND t._version < k._version"
            ),
            // A key with a row has no tombstone, so none is counted twice.
            stale: format!(
                "SELECT COUNT(*) FROM {name} k LEFT JOIN {target} t {BY_KEY} ON {with_row} \
                 LEFT JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE k._deletes AND (k._version < t._version OR k._version < d._version)"
            ),
            insert_tombstones: format!(
                "INSERT INTO {tombstones} ({key}, _version, _deleted_at) \
                 SELECT {staged}, k._version, UTC_TIMESTAMP(6) FROM {name} k \
                 LEFT JOIN {target} t {BY_KEY} ON {with_row} WHERE k._deletes AND t.{first} IS NULL \
                 ON DUPLICATE KEY UPDATE \
                 _deleted_at = IF({tombstones}._version < VALUES(_version), \
                 VALUES(_deleted_at), {tombstones}._deleted_at), \
                 _version = GREATEST({tombstones}._version, VALUES(_version))"
            ),
            sweep: sweep(&table.name, SWEPT_BY_CHUNK),
            name,
        }
    }

    pub(super) async fn stage(
        &self,
        connection: &mut MySqlConnection,
        key: &[usize],
        versions: RowVersions,
        rows: &[&Row],
    ) -> Result<()> {
        run(connection, &self.create).await?;
        fill(
            connection,
            [&self.insert, &self.places, ""],
            self.columns,
            rows,
            |arguments, index, row| {
                add(arguments, index as u64)?;
                add(arguments, row.deleted)?;
                for index in key {
                    bind(arguments, &row.values[*index])?;
                }
                add(arguments, versions.of(row).as_bytes())
            },
        )
        .await
    }

    /// Returns the table expression `t` of the stored rows that have the staged keys.
    pub(super) fn rows(&self, table: &Table) -> String {
        format!(
            "{} k STRAIGHT_JOIN {} t {BY_KEY} ON {}",
            self.name,
            quote(&table.name),
            same_key(table, "t", "k")
        )
    }

    pub(super) async fn create_tombstones(&self, connection: &mut MySqlConnection) -> Result<()> {
        run(connection, &self.create_tombstones).await.map(drop)
    }

    /// Returns the indexes of the rows whose keys a newer row deleted. Also deletes the tombstones that are older
    /// than the other rows.
    pub(super) async fn rows_of_deleted_keys(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<Vec<usize>> {
        let statements = format!("{}; {}", self.superseded, self.outlived);
        let rows = fetch(connection, &statements).await?;
        let place = |row: &MySqlRow| row.try_get::<u32, _>(0).map(|place| place as usize);
        rows.iter()
            .map(place)
            .collect::<Result<_, _>>()
            .map_err(error)
    }

    /// Deletes the tombstones that are older than the staged rows that do not delete their keys.
    pub(super) async fn delete_outlived_tombstones(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<()> {
        run(connection, &self.outlived).await.map(drop)
    }

    /// Returns what is stored for each of the staged keys, of which there are `rows`.
    pub(super) async fn stored(
        &self,
        connection: &mut MySqlConnection,
        rows: usize,
        has_tombstones: bool,
    ) -> Result<Vec<StoredKey>> {
        let select = if has_tombstones {
            &self.stored_or_deleted
        } else {
            &self.stored
        };
        let mut stored = vec![StoredKey::default(); rows];
        for row in fetch(connection, select).await? {
            let place: u32 = row.try_get(0).map_err(error)?;
            let place = stored.get_mut(place as usize);
            let place = place.ok_or_else(|| unavailable("an unknown key"))?;
            let version: Option<Vec<u8>> = row.try_get(1).map_err(error)?;
            let versions = row.try_get(2).map_err(error)?;
            *place = StoredKey {
                row: version.map(|version| (version, versions)),
                tombstone: row.try_get(3).map_err(error)?,
            };
        }
        Ok(stored)
    }

    /// Deletes the `total` staged keys that rows delete, where the stored row is older.
    pub(super) async fn delete(
        &self,
        connection: &mut MySqlConnection,
        total: u64,
    ) -> Result<StoreCounts> {
        let deleted = run(connection, &self.delete).await?;
        let statements = format!("{}; {}; {}", self.stale, self.insert_tombstones, self.sweep);
        let stale = fetch(connection, &statements).await?;
        let stale = stale.first().ok_or(sqlx::Error::RowNotFound);
        let stale = stale.and_then(|row| row.try_get(0)).map_err(error)?;
        let stale = unsigned(STORE, stale)?;
        Ok(StoreCounts {
            deleted,
            stale,
            unchanged: uncounted(STORE, total, [deleted, stale])?,
            ..StoreCounts::default()
        })
    }
}

async fn fetch(connection: &mut MySqlConnection, statements: &str) -> Result<Vec<MySqlRow>> {
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(statements)));
    rows.await.map_err(error)
}

pub(super) fn tombstones(dataset: &str) -> String {
    quote(tombstones_of(dataset))
}

/// Returns the statement that deletes at most so many of the expired tombstones of a dataset.
pub(super) fn sweep(dataset: &str, rows: u64) -> String {
    format!(
        "DELETE FROM {} WHERE _deleted_at < UTC_TIMESTAMP() - INTERVAL {TOMBSTONE_DAYS} DAY \
         ORDER BY _deleted_at LIMIT {rows}",
        tombstones(dataset)
    )
}
