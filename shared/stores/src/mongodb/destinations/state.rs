//! The document of a key, and what a result makes of it.

use landfall_domain::{Dataset, RowVersion, Value};
use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawBson, RawDocumentBuf, doc, rawdoc};

use super::super::document::binary;
use super::super::error::STORE;
use super::super::key_text;
use super::super::read::value;
use super::{literal, unreadable};
use crate::changes::{
    ChangeKey, ChangeOutcome, ChangeResult, DueChange, Lease, ListedChange, Sent, cut,
    milliseconds, timestamp,
};
use crate::error::Result;
use crate::read::StoredRow;
use crate::schema::VERSION;

/// What a destination has of a key.
pub(super) struct State {
    /// The `_id` of the document.
    pub(super) id: String,
    /// The `_id` of the key's row.
    pub(super) key: Bson,
    pub(super) listed: ListedChange,
}

impl State {
    pub(super) fn read(dataset: &Dataset, document: &Document) -> Result<Self> {
        let number = |name| document.get_i64(name).map_err(|_| unreadable());
        let flag = |name| document.get_bool(name).unwrap_or(false);
        let text = |name| document.get_str(name).ok().map(str::to_owned);
        let version = |name| {
            let bytes = document.get_binary_generic(name).ok();
            bytes.and_then(|bytes| RowVersion::from_bytes(bytes))
        };
        let key = document.get("key").cloned().ok_or_else(unreadable)?;
        let values = values_of(dataset, &key).ok_or_else(unreadable)?;
        let id = text("sent_as");
        Ok(Self {
            id: text("_id").ok_or_else(unreadable)?,
            key,
            listed: ListedChange {
                key: ChangeKey { values, place: 0 },
                wanted: version("wanted").ok_or_else(unreadable)?,
                wanted_at: timestamp(STORE, number("wanted_at")?)?,
                sent: version("sent").map(|version| Sent {
                    version,
                    exists: flag("exists"),
                    id,
                }),
                attempts: u32::try_from(number("attempts")?).map_err(|_| unreadable())?,
                due_at: timestamp(STORE, number("due_at")?)?,
                is_leased: text("lease").is_some(),
                is_uncertain: flag("uncertain"),
                holds: flag("holds"),
                answer: text("answer"),
            },
        })
    }

    /// Returns the change to send, with the row as it stands, or the version of its tombstone.
    pub(super) fn leased(
        self,
        row: Option<(RowVersion, StoredRow)>,
        tombstone: Option<RowVersion>,
    ) -> DueChange {
        let listed = self.listed;
        let deleted = tombstone.map_or(listed.wanted, |tombstone| tombstone.max(listed.wanted));
        DueChange {
            key: listed.key,
            version: row.as_ref().map_or(deleted, |(version, _)| *version),
            row: row.map(|(_, row)| row),
            sent: listed.sent,
            attempts: listed.attempts,
            is_uncertain: listed.is_uncertain,
            wanted_at: listed.wanted_at,
        }
    }
}

/// Returns the `_id` of the document of a key. It is a text: some servers find no documents by their index.
pub(super) fn id_of(destination: &str, key: &[Value]) -> String {
    let mut id = format!("{destination}\t");
    key_text::write(&mut id, key);
    id
}

/// Returns the values of a key by the `_id` of its row; none if it is no key of the dataset.
pub(super) fn values_of(dataset: &Dataset, key: &Bson) -> Option<Vec<Value>> {
    let mut document = RawDocumentBuf::new();
    document.append(
        mongodb::bson::cstr!("_id"),
        RawBson::try_from(key.clone()).ok()?,
    );
    let id = document.get("_id").ok().flatten()?;
    let fields: Vec<_> = dataset.key_fields().collect();
    if let [field] = fields.as_slice() {
        return value(field.kind, id)
            .filter(|value| !value.is_null())
            .map(|value| vec![value]);
    }
    key_text::read(id.as_str()?, fields.iter().map(|field| field.kind))
}

/// Returns the `_id` of a row in a form that can be hashed.
pub(super) fn key_id(key: &Bson) -> Result<Vec<u8>> {
    let mut document = RawDocumentBuf::new();
    let key = RawBson::try_from(key.clone()).map_err(|_| unreadable())?;
    document.append(mongodb::bson::cstr!("_id"), key);
    Ok(document.into_bytes())
}

pub(super) fn version_of(document: &RawDocument) -> Result<RowVersion> {
    let version = document.get_binary(VERSION).ok();
    let version = version.and_then(|version| RowVersion::from_bytes(version.bytes));
    version.ok_or_else(unreadable)
}

/// Returns the fields of a key that is wanted for the first time.
pub(super) fn new(
    destination: &str,
    key: RawBson,
    wanted: &RowVersion,
    now: i64,
) -> RawDocumentBuf {
    rawdoc! {
        "destination": destination,
        "key": key,
        "wanted": binary(wanted.as_bytes()),
        "wanted_at": now,
        "due_at": now,
        "attempts": 0_i64,
        "state": "waiting",
        "holds": false,
        "uncertain": false,
        "lease": RawBson::Null,
    }
}

/// Returns the update of a key by its result, unless it has another lease.
pub(super) fn recorded(id: &str, lease: &Lease, result: &ChangeResult) -> Result<RawDocumentBuf> {
    let (now, version) = (milliseconds(lease.now), literal(&result.version));
    // Nothing was folded that is newer than what was sent.
    let is_current = doc! { "$or": [
        { "$lte": ["$wanted", version.clone()] },
        { "$lte": ["$wanted", "$leased"] },
    ] };
    let mut set = doc! { "lease": null };
    let mut unsent =
        |state: &str, answer: Option<&str>, counts: bool, uncertain: bool, holds: bool| {
            let passes = state != "waiting" && !holds;
            let state = if passes {
                doc! { "$cond": [is_current.clone(), state, "waiting"] }
            } else {
                doc! { "$literal": state }
            };
            set.insert("state", state);
            set.insert("due_at", now);
            set.insert(
                "attempts",
                doc! { "$add": ["$attempts", i64::from(counts)] },
            );
            set.insert("uncertain", doc! { "$or": ["$uncertain", uncertain] });
            set.insert("holds", holds);
            if let Some(answer) = answer {
                set.insert("answer", doc! { "$literal": cut(answer) });
            }
        };
    match &result.outcome {
        ChangeOutcome::Sent { exists, id } => {
            let sent_as = match id {
                _ if !exists => Bson::Null,
                Some(id) => doc! { "$literal": id.as_str() }.into(),
                None => Bson::from("$sent_as"),
            };
            let unless_gone = |value: Bson| doc! { "$cond": ["$gone", null, value] };
            set.extend(doc! {
                "sent": unless_gone(version.clone().into()),
                "exists": { "$and": [*exists, { "$ne": ["$gone", true] }] },
                "sent_as": unless_gone(sent_as),
                "wanted_at": { "$cond": [is_current.clone(), "$wanted_at", now] },
                "state": { "$cond": [is_current.clone(), "sent", "waiting"] },
                "wanted": { "$cond": [is_current, version, "$wanted"] },
                "due_at": now,
                "attempts": 0_i64,
                "uncertain": false,
                "holds": false,
                "answer": null,
            });
        }
        ChangeOutcome::Retry {
            at,
            answer,
            counts_as_attempt,
            uncertain,
        } => {
            unsent(
                "waiting",
                Some(answer),
                *counts_as_attempt,
                *uncertain,
                false,
            );
            set.insert("due_at", milliseconds(*at));
        }
        ChangeOutcome::SetAside { answer, holds } => {
            unsent("set_aside", Some(answer), true, false, *holds);
        }
        ChangeOutcome::Unknown { answer, holds } => {
            unsent("unknown", Some(answer), true, true, *holds);
        }
        ChangeOutcome::Released => unsent("waiting", None, false, false, false),
    }
    let stage = RawDocumentBuf::try_from(&doc! { "$set": set }).map_err(|_| unreadable())?;
    let mut pipeline = RawArrayBuf::new();
    pipeline.push(stage);
    Ok(rawdoc! { "q": { "_id": id, "lease": lease.id.as_str() }, "u": pipeline })
}
