//! Folds changed documents: raises the wanted versions of their keys, then removes the mark.

use futures::stream::TryStreamExt;
use landfall_domain::{Dataset, RowVersion};
use mongodb::bson::{Bson, DateTime, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};

use super::super::command::update;
use super::super::document::{CHANGED, binary, id_of};
use super::state::{id_of as state_id, values_of, version_of};
use super::{literal, unreadable};
use crate::changes::keys_of;
use crate::error::Result;
use crate::registry::tombstones_of;
use crate::schema::VERSION;

/// The maximum number of documents of a batch.
const BATCH: usize = 1_000;

/// Creates the indexes of changed documents and of keys that are due.
pub(super) async fn create_indexes(database: &Database, name: &str) -> Result<()> {
    for collection in [name.to_owned(), tombstones_of(name)] {
        let options = IndexOptions::builder().sparse(true).build();
        let index = IndexModel::builder()
            .keys(doc! { CHANGED: 1 })
            .options(options);
        let changed: Collection<Document> = database.collection(&collection);
        changed.create_index(index.build()).await?;
    }
    let due = doc! { "destination": 1, "state": 1, "due_at": 1, "_id": 1 };
    let keys: Collection<Document> = database.collection(&keys_of(name));
    keys.create_index(IndexModel::builder().keys(due).build())
        .await?;
    Ok(())
}

/// A changed document.
struct Changed {
    /// Its key, in a document.
    id: RawDocumentBuf,
    version: RowVersion,
    at: i64,
}

/// Folds at most so many documents, and returns their number. Without destinations, only removes the marks.
pub(super) async fn run(
    database: &Database,
    dataset: &Dataset,
    destinations: &[String],
    now: i64,
    limit: i64,
) -> Result<u64> {
    let (name, mut folded) = (&dataset.name, 0);
    for (collection, is_tombstone) in [(name.clone(), false), (tombstones_of(name), true)] {
        let documents: Collection<RawDocumentBuf> = database.collection(&collection);
        let mut found = documents
            .find(doc! { CHANGED: { "$gt": 0 } })
            .sort(doc! { CHANGED: 1 })
            .projection(doc! { VERSION: 1, CHANGED: 1 })
            .limit(limit)
            .await?;
        let mut batch = Vec::new();
        loop {
            let next = found.try_next().await?;
            let is_last = next.is_none();
            if let Some(document) = next {
                let version = version_of(&document)?;
                let at = document
                    .get_i64(CHANGED)
                    .map_err(|_| unreadable())?
                    .min(now);
                let id = document;
                batch.push(Changed { id, version, at });
            }
            if batch.len() == BATCH || (is_last && !batch.is_empty()) {
                for destination in destinations {
                    raise(database, dataset, destination, &batch, is_tombstone).await?;
                }
                unmark(database, &collection, &batch, is_tombstone).await?;
                folded += batch.len() as u64;
                batch.clear();
            }
            if is_last {
                break;
            }
        }
    }
    Ok(folded)
}

/// Raises the wanted versions of keys. A delete concerns only keys that are known: nothing was sent of others.
async fn raise(
    database: &Database,
    dataset: &Dataset,
    destination: &str,
    batch: &[Changed],
    is_tombstone: bool,
) -> Result<()> {
    let mut updates = RawArrayBuf::new();
    for changed in batch {
        let id = id_of(&changed.id).ok_or_else(unreadable)?;
        let key = Bson::try_from(id).map_err(|_| unreadable())?;
        // A document of another program.
        let Some(values) = values_of(dataset, &key) else {
            continue;
        };
        let stage = newer(destination, key, changed);
        let stage = RawDocumentBuf::try_from(&stage).map_err(|_| unreadable())?;
        let mut pipeline = RawArrayBuf::new();
        pipeline.push(stage);
        updates.push(rawdoc! {
            "q": { "_id": state_id(destination, &values) },
            "u": pipeline,
            "upsert": !is_tombstone,
        });
    }
    let done = update(database, &keys_of(&dataset.name), updates).await?;
    // If another caller has just added a key, the next attempt finds it.
    done.all().map(drop)
}

/// Returns the stage of an update for a key that has changed: only a newer change counts.
fn newer(destination: &str, key: Bson, changed: &Changed) -> Document {
    let version = literal(&changed.version);
    let is_newer = doc! { "$gt": [version.clone(), "$wanted"] };
    let is_sent = doc! { "$eq": [{ "$ifNull": ["$state", "sent"] }, "sent"] };
    let is_free = doc! { "$and": [
        { "$ne": ["$state", "waiting"] },
        { "$ne": ["$holds", true] },
    ] };
    let is_again = doc! { "$and": [is_newer.clone(), { "$or": [is_sent.clone(), is_free] }] };
    let is_first = doc! { "$and": [is_newer.clone(), is_sent] };
    let or_kept = |condition: &Document, value: Bson, field: &str| {
        doc! { "$cond": [condition.clone(), value, field] }
    };
    doc! { "$set": {
        "destination": { "$literal": destination },
        "key": { "$literal": key },
        "wanted_at": or_kept(&is_first, changed.at.into(), "$wanted_at"),
        "due_at": or_kept(&is_again, changed.at.into(), "$due_at"),
        "attempts": or_kept(&is_again, 0_i64.into(), "$attempts"),
        "state": or_kept(&is_again, "waiting".into(), "$state"),
        "wanted": or_kept(&is_newer, version.into(), "$wanted"),
        "holds": { "$ifNull": ["$holds", false] },
        "uncertain": { "$ifNull": ["$uncertain", false] },
        "lease": { "$ifNull": ["$lease", null] },
    } }
}

/// Removes the marks of documents that have not changed since. Tombstones expire from now on.
async fn unmark(
    database: &Database,
    collection: &str,
    batch: &[Changed],
    is_tombstone: bool,
) -> Result<()> {
    let mut updates = RawArrayBuf::new();
    for changed in batch {
        let id = id_of(&changed.id).ok_or_else(unreadable)?;
        let mut change = rawdoc! { "$unset": { "_changed": "" } };
        if is_tombstone {
            let deleted_at = DateTime::from_millis(changed.at);
            change.append(
                mongodb::bson::cstr!("$set"),
                rawdoc! { "_deleted_at": deleted_at },
            );
        }
        let version = binary(changed.version.as_bytes());
        updates.push(rawdoc! { "q": { "_id": id, "_version": version }, "u": change });
    }
    update(database, collection, updates).await?.all().map(drop)
}
