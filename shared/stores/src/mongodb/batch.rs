//! Applying one batch.

use std::cmp::Ordering;
use std::collections::HashMap;

use futures::stream::TryStreamExt;
use landfall_domain::{StoreCounts, StoreKind};
use mongodb::bson::{self, Bson, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::error::ErrorKind;
use mongodb::{Collection, Database};

use super::document::{DIGEST, Entry, binary, id_bytes};
use super::error::{from_code, from_mongodb, is_duplicate_key, refused, unavailable};
use crate::StoreError;
use crate::schema::VERSION;

/// How often rows are looked at again that other writers changed in between.
const ROUNDS: usize = 8;

/// What a document says of its row.
struct Found {
    version: Vec<u8>,
    digest: Vec<u8>,
}

impl Found {
    /// How the version that is there stands to the entry's.
    fn version_to(&self, entry: &Entry) -> Ordering {
        self.version.as_slice().cmp(entry.version.as_bytes())
    }
}

/// What becomes of a document that is older.
#[derive(Clone, Copy)]
enum Update {
    /// It has other values: all of it is replaced.
    Replace,
    /// It has the same values: its version moves on.
    Advance,
}

impl Update {
    /// The `update` command for these entries.
    fn command(self, name: &str, entries: &[&Entry]) -> bson::error::Result<RawDocumentBuf> {
        let mut updates = RawArrayBuf::new();
        for entry in entries {
            let digest = binary(&entry.digest);
            let version = binary(entry.version.as_bytes());
            let (digest, update) = match self {
                Self::Replace => (doc! { "$ne": digest }, entry.document.clone()),
                Self::Advance => (
                    doc! { "$eq": digest },
                    RawDocumentBuf::try_from(&doc! { "$set": { VERSION: version.clone() } })?,
                ),
            };
            let filter =
                doc! { "_id": entry.id.clone(), VERSION: { "$lt": version }, DIGEST: digest };
            updates.push(rawdoc! { "q": RawDocumentBuf::try_from(&filter)?, "u": update });
        }
        Ok(rawdoc! {
            "update": name,
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority" },
        })
    }
}

/// Applies entries that are one batch.
pub(super) async fn settle(
    database: &Database,
    name: &str,
    entries: &[Entry],
) -> Result<StoreCounts, StoreError> {
    let collection = database.collection::<RawDocumentBuf>(name);
    let mut counts = StoreCounts::default();
    let mut pending: Vec<&Entry> = entries.iter().collect();
    let mut settled_by_another = None;
    for _ in 0..ROUNDS {
        let found = look_up(&collection, &pending).await?;
        let (mut absent, mut changed, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for entry in pending {
            match found.get(&entry.id_bytes) {
                None => absent.push(entry),
                Some(found) => match found.version_to(entry) {
                    Ordering::Greater => {
                        counts.stale += 1;
                        settled_by_another = Some(entry);
                    }
                    Ordering::Equal => {
                        counts.unchanged += 1;
                        settled_by_another = Some(entry);
                    }
                    Ordering::Less if found.digest == entry.digest => same.push(entry),
                    Ordering::Less => changed.push(entry),
                },
            }
        }
        pending = insert(&collection, &absent).await?;
        counts.inserted += (absent.len() - pending.len()) as u64;
        let updated = update(database, name, &changed, Update::Replace).await?;
        counts.updated += updated;
        pending.extend(missed(&collection, changed, updated, &mut counts).await?);
        let advanced = update(database, name, &same, Update::Advance).await?;
        counts.unchanged += advanced;
        pending.extend(missed(&collection, same, advanced, &mut counts).await?);
        if pending.is_empty() {
            if let Some(entry) = settled_by_another {
                confirm(database, name, entry).await?;
            }
            return Ok(counts);
        }
    }
    Err(StoreError::Contended {
        store: StoreKind::Mongodb,
        reason: "rows went on changing, or another unique index holds their values".to_owned(),
    })
}

/// Waits until a majority has what was found there: the writer of it may not have waited to its end, and
/// what only the primary has can be rolled back. An update that changes nothing waits for all before it.
async fn confirm(database: &Database, name: &str, entry: &Entry) -> Result<(), StoreError> {
    let nothing = doc! { "$setOnInsert": { VERSION: binary(entry.version.as_bytes()) } };
    let command = doc! {
        "update": name,
        "updates": [{ "q": { "_id": entry.id.clone() }, "u": nothing }],
        "writeConcern": { "w": "majority" },
    };
    let command =
        RawDocumentBuf::try_from(&command).map_err(|_| refused("an update can't be encoded"))?;
    written(database, command).await.map(drop)
}

/// Updates documents that are still as they were found; gives how many were.
///
/// The `update` command serves every version of the server; `Client::bulk_write` needs 8.0.
async fn update(
    database: &Database,
    name: &str,
    entries: &[&Entry],
    change: Update,
) -> Result<u64, StoreError> {
    if entries.is_empty() {
        return Ok(0);
    }
    let command = change
        .command(name, entries)
        .map_err(|_| refused("an update can't be encoded"))?;
    written(database, command).await
}

/// Sends an `update` command, and gives how many documents matched.
async fn written(database: &Database, command: RawDocumentBuf) -> Result<u64, StoreError> {
    let answer = database.run_raw_command(command).await;
    let answer = answer.map_err(|error| from_mongodb(&error))?;
    if let Ok(errors) = answer.get_array("writeErrors")
        && let Some(first) = errors.first().and_then(Bson::as_document)
    {
        return Err(from_code(
            first.get_i32("code").unwrap_or_default(),
            "write error",
        ));
    }
    if let Ok(concern) = answer.get_document("writeConcernError") {
        let code = concern.get_i32("code").unwrap_or_default();
        return Err(unavailable(&format!("{code} write concern")));
    }
    let matched = answer.get("n").and_then(|n| match n {
        Bson::Int32(n) => u64::try_from(*n).ok(),
        Bson::Int64(n) => u64::try_from(*n).ok(),
        _ => None,
    });
    matched.ok_or_else(|| unavailable("the answer to an update has no count"))
}

/// What is there of these entries, by the BSON of their `_id`.
async fn look_up(
    collection: &Collection<RawDocumentBuf>,
    entries: &[&Entry],
) -> Result<HashMap<Vec<u8>, Found>, StoreError> {
    let error = |error| from_mongodb(&error);
    let unreadable = |_| unavailable("a document is not as it was written");
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
    let mut documents = collection
        .find(doc! { "_id": { "$in": ids } })
        .projection(doc! { VERSION: 1, DIGEST: 1 })
        // One answer; the first one holds 101 unless told.
        .batch_size(u32::try_from(entries.len() + 1).unwrap_or(u32::MAX))
        .await
        .map_err(error)?;
    let mut found = HashMap::with_capacity(entries.len());
    while let Some(document) = documents.try_next().await.map_err(error)? {
        let id = document.get("_id").map_err(unreadable)?;
        let Some(id) = id.and_then(|id| Bson::try_from(id).ok()) else {
            return Err(unavailable("a document has no readable key"));
        };
        let bytes = |name| {
            document
                .get_binary(name)
                .map(|binary| binary.bytes.to_vec())
        };
        let (Ok(version), Ok(digest)) = (bytes(VERSION), bytes(DIGEST)) else {
            return Err(StoreError::Schema {
                store: StoreKind::Mongodb,
                table: collection.name().to_owned(),
                reason: "documents without _version and _digest have keys of the dataset"
                    .to_owned(),
            });
        };
        let id = id_bytes(id).map_err(|_| unavailable("a document has no readable key"))?;
        found.insert(id, Found { version, digest });
    }
    Ok(found)
}

/// Inserts documents; gives those whose key another writer was first with.
async fn insert<'a>(
    collection: &Collection<RawDocumentBuf>,
    entries: &[&'a Entry],
) -> Result<Vec<&'a Entry>, StoreError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let documents = entries.iter().map(|entry| &entry.document);
    let Err(error) = collection.insert_many(documents).ordered(false).await else {
        return Ok(Vec::new());
    };
    let ErrorKind::InsertMany(errors) = error.kind.as_ref() else {
        return Err(from_mongodb(&error));
    };
    if let Some(concern) = &errors.write_concern_error {
        return Err(unavailable(&format!("{} write concern", concern.code)));
    }
    let mut first = Vec::new();
    for error in errors.write_errors.iter().flatten() {
        match entries.get(error.index) {
            Some(entry) if is_duplicate_key(error.code) => first.push(*entry),
            _ => return Err(from_code(error.code, "write error")),
        }
    }
    Ok(first)
}

/// Counts the entries of an update that were not as found any more, where that settles them, and
/// gives those that are to be looked at again.
///
/// The answer to an update says how many documents matched, not which.
async fn missed<'a>(
    collection: &Collection<RawDocumentBuf>,
    entries: Vec<&'a Entry>,
    matched: u64,
    counts: &mut StoreCounts,
) -> Result<Vec<&'a Entry>, StoreError> {
    let missed = (entries.len() as u64).saturating_sub(matched);
    if missed == 0 {
        return Ok(Vec::new());
    }
    let found = look_up(collection, &entries).await?;
    let mut newer = 0;
    let mut again = Vec::new();
    for entry in entries {
        match found
            .get(&entry.id_bytes)
            .map(|found| found.version_to(entry))
        {
            Some(Ordering::Greater) => newer += 1,
            Some(Ordering::Equal) => {}
            Some(Ordering::Less) | None => again.push(entry),
        }
    }
    let settled = missed.saturating_sub(again.len() as u64);
    let stale = settled.min(newer);
    counts.stale += stale;
    counts.unchanged += settled - stale;
    Ok(again)
}
