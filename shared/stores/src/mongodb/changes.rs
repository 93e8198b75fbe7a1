//! Records which keys change, by the documents themselves ([`crate::changes`]).
//!
//! A standalone server has no transactions over several documents. A changed document therefore carries the field
//! `_changed`, the time of its change, and so does the tombstone that a delete leaves. A lease folds them: it raises
//! the wanted version of their keys in `_keys_<dataset>`, and then removes the field, unless the document has changed
//! since. If it dies in between, the next one repeats that, and the same version changes nothing.
//!
//! A tombstone with `_changed` is all that is left of a delete. The server does not delete it when it expires, because
//! its `_deleted_at` is no date until it is folded, and a prune leaves it. A prune writes such tombstones before it
//! deletes rows. As long as a tombstone and an older row of its key are both there, the key counts as deleted.
//!
//! A worker that began before the first destination was named finds that out after it has written, and marks its keys.

use futures::stream::TryStreamExt;
use mongodb::bson::{Document, RawArrayBuf, RawBsonRef, RawDocumentBuf, doc, rawdoc};
use mongodb::{Collection, Database};

use super::command::{duplicates, update};
use super::document::{binary, id_of};
use super::error::unavailable;
use crate::changes::now;
use crate::error::Result;
use crate::registry::tombstones_of;

/// The maximum number of tombstones that are written at once.
const BATCH: usize = 2_000;

/// Records changes of rows and tombstones of these keys, which were written without.
pub(super) async fn mark<'i>(
    database: &Database,
    name: &str,
    ids: impl Iterator<Item = RawBsonRef<'i>>,
) -> Result<()> {
    let (mut rows, mut tombstones) = (RawArrayBuf::new(), RawArrayBuf::new());
    let at = now();
    for id in ids {
        rows.push(rawdoc! { "q": { "_id": id }, "u": { "$set": { "_changed": at } } });
        let set = rawdoc! { "_changed": at, "_deleted_at": at };
        tombstones.push(rawdoc! { "q": { "_id": id }, "u": { "$set": set } });
    }
    update(database, name, rows).await?.all()?;
    let done = update(database, &tombstones_of(name), tombstones).await?;
    done.all().map(drop)
}

/// Leaves tombstones of this version for keys whose rows are about to be deleted.
pub(super) async fn bury<'i>(
    database: &Database,
    name: &str,
    ids: impl Iterator<Item = RawBsonRef<'i>>,
    version: &[u8],
) -> Result<()> {
    let (mut updates, at, mut count) = (RawArrayBuf::new(), now(), 0);
    for id in ids {
        let version = binary(version);
        updates.push(rawdoc! {
            "q": { "_id": id, "_version": { "$lt": version } },
            "u": { "_id": id, "_version": version, "_deleted_at": at, "_changed": at },
            "upsert": true,
        });
        count += 1;
    }
    let done = update(database, &tombstones_of(name), updates).await?;
    // The others have a newer tombstone, or this one.
    duplicates(&vec![(); count], done.errors).map(drop)
}

/// Does so for the rows that a filter matches.
pub(super) async fn bury_below(
    database: &Database,
    name: &str,
    below: Document,
    version: &[u8],
) -> Result<()> {
    let rows: Collection<RawDocumentBuf> = database.collection(name);
    let mut found = rows.find(below).projection(doc! { "_id": 1 }).await?;
    let mut ids: Vec<RawDocumentBuf> = Vec::new();
    while let Some(document) = found.try_next().await? {
        ids.push(document);
        if ids.len() == BATCH {
            bury_all(database, name, &ids, version).await?;
            ids.clear();
        }
    }
    bury_all(database, name, &ids, version).await
}

async fn bury_all(
    database: &Database,
    name: &str,
    documents: &[RawDocumentBuf],
    version: &[u8],
) -> Result<()> {
    let ids: Option<Vec<_>> = documents.iter().map(|document| id_of(document)).collect();
    let ids = ids.ok_or_else(|| unavailable("a document has no readable key"))?;
    bury(database, name, ids.into_iter(), version).await
}
