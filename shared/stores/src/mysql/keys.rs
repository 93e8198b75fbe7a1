//! Staged keys of a chunk: for totals, for deletes, and for upserts where keys have been deleted.

use landfall_domain::{Dataset, ObjectOrder, Row, RowVersion, StoreCounts};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::dialect::{BY_KEY, Dialect, name_for, quote, same_key};
use super::upsert::{add, bind, fill, version};
use super::{error, run};
use crate::StoreError;
use crate::registry::{SWEPT_AT_ONCE, TOMBSTONE_DAYS, tombstones_of};
use crate::schema::{Table, list};

/// The statements on staged keys.
pub(super) struct Keys {
    /// Name of the temporary table.
    pub(super) name: String,
    /// Makes it, empty.
    create: String,
    insert: String,
    places: String,
    columns: usize,
    /// Makes the table of tombstones where it is missing.
    create_tombstones: String,
    forbidden: String,
    outlived: String,
    delete: String,
    stale: String,
    bury: String,
    sweep: String,
}

impl Keys {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let (target, tombstones) = (quote(&table.name), tombstones(table));
        let key_columns = dialect.key_columns(table);
        let options = dialect.options();
        let version = format!("binary({})", RowVersion::LEN);
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
            forbidden: format!(
                "SELECT k._row FROM {name} k STRAIGHT_JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE NOT k._deletes AND k._version < d._version"
            ),
            outlived: format!(
                "DELETE d FROM {name} k STRAIGHT_JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE NOT k._deletes AND d._version < k._version"
            ),
            delete: format!(
                "DELETE t FROM {name} k STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row} \
                 WHERE k._deletes AND t._version < k._version"
            ),
            // Of a key that has a row there is no tombstone, so none is counted twice.
            stale: format!(
                "SELECT COUNT(*) FROM {name} k LEFT JOIN {target} t {BY_KEY} ON {with_row} \
                 LEFT JOIN {tombstones} d {BY_KEY} ON {with_tombstone} \
                 WHERE k._deletes AND (k._version < t._version OR k._version < d._version)"
            ),
            bury: format!(
                "INSERT INTO {tombstones} ({key}, _version, _deleted_at) \
                 SELECT {staged}, k._version, UTC_TIMESTAMP(6) FROM {name} k \
                 LEFT JOIN {target} t {BY_KEY} ON {with_row} WHERE k._deletes AND t.{first} IS NULL \
                 ON DUPLICATE KEY UPDATE \
                 _deleted_at = IF({tombstones}._version < VALUES(_version), \
                 VALUES(_deleted_at), {tombstones}._deleted_at), \
                 _version = GREATEST({tombstones}._version, VALUES(_version))"
            ),
            sweep: format!(
                "DELETE FROM {tombstones} WHERE _deleted_at < UTC_TIMESTAMP() - INTERVAL {TOMBSTONE_DAYS} DAY \
                 ORDER BY _deleted_at LIMIT {SWEPT_AT_ONCE}"
            ),
            name,
        }
    }

    /// Stages the keys of rows.
    pub(super) async fn stage(
        &self,
        connection: &mut MySqlConnection,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &[&Row],
    ) -> Result<(), StoreError> {
        run(connection, &self.create).await?;
        fill(
            connection,
            [&self.insert, &self.places, ""],
            self.columns,
            rows,
            |arguments, index, row| {
                add(arguments, i64::try_from(index).unwrap_or(i64::MAX))?;
                add(arguments, row.deleted)?;
                for index in dataset.key_indexes() {
                    bind(arguments, &row.values[*index])?;
                }
                add(arguments, version(order, row).as_slice())
            },
        )
        .await
    }

    /// Makes the table of tombstones where it is missing.
    pub(super) async fn make_tombstones(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(), StoreError> {
        run(connection, &self.create_tombstones).await.map(drop)
    }

    /// The places of the rows whose keys newer rows deleted. Takes the tombstones away that are older than
    /// the other rows.
    pub(super) async fn forbidden(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<Vec<usize>, StoreError> {
        let statements = format!("{}; {}", self.forbidden, self.outlived);
        let rows = fetch(connection, &statements).await?;
        let place = |row: &MySqlRow| row.try_get::<u32, _>(0).map(|place| place as usize);
        rows.iter()
            .map(place)
            .collect::<Result<_, _>>()
            .map_err(error)
    }

    /// Deletes the staged keys that are to be deleted, of which there are `total`, where they are older.
    pub(super) async fn delete(
        &self,
        connection: &mut MySqlConnection,
        total: u64,
    ) -> Result<StoreCounts, StoreError> {
        let deleted = run(connection, &self.delete).await?;
        let statements = format!("{}; {}; {}", self.stale, self.bury, self.sweep);
        let stale = fetch(connection, &statements).await?;
        let stale = stale.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0));
        let stale = stale.map_err(error)?.unsigned_abs();
        Ok(StoreCounts {
            deleted,
            stale,
            unchanged: total - deleted - stale,
            ..StoreCounts::default()
        })
    }
}

/// Runs statements of which the first one gives rows.
async fn fetch(
    connection: &mut MySqlConnection,
    statements: &str,
) -> Result<Vec<MySqlRow>, StoreError> {
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(statements)));
    rows.await.map_err(error)
}

fn tombstones(table: &Table) -> String {
    quote(tombstones_of(&table.name))
}

/// Deletes what is older than this version, and gives the number of rows; of the tombstones too, where
/// there are any.
pub(super) async fn prune(
    connection: &mut MySqlConnection,
    table: &Table,
    version: &RowVersion,
    has_tombstones: bool,
) -> Result<u64, StoreError> {
    let older = |table: &str| format!("DELETE FROM {table} WHERE _version < x'{version}'");
    let pruned = run(connection, &older(&quote(&table.name))).await?;
    if has_tombstones {
        run(connection, &older(&tombstones(table))).await?;
    }
    Ok(pruned)
}
