//! What the store has of a single key: the versions of its document, and its tombstone.

use std::time::Duration;

use landfall_domain::{Dataset, RowQuery, Value};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};

use super::document::{DELETED_AT, id_of_key};
use super::error::{STORE, from_read, unavailable};
use super::registry::{Registration, Registry};
use crate::error::Result;
use crate::read::key_versions::of_row;
use crate::read::{KeyVersions, Tombstone};
use crate::registry::tombstones_of;
use crate::schema::{Table, VERSION, VERSIONS};

/// Reads what the store has of a key.
pub(super) async fn key_versions(
    database: &Database,
    timeout: Duration,
    dataset: &Dataset,
    key: &[Value],
) -> Result<KeyVersions> {
    RowQuery::of_key(dataset, key)?;
    Table::new(dataset, STORE)?;
    let registration = Registry::new(database, &dataset.name).find().await?;
    let floor = registration.as_ref().and_then(Registration::floor);
    let mut versions = KeyVersions {
        floor: floor.map(<[u8]>::to_vec),
        ..KeyVersions::default()
    };
    let registered = registration.as_ref().map(Registration::registered);
    let registered = registered.transpose()?;
    let id = id_of_key(dataset, key);
    let find = |collection| find(database, timeout, collection, &id);
    let mut row = find(dataset.name.clone()).await?;
    if row.is_none() {
        let tombstone = find(tombstones_of(&dataset.name)).await?;
        versions.tombstone = tombstone.as_ref().map(tombstone_of).transpose()?;
        // A newer row may have replaced the tombstone.
        row = find(dataset.name.clone()).await?;
    }
    if let Some(row) = row {
        let columns = row.get_binary_generic(VERSIONS).ok().cloned();
        let row = of_row(STORE, registered.as_ref(), version_of(&row)?, columns)?;
        versions.row = Some(row);
    }
    Ok(versions)
}

/// Returns the versions of a document.
async fn find(
    database: &Database,
    timeout: Duration,
    collection: String,
    id: &Bson,
) -> Result<Option<Document>> {
    database
        .collection::<Document>(&collection)
        .find_one(doc! { "_id": id })
        .projection(doc! { "_id": 0, VERSION: 1, VERSIONS: 1, DELETED_AT: 1 })
        .max_time(timeout)
        .await
        .map_err(from_read)
}

fn tombstone_of(document: &Document) -> Result<Tombstone> {
    let deleted_at = match document.get(DELETED_AT) {
        Some(Bson::DateTime(at)) => at.timestamp_millis(),
        // Of a delete that no destination has looked at.
        Some(Bson::Int64(at)) => *at,
        _ => return Err(unreadable()),
    };
    let deleted_at = jiff::Timestamp::from_millisecond(deleted_at);
    Ok(Tombstone {
        version: version_of(document)?,
        deleted_at: deleted_at.map_err(|_| unreadable())?.to_string(),
    })
}

fn version_of(document: &Document) -> Result<Vec<u8>> {
    let version = document.get_binary_generic(VERSION);
    version.cloned().map_err(|_| unreadable())
}

fn unreadable() -> crate::error::StoreError {
    unavailable("the version of a document cannot be read")
}
