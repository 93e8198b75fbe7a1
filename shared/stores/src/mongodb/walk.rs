//! How far the prune of a floor is, and the ranges of keys that it takes.

use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};

use super::document::binary_value;
use super::error::unavailable;
use crate::error::Result;
use crate::schema::VERSION;

/// The keys of a range.
pub(super) struct Range {
    /// The key before the first one; none for the beginning.
    pub(super) after: Option<Bson>,
    /// The last key; none for the end.
    pub(super) last: Option<Bson>,
}

impl Range {
    /// Returns the range that begins after a key.
    pub(super) async fn next(
        documents: &Collection<Document>,
        after: Option<Bson>,
        rows: u64,
    ) -> Result<Self> {
        // Documents of other programs may have keys of another type, with which keys do not compare.
        let mut filter = doc! { VERSION: { "$exists": true } };
        if let Some(after) = &after {
            filter.insert("_id", doc! { "$gt": after });
        }
        let last = documents
            .find_one(filter)
            .sort(doc! { "_id": 1 })
            .skip(rows.saturating_sub(1))
            .projection(doc! { "_id": 1 })
            .await?;
        let last = last.map(|mut document| document.remove("_id"));
        let last = match last {
            Some(None) => return Err(unavailable("a document has no key")),
            Some(id) => id,
            None => None,
        };
        Ok(Self { after, last })
    }

    pub(super) fn filter(&self) -> Document {
        let mut id = Document::new();
        if let Some(after) = &self.after {
            id.insert("$gt", after);
        }
        if let Some(last) = &self.last {
            id.insert("$lte", last);
        }
        if id.is_empty() {
            return Document::new();
        }
        doc! { "_id": id }
    }

    /// Returns the filter of the documents below a version.
    pub(super) fn below(&self, floor: &[u8]) -> Document {
        let mut filter = self.filter();
        filter.insert(VERSION, doc! { "$lt": binary_value(floor) });
        filter
    }
}

/// How far the prune of a floor is, as the registry has it.
#[derive(Default)]
pub(super) struct Walk {
    /// Number of the last step.
    pub(super) step: i64,
    pub(super) is_in_tombstones: bool,
    pub(super) is_done: bool,
    /// The range that was counted, and is to be deleted.
    pub(super) counted: Option<Range>,
}

impl Walk {
    /// Reads the field of the registry, which is missing before the first step.
    pub(super) fn read(field: Option<&Bson>) -> Option<Self> {
        let walk = match field {
            None | Some(Bson::Null) => return Some(Self::default()),
            Some(field) => field.as_document()?,
        };
        let is_true = |name| walk.get_bool(name).unwrap_or(false);
        Some(Self {
            step: walk.get_i64("step").ok()?,
            is_in_tombstones: is_true("is_in_tombstones"),
            is_done: is_true("is_done"),
            counted: is_true("is_counted").then(|| Range {
                after: walk.get("after").cloned(),
                last: walk.get("last").cloned(),
            }),
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn to_document(&self) -> Document {
        let mut walk = doc! {
            "step": self.step,
            "is_in_tombstones": self.is_in_tombstones,
            "is_done": self.is_done,
            "is_counted": self.counted.is_some(),
        };
        if let Some(Range { after, last }) = &self.counted {
            walk.extend(after.clone().map(|key| ("after".to_owned(), key)));
            walk.extend(last.clone().map(|key| ("last".to_owned(), key)));
        }
        walk
    }
}
