//! The registry entry of a dataset, and the locks of its writers.

use sqlx::{AssertSqlSafe, PgConnection};

use super::known;
use super::statement::{STORE, count, error, run};
use crate::changes::{IS_TRACKED, tracked_of};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, EntryColumns, Registered, signed};
use crate::sql::lanes::{LANES, LaneLock};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _landfall (\
     dataset text COLLATE \"C\" PRIMARY KEY, definition text NOT NULL, \
     tombstones boolean NOT NULL DEFAULT false, floor bytea, pruned bigint NOT NULL DEFAULT 0, walks text)";

const ENTRY: &str =
    "SELECT definition, tombstones, floor, pruned, walks FROM _landfall WHERE dataset = $1";

/// Creates the registry and the table of hashes if they are missing. One worker at a time: `IF NOT EXISTS` fails if
/// two create the same table at once.
pub(super) async fn make(connection: &mut PgConnection) -> Result<()> {
    run(
        connection,
        format!("SELECT pg_advisory_xact_lock(hashtextextended('landfall', 0)); {CREATE}"),
    )
    .await?;
    // Registries of earlier releases have no walks. `IF NOT EXISTS` would lock the table in every case.
    let has_walks = "SELECT count(*) FROM pg_attribute \
         WHERE attrelid = '_landfall'::regclass AND attname = 'walks'";
    if count(connection, has_walks).await? == [0] {
        run(connection, "ALTER TABLE _landfall ADD COLUMN walks text").await?;
    }
    known::make(connection).await
}

pub(super) async fn add(
    connection: &mut PgConnection,
    dataset: &str,
    registered: &Registered,
) -> Result<()> {
    let add = "INSERT INTO _landfall (dataset, definition) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sqlx::query(add)
        .bind(dataset)
        .bind(registered.to_json(STORE)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Waits for other writers of the dataset, and keeps them waiting until the transaction ends.
pub(super) async fn lock(
    connection: &mut PgConnection,
    dataset: &str,
    lock: LaneLock,
) -> Result<Entry> {
    let lanes = match lock {
        LaneLock::Lane(lane) => lane..lane + 1,
        // In a fixed order, so that two that want all lanes do not deadlock.
        LaneLock::All => 0..LANES,
    };
    let locks = lanes.map(|lane| {
        format!("SELECT pg_advisory_xact_lock(hashtextextended('landfall:{dataset}', {lane})); ")
    });
    // Not in the statement that reads, which sees the state before it waited.
    run(connection, locks.collect::<String>()).await?;
    let entry = entry(connection, dataset).await?;
    entry.ok_or_else(not_registered)
}

pub(super) fn not_registered() -> StoreError {
    StoreError::unavailable(STORE, "the dataset is not registered")
}

/// Returns the entry of a dataset, if it has one. Locks nothing.
pub(super) async fn entry(connection: &mut PgConnection, dataset: &str) -> Result<Option<Entry>> {
    let found = sqlx::query_as(ENTRY).bind(dataset);
    match found.fetch_optional(connection).await {
        // There is no registry yet, or it is that of an earlier release.
        Err(sqlx::Error::Database(refused))
            if matches!(refused.code().as_deref(), Some("42P01" | "42703")) =>
        {
            Ok(None)
        }
        found => {
            let entry = |columns: EntryColumns| Entry::from_columns(STORE, columns);
            found.map_err(error)?.map(entry).transpose()
        }
    }
}

/// Returns the entries of datasets that changes are, or were, recorded of.
pub(super) async fn tracked(connection: &mut PgConnection) -> Result<Vec<(String, Registered)>> {
    let select = format!("SELECT dataset, definition FROM _landfall WHERE {IS_TRACKED}");
    let found = sqlx::query_as(AssertSqlSafe(select)).fetch_all(connection);
    match found.await {
        // There is no registry yet.
        Err(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some("42P01") => {
            Ok(Vec::new())
        }
        found => tracked_of(STORE, found.map_err(error)?),
    }
}

/// Returns the first dataset after this one, by name, that may have tombstones.
pub(super) async fn next_with_tombstones(
    connection: &mut PgConnection,
    after: &str,
) -> Result<Option<String>> {
    let next = "SELECT dataset FROM _landfall WHERE tombstones AND dataset > $1 \
         ORDER BY dataset LIMIT 1";
    let found = sqlx::query_scalar(next).bind(after);
    match found.fetch_optional(connection).await {
        // There is no registry yet.
        Err(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some("42P01") => {
            Ok(None)
        }
        found => found.map_err(error),
    }
}

pub(super) async fn save(
    connection: &mut PgConnection,
    dataset: &str,
    entry: &Entry,
) -> Result<()> {
    let save = "UPDATE _landfall SET definition = $2, tombstones = $3, floor = $4, pruned = $5, \
         walks = $6 WHERE dataset = $1";
    sqlx::query(save)
        .bind(dataset)
        .bind(entry.registered.to_json(STORE)?)
        .bind(entry.tombstones)
        .bind(&entry.floor)
        .bind(signed(STORE, entry.pruned)?)
        .bind(entry.walks_json(STORE)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}
