//! The registry's row of a dataset, and the locks that writers of the dataset hold.

use landfall_domain::StoreKind;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::{error, run};
use crate::StoreError;
use crate::lanes::{Hold, LANES};
use crate::registry::{Entry, Registered};

const STORE: StoreKind = StoreKind::Mysql;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _landfall (\
     dataset varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, \
     definition longtext NOT NULL, tombstones tinyint(1) NOT NULL DEFAULT 0, \
     `floor` varbinary(26), pruned bigint NOT NULL DEFAULT 0) \
     ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4";

/// A row for each lane of a dataset, for its lock alone.
const CREATE_LANES: &str = "CREATE TABLE IF NOT EXISTS _landfall_lanes (\
     dataset varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
     lane tinyint unsigned NOT NULL, PRIMARY KEY (dataset, lane)) ENGINE=InnoDB";

const READ: &str =
    "SELECT definition, tombstones, `floor`, pruned FROM _landfall WHERE dataset = ?";

/// What is registered, if anything is; locks nothing.
pub(super) async fn read(
    connection: &mut MySqlConnection,
    dataset: &str,
) -> Result<Option<Entry>, StoreError> {
    match fetch(connection, READ, dataset).await {
        Err(sqlx::Error::Database(refused)) if is_no_table(refused.as_ref()) => Ok(None),
        found => found.map_err(error)?.map(|row| entry(&row)).transpose(),
    }
}

/// Waits for other writers of the dataset, and keeps them waiting until the transaction ends. Who changes
/// the row waits for all, so it stays as it is read.
pub(super) async fn lock(
    connection: &mut MySqlConnection,
    dataset: &str,
    hold: Hold,
) -> Result<Entry, StoreError> {
    let how = match hold {
        Hold::Lane(_) => "LOCK IN SHARE MODE",
        Hold::All => "FOR UPDATE",
    };
    let found = fetch(connection, &format!("{READ} {how}"), dataset).await;
    let found = entry(&found.map_err(error)?.ok_or_else(not_registered)?)?;
    if let Hold::Lane(lane) = hold {
        let lane = format!(
            "SELECT lane FROM _landfall_lanes WHERE dataset = ? AND lane = {} FOR UPDATE",
            lane.number
        );
        let locked = fetch(connection, &lane, dataset).await;
        locked.map_err(error)?.ok_or_else(not_registered)?;
    }
    Ok(found)
}

/// Registers a dataset, unless it is; and makes the registry where it is missing.
pub(super) async fn add(
    connection: &mut MySqlConnection,
    dataset: &str,
    registered: &Registered,
) -> Result<(), StoreError> {
    run(connection, CREATE).await?;
    run(connection, CREATE_LANES).await?;
    for lane in 0..LANES {
        sqlx::query("INSERT IGNORE INTO _landfall_lanes (dataset, lane) VALUES (?, ?)")
            .bind(dataset)
            .bind(lane as u64)
            .execute(&mut *connection)
            .await
            .map_err(error)?;
    }
    sqlx::query("INSERT IGNORE INTO _landfall (dataset, definition) VALUES (?, ?)")
        .bind(dataset)
        .bind(registered.to_json(STORE)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Writes what is registered of a dataset that is locked.
pub(super) async fn save(
    connection: &mut MySqlConnection,
    dataset: &str,
    entry: &Entry,
) -> Result<(), StoreError> {
    let save = "UPDATE _landfall SET definition = ?, tombstones = ?, `floor` = ?, pruned = ? \
         WHERE dataset = ?";
    sqlx::query(save)
        .bind(entry.registered.to_json(STORE)?)
        .bind(entry.tombstones)
        .bind(&entry.floor)
        .bind(i64::try_from(entry.pruned).unwrap_or(i64::MAX))
        .bind(dataset)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// The other dataset whose totals have this name, if there is one.
pub(super) async fn other_owner(
    connection: &mut MySqlConnection,
    dataset: &str,
    total: &str,
) -> Result<Option<String>, StoreError> {
    let others = sqlx::query("SELECT definition, dataset FROM _landfall WHERE dataset <> ?")
        .bind(dataset)
        .fetch_all(connection)
        .await
        .map_err(error)?;
    for other in others {
        let registered = Registered::from_json(STORE, other.try_get(0).map_err(error)?)?;
        if registered.totals.iter().any(|known| known.name == total) {
            return other.try_get(1).map(Some).map_err(error);
        }
    }
    Ok(None)
}

async fn fetch(
    connection: &mut MySqlConnection,
    query: &str,
    dataset: &str,
) -> Result<Option<sqlx::mysql::MySqlRow>, sqlx::Error> {
    sqlx::query(AssertSqlSafe(query))
        .bind(dataset)
        .fetch_optional(connection)
        .await
}

fn entry(row: &sqlx::mysql::MySqlRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        registered: Registered::from_json(STORE, row.try_get(0).map_err(error)?)?,
        tombstones: row.try_get(1).map_err(error)?,
        floor: row.try_get(2).map_err(error)?,
        pruned: row.try_get(3).map(i64::unsigned_abs).map_err(error)?,
    })
}

fn is_no_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .is_some_and(|error| error.number() == 1146)
}

pub(super) fn not_registered() -> StoreError {
    StoreError::unavailable(STORE, "the dataset is not registered")
}
