//! Commands that look up or write many keys at once.

use std::cmp::Ordering;
use std::collections::HashMap;

use futures::stream::TryStreamExt;
use mongodb::Database;
use mongodb::bson::raw::CStr;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, cstr, doc, rawdoc};

use super::document::{DIGEST, Entry, binary, id_bytes, id_of};
use super::error::{STORE, from_code, is_duplicate_key, refused, unavailable};
use crate::error::{Result, StoreError};
use crate::schema::VERSION;

/// Stored documents by the BSON of their `_id`.
pub(super) struct Found(HashMap<Vec<u8>, Stored>);

struct Stored {
    version: Vec<u8>,
    /// None for a tombstone.
    digest: Option<Vec<u8>>,
}

impl Found {
    /// Compares the stored version of an entry's key, if there is one, with the entry's.
    pub(super) fn compare(&self, entry: &Entry) -> Option<Ordering> {
        let stored = self.0.get(&entry.id_bytes())?;
        Some(stored.version.as_slice().cmp(entry.version.as_bytes()))
    }

    /// Returns whether the stored document of an entry's key has the same values.
    pub(super) fn is_same(&self, entry: &Entry) -> bool {
        let stored = self.0.get(&entry.id_bytes());
        stored.is_some_and(|stored| stored.digest.as_deref() == Some(&entry.digest))
    }
}

/// Returns the stored documents of these entries.
pub(super) async fn look_up(database: &Database, name: &str, entries: &[&Entry]) -> Result<Found> {
    let ids: RawArrayBuf = entries.iter().map(|entry| entry.id()).collect();
    let filter = Bson::try_from(mongodb::bson::RawBson::Array(ids));
    let filter = filter.map_err(|_| refused("a key cannot be encoded"))?;
    let mut documents = database
        .collection::<RawDocumentBuf>(name)
        .find(doc! { "_id": { "$in": filter } })
        .projection(doc! { VERSION: 1, DIGEST: 1 })
        // In one reply; the first batch has 101 documents by default.
        .batch_size(u32::try_from(entries.len() + 1).unwrap_or(u32::MAX))
        .await?;
    let mut found = HashMap::with_capacity(entries.len());
    while let Some(document) = documents.try_next().await? {
        let Some(id) = id_of(&document) else {
            return Err(unavailable("a document has no readable key"));
        };
        let bytes = |name| {
            let binary = document.get_binary(name);
            binary.map(|binary| binary.bytes.to_vec())
        };
        let Ok(version) = bytes(VERSION) else {
            let reason = "documents without _version have keys of the dataset";
            return Err(StoreError::schema(STORE, name, reason));
        };
        let digest = bytes(DIGEST).ok();
        found.insert(id_bytes(id), Stored { version, digest });
    }
    Ok(Found(found))
}

/// Returns the filter `{_id: …, _version: {$lt: …}}`, which matches an older document of the key.
pub(super) fn older(entry: &Entry) -> RawDocumentBuf {
    let mut filter = RawDocumentBuf::new();
    filter.append(cstr!("_id"), entry.id());
    filter.append(
        cstr!("_version"),
        rawdoc! { "$lt": binary(entry.version.as_bytes()) },
    );
    filter
}

/// Deletes one document for each of these filters, and returns how many there were.
pub(super) async fn delete(
    database: &Database,
    name: &str,
    filters: impl IntoIterator<Item = RawDocumentBuf>,
) -> Result<u64> {
    let mut deletes = RawArrayBuf::new();
    for filter in filters {
        deletes.push(rawdoc! { "q": filter, "limit": 1 });
    }
    let done = write(database, cstr!("delete"), name, cstr!("deletes"), deletes).await?;
    done.all()
}

pub(super) async fn update(
    database: &Database,
    name: &str,
    updates: RawArrayBuf,
) -> Result<Written> {
    write(database, cstr!("update"), name, cstr!("updates"), updates).await
}

#[derive(Default)]
pub(super) struct Written {
    /// Number of documents that matched or were inserted.
    pub(super) matched: u64,
    /// Indexes of the writes that inserted.
    pub(super) upserted: Vec<usize>,
    /// Indexes of the writes that failed, with their codes.
    pub(super) errors: Vec<(usize, i32)>,
}

impl Written {
    /// Returns the number of documents that matched, unless a write failed.
    pub(super) fn all(self) -> Result<u64> {
        match self.errors.first() {
            Some((_, code)) => Err(from_code(*code, "write error")),
            None => Ok(self.matched),
        }
    }
}

/// Returns the writes that failed because their key exists. Fails if one failed for another reason.
pub(super) fn duplicates<T: Copy>(
    writes: &[T],
    errors: impl IntoIterator<Item = (usize, i32)>,
) -> Result<Vec<T>> {
    let duplicate = |(index, code)| {
        let write = writes.get(index).filter(|_| is_duplicate_key(code));
        write.copied().ok_or_else(|| from_code(code, "write error"))
    };
    errors.into_iter().map(duplicate).collect()
}

/// Sends an unordered command of many writes. Every server version has it; `bulkWrite` needs 8.0.
async fn write(
    database: &Database,
    command: &CStr,
    name: &str,
    field: &CStr,
    writes: RawArrayBuf,
) -> Result<Written> {
    if writes.is_empty() {
        return Ok(Written::default());
    }
    let mut message = RawDocumentBuf::new();
    message.append(command, name);
    message.append(field, writes);
    message.append(cstr!("ordered"), false);
    message.append(cstr!("writeConcern"), rawdoc! { "w": "majority" });
    let answer = database.run_raw_command(message).await?;
    if let Ok(concern) = answer.get_document("writeConcernError") {
        let code = concern.get_i32("code").unwrap_or_default();
        return Err(unavailable(&format!("{code} write concern")));
    }
    let list = |name| {
        let elements = answer.get_array(name).into_iter().flatten();
        elements.filter_map(Bson::as_document)
    };
    let index = |element: &Document| {
        let index = usize::try_from(element.get_i32("index").unwrap_or(-1));
        index.unwrap_or(usize::MAX)
    };
    let errors =
        list("writeErrors").map(|error| (index(error), error.get_i32("code").unwrap_or_default()));
    let matched = answer.get("n").and_then(|n| match n {
        Bson::Int32(n) => u64::try_from(*n).ok(),
        Bson::Int64(n) => u64::try_from(*n).ok(),
        _ => None,
    });
    Ok(Written {
        matched: matched.ok_or_else(|| unavailable("the response to a write has no count"))?,
        upserted: list("upserted").map(index).collect(),
        errors: errors.collect(),
    })
}
