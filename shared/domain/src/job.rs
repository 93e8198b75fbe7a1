//! Jobs: the ingestion of one object version, by its id, and its state.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6e64_6661_6c6c_8000_0000_6a6f_6273);

/// Id of a job, the same for every event of one object version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
pub struct JobId(pub(crate) Uuid);

impl JobId {
    /// The smallest id, which no job has.
    pub const MIN: Self = Self(Uuid::nil());
    /// The greatest id, which no job has.
    pub const MAX: Self = Self(Uuid::max());

    /// Returns the id of the job for this version of this object.
    pub fn for_object(bucket: &str, key: &str, version: &str) -> Self {
        // Neither a bucket name nor a version can contain a zero byte.
        let name = [bucket, key, version].join("\0");
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// Returns the id of the job that the redrive with this number derives from this job.
    pub fn for_redrive(self, number: usize) -> Self {
        Self(Uuid::new_v5(
            &self.0,
            format!("redrive/{number}").as_bytes(),
        ))
    }

    /// Returns the bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl std::str::FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One version of one file in the inbox bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Bucket.
    pub bucket: String,
    /// Key, not form-encoded.
    pub key: String,
    /// Version id; `None` in a bucket without versions, where the `ETag` alone pins the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `ETag`, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

impl ObjectRef {
    /// Returns the dataset named by the key: its first segment, if that and the rest are not empty.
    pub fn dataset_name(&self) -> Option<&str> {
        let (dataset, rest) = self.key.split_once('/')?;
        (!dataset.is_empty() && !rest.is_empty()).then_some(dataset)
    }

    /// Returns whether the object is empty and only marks something: a folder, or that a program has finished, like
    /// `_SUCCESS`. Such objects are not meant to be ingested.
    pub fn is_marker(&self) -> bool {
        let name = self.key.rsplit('/').next().unwrap_or(&self.key);
        let is_marker =
            name.is_empty() || name.starts_with(['_', '.']) || name.ends_with("_$folder$");
        self.size == 0 && is_marker
    }
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobState {
    /// Chunks are still being planned or processed.
    Open,
    /// Every record is in every store or among the rejects.
    Succeeded,
    /// Some chunks are dead, and their rows may be missing.
    Partial,
    /// The object could not be ingested, or too many of its records were rejected.
    Failed,
    /// Somebody cancelled the job while it was open, so rows may be missing.
    Cancelled,
}

impl JobState {
    /// Returns the word used in the ledger, the API and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_objects_named_like_folders_or_markers_are_markers() {
        for (key, size, expected) in [
            ("products/", 0, true),
            ("products/sub/", 0, true),
            ("products/_SUCCESS", 0, true),
            ("products/.keep", 0, true),
            ("products/2026_$folder$", 0, true),
            ("products/a.csv", 0, false),
            ("products/_a.csv", 9, false),
        ] {
            let object = object(key, size);
            assert_eq!(object.is_marker(), expected, "{key}");
        }
    }

    fn object(key: &str, size: u64) -> ObjectRef {
        ObjectRef {
            bucket: "inbox".to_owned(),
            key: key.to_owned(),
            version: None,
            etag: String::new(),
            size,
        }
    }

    #[test]
    fn a_key_names_a_dataset_by_its_first_segment() {
        for (key, dataset) in [
            ("products/a.csv", Some("products")),
            ("products/2026/a.csv", Some("products")),
            ("a.csv", None),
            ("products/", None),
            ("/a.csv", None),
            ("//", None),
            ("", None),
        ] {
            assert_eq!(object(key, 0).dataset_name(), dataset, "{key}");
        }
    }
}
