//! Commands that look keys up and write to many at once.

use std::cmp::Ordering;
use std::collections::HashMap;

use futures::stream::TryStreamExt;
use landfall_domain::{RowVersion, StoreKind};
use mongodb::Database;
use mongodb::bson::raw::CStr;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, cstr, doc, rawdoc};

use super::document::{DIGEST, Entry, binary, id_bytes, id_of};
use super::error::{from_code, from_mongodb, refused, unavailable};
use crate::StoreError;
use crate::schema::VERSION;

/// What a document says of its row.
pub(super) struct Found {
    version: Vec<u8>,
    /// None of a tombstone.
    pub(super) digest: Option<Vec<u8>>,
}

impl Found {
    /// How the version that is there stands to this one.
    pub(super) fn version_to(&self, version: RowVersion) -> Ordering {
        self.version.as_slice().cmp(version.as_bytes())
    }
}

/// What is there of these entries, by the BSON of their `_id`.
pub(super) async fn look_up(
    database: &Database,
    name: &str,
    entries: &[&Entry],
) -> Result<HashMap<Vec<u8>, Found>, StoreError> {
    let error = |error| from_mongodb(&error);
    let ids: RawArrayBuf = entries.iter().map(|entry| entry.id()).collect();
    let filter = Bson::try_from(mongodb::bson::RawBson::Array(ids));
    let filter = filter.map_err(|_| refused("a key can't be encoded"))?;
    let mut documents = database
        .collection::<RawDocumentBuf>(name)
        .find(doc! { "_id": { "$in": filter } })
        .projection(doc! { VERSION: 1, DIGEST: 1 })
        // One answer; the first one holds 101 unless told.
        .batch_size(u32::try_from(entries.len() + 1).unwrap_or(u32::MAX))
        .await
        .map_err(error)?;
    let mut found = HashMap::with_capacity(entries.len());
    while let Some(document) = documents.try_next().await.map_err(error)? {
        let Some(id) = id_of(&document) else {
            return Err(unavailable("a document has no readable key"));
        };
        let bytes = |name| {
            let binary = document.get_binary(name);
            binary.map(|binary| binary.bytes.to_vec())
        };
        let Ok(version) = bytes(VERSION) else {
            return Err(StoreError::Schema {
                store: StoreKind::Mongodb,
                table: name.to_owned(),
                reason: "documents without _version have keys of the dataset".to_owned(),
            });
        };
        let digest = bytes(DIGEST).ok();
        found.insert(id_bytes(id), Found { version, digest });
    }
    Ok(found)
}

/// `{_id: …, _version: {$lt: …}}`: the document of a key if it is older.
pub(super) fn older(entry: &Entry) -> RawDocumentBuf {
    let mut filter = RawDocumentBuf::new();
    filter.append(cstr!("_id"), entry.id());
    filter.append(
        cstr!("_version"),
        rawdoc! { "$lt": binary(entry.version.as_bytes()) },
    );
    filter
}

/// Deletes the documents that these filters find, one each; gives how many there were.
pub(super) async fn delete(
    database: &Database,
    name: &str,
    filters: impl IntoIterator<Item = RawDocumentBuf>,
) -> Result<u64, StoreError> {
    let mut deletes = RawArrayBuf::new();
    for filter in filters {
        deletes.push(rawdoc! { "q": filter, "limit": 1 });
    }
    let done = write(database, cstr!("delete"), name, cstr!("deletes"), deletes).await?;
    done.all()
}

/// Sends an `update` command.
pub(super) async fn update(
    database: &Database,
    name: &str,
    updates: RawArrayBuf,
) -> Result<Written, StoreError> {
    write(database, cstr!("update"), name, cstr!("updates"), updates).await
}

/// What became of a command of many writes.
pub(super) struct Written {
    /// How many documents matched, and how many were inserted as none did.
    pub(super) matched: u64,
    /// The writes that inserted.
    pub(super) upserted: Vec<usize>,
    /// Those that failed, with their codes.
    pub(super) errors: Vec<(usize, i32)>,
}

impl Written {
    /// How many documents matched, if nothing failed.
    pub(super) fn all(self) -> Result<u64, StoreError> {
        match self.errors.first() {
            Some((_, code)) => Err(from_code(*code, "write error")),
            None => Ok(self.matched),
        }
    }
}

/// Sends an unordered command of many writes. Every version of the server has it; `bulkWrite` needs 8.0.
async fn write(
    database: &Database,
    command: &CStr,
    name: &str,
    field: &CStr,
    writes: RawArrayBuf,
) -> Result<Written, StoreError> {
    if writes.is_empty() {
        return Ok(Written {
            matched: 0,
            upserted: Vec::new(),
            errors: Vec::new(),
        });
    }
    let mut message = RawDocumentBuf::new();
    message.append(command, name);
    message.append(field, writes);
    message.append(cstr!("ordered"), false);
    message.append(cstr!("writeConcern"), rawdoc! { "w": "majority" });
    let answer = database.run_raw_command(message).await;
    let answer = answer.map_err(|error| from_mongodb(&error))?;
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
        matched: matched.ok_or_else(|| unavailable("the answer to a write has no count"))?,
        upserted: list("upserted").map(index).collect(),
        errors: errors.collect(),
    })
}
