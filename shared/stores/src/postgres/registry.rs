//! The registry's row of a dataset, and the locks that writers of the dataset hold.

use sqlx::{PgConnection, Row as _};

use super::table::run;
use super::{error, known};
use crate::StoreError;
use crate::lanes::{Hold, LANES};
use crate::registry::{Entry, Registered};
use landfall_domain::StoreKind;

const STORE: StoreKind = StoreKind::Postgres;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _landfall (\
     dataset text COLLATE \"C\" PRIMARY KEY, definition text NOT NULL, \
     tombstones boolean NOT NULL DEFAULT false, floor bytea, pruned bigint NOT NULL DEFAULT 0)";

const ENTRY: &str =
    "SELECT definition, tombstones, floor, pruned FROM _landfall WHERE dataset = $1";

/// What is registered, if anything is; locks nothing.
pub(super) async fn read(
    connection: &mut PgConnection,
    dataset: &str,
) -> Result<Option<Registered>, StoreError> {
    let found = sqlx::query_scalar("SELECT definition FROM _landfall WHERE dataset = $1")
        .bind(dataset)
        .fetch_optional(connection)
        .await;
    match found {
        Ok(definition) => {
            let parse = |json: String| Registered::from_json(STORE, &json);
            definition.map(parse).transpose()
        }
        Err(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some("42P01") => {
            Ok(None)
        }
        Err(other) => Err(error(other)),
    }
}

/// Makes the registry, and the table of hashes, where they are missing. One at a time: `IF NOT EXISTS` alone
/// fails where two make the same table at once.
pub(super) async fn make(connection: &mut PgConnection) -> Result<(), StoreError> {
    run(
        connection,
        format!("SELECT pg_advisory_xact_lock(hashtextextended('landfall', 0)); {CREATE}"),
    )
    .await?;
    known::make(connection).await
}

/// Registers a dataset, unless it is.
pub(super) async fn add(
    connection: &mut PgConnection,
    dataset: &str,
    registered: &Registered,
) -> Result<(), StoreError> {
    let add = "INSERT INTO _landfall (dataset, definition) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sqlx::query(add)
        .bind(dataset)
        .bind(registered.to_json(STORE)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Waits for other writers of the dataset, and keeps them waiting until the transaction ends. Who changes
/// the entry holds all lanes, so it stays as it is read.
pub(super) async fn lock(
    connection: &mut PgConnection,
    dataset: &str,
    hold: Hold,
) -> Result<Entry, StoreError> {
    let lanes = match hold {
        Hold::Lane(lane) => lane.number..lane.number + 1,
        // In one order, so that two that want all don't wait for each other.
        Hold::All => 0..LANES,
    };
    let locks = lanes.map(|lane| {
        format!("SELECT pg_advisory_xact_lock(hashtextextended('landfall:{dataset}', {lane})); ")
    });
    // Not in the statement that reads: that sees what was there before it waited.
    run(connection, locks.collect::<String>()).await?;
    let entry = entry(connection, dataset).await?;
    entry.ok_or_else(|| StoreError::unavailable(STORE, "the dataset is not registered"))
}

/// The entry of a dataset, if it has one; locks nothing.
pub(super) async fn entry(
    connection: &mut PgConnection,
    dataset: &str,
) -> Result<Option<Entry>, StoreError> {
    let row = sqlx::query(ENTRY)
        .bind(dataset)
        .fetch_optional(connection)
        .await
        .map_err(error)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let definition: String = row.try_get(0).map_err(error)?;
    Ok(Some(Entry {
        registered: Registered::from_json(STORE, &definition)?,
        tombstones: row.try_get(1).map_err(error)?,
        floor: row.try_get(2).map_err(error)?,
        pruned: row.try_get(3).map(i64::unsigned_abs).map_err(error)?,
    }))
}

/// Writes what is registered of a dataset that is locked.
pub(super) async fn save(
    connection: &mut PgConnection,
    dataset: &str,
    entry: &Entry,
) -> Result<(), StoreError> {
    let save = "UPDATE _landfall SET definition = $2, tombstones = $3, floor = $4, pruned = $5 \
         WHERE dataset = $1";
    sqlx::query(save)
        .bind(dataset)
        .bind(entry.registered.to_json(STORE)?)
        .bind(entry.tombstones)
        .bind(&entry.floor)
        .bind(i64::try_from(entry.pruned).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}
