//! The registry entry of a dataset, and the locks of its writers.

use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::existing::columns;
use super::statement::{STORE, error, run};
use crate::changes::{IS_TRACKED, tracked_of};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, EntryColumns, REGISTRY, Registered, signed};
use crate::sql::lanes::{LANES, LaneLock};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _landfall (\
     dataset varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, \
     definition longtext NOT NULL, tombstones tinyint(1) NOT NULL DEFAULT 0, \
     `floor` varbinary(26), pruned bigint NOT NULL DEFAULT 0, walks longtext) \
     ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4";

/// One row for each lane of a dataset, only to be locked.
const CREATE_LANES: &str = "CREATE TABLE IF NOT EXISTS _landfall_lanes (\
     dataset varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
     lane tinyint unsigned NOT NULL, PRIMARY KEY (dataset, lane)) ENGINE=InnoDB";

const READ: &str =
    "SELECT definition, tombstones, `floor`, pruned, walks FROM _landfall WHERE dataset = ?";

/// Adds the columns that the registry of an earlier release lacks.
pub(super) async fn extend(connection: &mut MySqlConnection) -> Result<()> {
    let lacks_walks = async |connection: &mut MySqlConnection| {
        let columns = columns(connection, REGISTRY).await?;
        let has_walks = columns.iter().any(|column| column.name == "walks");
        Ok::<_, StoreError>(!columns.is_empty() && !has_walks)
    };
    let add = "ALTER TABLE _landfall ADD COLUMN walks longtext";
    if lacks_walks(connection).await?
        && let Err(failure) = run(connection, add).await
        // Another worker may have been first.
        && lacks_walks(connection).await?
    {
        return Err(failure);
    }
    Ok(())
}

/// Returns the entry of a dataset, if there is one. Locks nothing.
pub(super) async fn read(connection: &mut MySqlConnection, dataset: &str) -> Result<Option<Entry>> {
    match fetch(connection, READ, dataset).await {
        Err(sqlx::Error::Database(refused)) if is_no_table(refused.as_ref()) => Ok(None),
        found => {
            let entry = |columns| Entry::from_columns(STORE, columns);
            found.map_err(error)?.map(entry).transpose()
        }
    }
}

/// Returns the entry of a dataset that was prepared. Locks nothing.
pub(super) async fn registered(connection: &mut MySqlConnection, dataset: &str) -> Result<Entry> {
    read(connection, dataset).await?.ok_or_else(not_registered)
}

fn not_registered() -> StoreError {
    StoreError::unavailable(STORE, "the dataset is not registered")
}

/// Returns the entry of a dataset, which stays as it is until the transaction ends.
pub(super) async fn share(connection: &mut MySqlConnection, dataset: &str) -> Result<Entry> {
    let found = fetch(connection, &format!("{READ} LOCK IN SHARE MODE"), dataset).await;
    let found = found.map_err(error)?.ok_or_else(not_registered)?;
    Entry::from_columns(STORE, found)
}

/// Waits for other writers of the dataset, and keeps them waiting until the transaction ends.
pub(super) async fn lock(
    connection: &mut MySqlConnection,
    dataset: &str,
    lock: LaneLock,
) -> Result<Entry> {
    let how = match lock {
        LaneLock::Lane(_) => "LOCK IN SHARE MODE",
        LaneLock::All => "FOR UPDATE",
    };
    let found = fetch(connection, &format!("{READ} {how}"), dataset).await;
    let found = found.map_err(error)?.ok_or_else(not_registered)?;
    let found = Entry::from_columns(STORE, found)?;
    if let LaneLock::Lane(lane) = lock {
        let lane = format!(
            "SELECT lane FROM _landfall_lanes WHERE dataset = ? AND lane = {lane} FOR UPDATE"
        );
        let locked = sqlx::query(AssertSqlSafe(lane)).bind(dataset);
        let locked = locked.fetch_optional(connection).await;
        locked.map_err(error)?.ok_or_else(not_registered)?;
    }
    Ok(found)
}

/// Registers a dataset unless it is registered, and returns its entry. Creates the registry if it is missing.
pub(super) async fn add(
    connection: &mut MySqlConnection,
    dataset: &str,
    registered: &Registered,
) -> Result<Entry> {
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
        .execute(&mut *connection)
        .await
        .map_err(error)?;
    // A read without a lock may still miss the row of another worker that is just committing, although the insert has
    // already ignored its own for it.
    let added = fetch(connection, &format!("{READ} LOCK IN SHARE MODE"), dataset).await;
    Entry::from_columns(STORE, added.map_err(error)?.ok_or_else(not_registered)?)
}

pub(super) async fn save(
    connection: &mut MySqlConnection,
    dataset: &str,
    entry: &Entry,
) -> Result<()> {
    let save = "UPDATE _landfall SET definition = ?, tombstones = ?, `floor` = ?, pruned = ?, \
         walks = ? WHERE dataset = ?";
    sqlx::query(save)
        .bind(entry.registered.to_json(STORE)?)
        .bind(entry.tombstones)
        .bind(&entry.floor)
        .bind(signed(STORE, entry.pruned)?)
        .bind(entry.walks_json(STORE)?)
        .bind(dataset)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Returns the other dataset that has totals of this name, if there is one.
pub(super) async fn other_owner(
    connection: &mut MySqlConnection,
    dataset: &str,
    total: &str,
) -> Result<Option<String>> {
    let others = sqlx::query_as("SELECT definition, dataset FROM _landfall WHERE dataset <> ?")
        .bind(dataset)
        .fetch_all(connection)
        .await;
    let others: Vec<(String, String)> = others.map_err(error)?;
    for (definition, other) in others {
        let registered = Registered::from_json(STORE, &definition)?;
        if registered.totals.iter().any(|known| known.name == total) {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

async fn fetch(
    connection: &mut MySqlConnection,
    query: &str,
    dataset: &str,
) -> Result<Option<EntryColumns>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(query))
        .bind(dataset)
        .fetch_optional(connection)
        .await
}

/// Returns the entries of datasets that changes are, or were, recorded of.
pub(super) async fn tracked(connection: &mut MySqlConnection) -> Result<Vec<(String, Registered)>> {
    let select = format!("SELECT dataset, definition FROM _landfall WHERE {IS_TRACKED}");
    let found = sqlx::query_as(AssertSqlSafe(select)).fetch_all(connection);
    match found.await {
        Err(sqlx::Error::Database(refused)) if is_no_table(refused.as_ref()) => Ok(Vec::new()),
        found => tracked_of(STORE, found.map_err(error)?),
    }
}

/// Returns the first dataset after this one, by name, that may have tombstones.
pub(super) async fn next_with_tombstones(
    connection: &mut MySqlConnection,
    after: &str,
) -> Result<Option<String>> {
    let next =
        "SELECT dataset FROM _landfall WHERE tombstones AND dataset > ? ORDER BY dataset LIMIT 1";
    let found = sqlx::query_scalar(next).bind(after);
    match found.fetch_optional(connection).await {
        Err(sqlx::Error::Database(refused)) if is_no_table(refused.as_ref()) => Ok(None),
        found => found.map_err(error),
    }
}

fn is_no_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .is_some_and(|error| error.number() == 1146)
}
