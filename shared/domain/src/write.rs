//! Writes of single rows by the API: what a message says, and what became of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::counts::StoreCounts;
use crate::dataset::{Dataset, DatasetRef};
use crate::dead::{DeadCode, shortened};
use crate::row::{Row, Values};
use crate::value::Value;
use crate::version::{ObjectOrder, VersionError};

const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6e64_6661_6c6c_8000_0000_6b65_7973);
/// The maximum number of bytes of a row within a message, as a JSON string. Larger rows become objects.
pub const MAX_INLINE_BYTES: usize = 200 * 1024;

/// Id of a write: its order, from which the version of its row follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{40}$"))]
pub struct WriteId(ObjectOrder);

impl WriteId {
    /// Returns the id of the write with this order; `None` if the order is that of an object.
    pub fn of(order: ObjectOrder) -> Option<Self> {
        order.is_of_write().then_some(Self(order))
    }

    /// Returns the order.
    pub fn order(self) -> ObjectOrder {
        self.0
    }

    /// Returns the key of a row that is too large for a message, in the work bucket.
    pub fn object_key(self) -> String {
        format!("writes/{self}")
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text is not the id of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a write has 40 hexadecimal digits")]
pub struct InvalidWriteId;

impl std::str::FromStr for WriteId {
    type Err = InvalidWriteId;

    fn from_str(text: &str) -> Result<Self, InvalidWriteId> {
        let order = text.parse().map_err(|_| InvalidWriteId)?;
        Self::of(order).ok_or(InvalidWriteId)
    }
}

/// The hash of a key and its dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDigest(Uuid);

impl KeyDigest {
    /// Returns the hash of the key with these values.
    pub fn new(dataset: &str, key: &[Value]) -> Self {
        let mut name = dataset.to_owned();
        for value in key {
            // No text has a zero character.
            name.push('\0');
            name += &match value {
                // Equal numbers are the same key, however many digits they have.
                Value::Decimal(number) => number.normalize().to_string(),
                value => value.to_text().unwrap_or_default().into_owned(),
            };
        }
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// Returns which of the 256 clocks orders the writes of the key.
    pub fn clock(self) -> u8 {
        self.0.as_bytes()[0]
    }

    /// Returns the id of the write of this key that its clock has ordered so.
    pub fn write_at(self, time_ms: i64, count: u64) -> Result<WriteId, VersionError> {
        let [a, b, c, d, ..] = *self.0.as_bytes();
        ObjectOrder::of_write(time_ms, count, [a, b, c, d]).map(WriteId)
    }

    /// Returns the id of the write that creates the row of this key, whose number or token is given out only once. It
    /// is less than every other write of the key, and than every object, whatever the clocks say.
    pub fn create(self) -> WriteId {
        let [a, b, c, d, ..] = *self.0.as_bytes();
        // The count distinguishes keys whose hashes begin alike.
        let (_, count) = self.0.as_u64_pair();
        WriteId(ObjectOrder::of_create(count, [a, b, c, d]))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WriteOperation {
    /// Stores a whole row.
    Put,
    /// Stores some columns of a row.
    Patch,
    /// Deletes a row.
    Delete,
}

impl WriteOperation {
    /// Returns the word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// A write on its way to the stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteMessage {
    /// The id, which is the order of the row.
    pub write: WriteId,
    /// The definition with which the write was accepted.
    pub dataset: DatasetRef,
    /// What it does.
    pub operation: WriteOperation,
    /// The values of the key as texts, in the order of the key.
    pub key: Vec<String>,
    /// The value of the dataset's `order` in a delete, as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_value: Option<String>,
    /// The row, unless it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<WrittenRow>,
    /// When the row was created, in milliseconds since 1970, if its order is that of [`KeyDigest::create`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

impl WriteMessage {
    /// Returns the order that says the age of the write.
    ///
    /// # Errors
    /// The time of the creation is out of range.
    pub fn aged(&self) -> Result<ObjectOrder, VersionError> {
        match self.created_at {
            None => Ok(self.write.order()),
            Some(created_at) => ObjectOrder::of_write(created_at, 0, [0; 4]),
        }
    }
}

/// Where the row of a write is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrittenRow {
    /// Here, as JSON.
    Json(String),
    /// In an object of so many bytes at [`WriteId::object_key`].
    ObjectBytes(u64),
}

/// Whether a write has reached the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WriteState {
    /// Not yet.
    Waiting,
    /// It has reached all stores. Each has the row, or something newer of its key.
    Stored,
    /// It has not, and will not. One of several stores may have it.
    Failed,
}

/// What a write did to the row of its key in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RowOutcome {
    /// There was none.
    Inserted,
    /// It had other values.
    Updated,
    /// It had the same values, or an earlier delivery of this write had stored it, or there was none to delete.
    Unchanged,
    /// It is deleted.
    Deleted,
    /// Something newer was there, and stays.
    Stale,
}

impl StoreCounts {
    /// Returns what became of the only row that is counted.
    pub fn of_one_row(&self) -> RowOutcome {
        let outcomes = [
            (self.inserted, RowOutcome::Inserted),
            (self.updated, RowOutcome::Updated),
            (self.deleted, RowOutcome::Deleted),
            (self.stale, RowOutcome::Stale),
        ];
        let outcome = outcomes.into_iter().find(|(rows, _)| *rows > 0);
        outcome.map_or(RowOutcome::Unchanged, |(_, outcome)| outcome)
    }
}

/// Why a write has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WriteProblem {
    /// The reason, for programs.
    pub code: DeadCode,
    /// The reason, for people; at most 300 characters.
    pub message: String,
}

impl WriteProblem {
    /// Describes why a write has failed. A long reason is cut.
    pub fn new(code: DeadCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            message: shortened(reason.into()),
        }
    }
}

impl Row {
    /// Returns a row that deletes a key. `order` is the value of the dataset's `order`, if it has one.
    pub fn delete(dataset: &Dataset, key: &[Value], order: Option<Value>) -> Self {
        let mut values: Values = dataset.fields.iter().map(|_| Value::Null).collect();
        if let (Some(field), Some(value)) = (dataset.order, order) {
            values[field] = value;
        }
        for (field, value) in dataset.key_indexes().iter().zip(key) {
            values[*field] = value.clone();
        }
        Self {
            offset: 0,
            deleted: true,
            values,
            extra: None,
            parts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::value::FieldType;

    #[test]
    fn ids_of_writes_are_neither_ids_of_jobs_nor_orders_of_objects() {
        let digest = KeyDigest::new("products", &[Value::Text("a".into())]);
        let write = digest.write_at(1_700_000_000_000, 3).unwrap();
        assert_eq!(write.to_string().parse(), Ok(write));
        assert!(write.to_string().parse::<JobId>().is_err());
        let job = JobId::for_object("inbox", "products/a.csv", "v1");
        let object = ObjectOrder::new(1, "0055AED6DCD90281E5", job).unwrap();
        assert_eq!(WriteId::of(object), None);
        for text in [object.to_string(), job.to_string(), String::new()] {
            assert_eq!(text.parse::<WriteId>(), Err(InvalidWriteId), "{text}");
        }
    }

    #[test]
    fn a_create_precedes_every_write_and_object_and_has_the_age_of_its_creation() {
        let digest = |number| KeyDigest::new("messages", &[Value::Integer(number)]);
        let create = digest(7).create();
        assert!(create < digest(7).write_at(1, 0).unwrap());
        let job = JobId::for_object("inbox", "messages/a.csv", "v1");
        assert!(create.order() < ObjectOrder::new(1, "", job).unwrap());
        assert_eq!(create.to_string().parse(), Ok(create));
        assert_ne!(create, digest(8).create());
        let mut message = WriteMessage {
            write: create,
            dataset: DatasetRef {
                name: "messages".to_owned(),
                version: None,
            },
            operation: WriteOperation::Put,
            key: vec!["7".to_owned()],
            order_value: None,
            row: None,
            created_at: Some(1_700_000_000_000),
        };
        assert_eq!(message.aged().unwrap().time_ms(), 1_700_000_000_000);
        message.created_at = None;
        assert_eq!(message.aged(), Ok(create.order()));
    }

    #[test]
    fn equal_keys_have_one_digest() {
        let decimal = |text| Value::from_text(FieldType::Decimal, text).unwrap();
        let digest = |dataset, key: &[Value]| KeyDigest::new(dataset, key);
        assert_eq!(
            digest("d", &[decimal("1.50")]),
            digest("d", &[decimal("1.5")])
        );
        let text = |text: &str| Value::Text(text.into());
        let one = digest("d", &[text("a"), text("b")]);
        assert_ne!(one, digest("d", &[text("ab"), text("")]));
        assert_ne!(one, digest("da", &[text("b")]));
    }
}
