//! Jobs: the ingestion of one object version, with its state, counts and completion event.
//!
//! # Problems
//!
//! A value that does not fit its field's type rejects its row, not the chunk or the object. A problem with the
//! object as a whole closes its job with a [`Problem`]. Its code determines the state of the job:
//!
//! | code | state |
//! |---|---|
//! | `unknown_dataset`, `bad_dataset`, `format_mismatch`, `header_mismatch`, `malformed`, `object_gone` | failed |
//! | `too_large`, `other_release`, `too_many_rejects`, `schema_mismatch`, `unknown_job` | failed |
//! | `dead_chunks` | partial |
//! | `cancelled` | cancelled |
//! | `empty_object`, `no_records`, `not_pruned`, `prune_held` | succeeded |
//!
//! CSV whose last quote is never closed is `malformed`, because everything after that quote would be one cell.
//!
//! If a job fails half-way, the rows it has already applied stay in the stores: each key has the greatest version
//! that was read. The completion event and the ledger report the failure. Nothing is rolled back, because newer
//! files may already build on these rows.
//!
//! # Counts
//!
//! For each store, `rows = rejected + inserted + updated + unchanged + stale + deleted`. *Pruned* rows are counted
//! separately, because they are not rows of the object. A row is *stale* if a newer row of its key came first, in
//! the store or in the same chunk.
//!
//! The sum is always exact. The split among the outcomes is that of the delivery that marked the chunk. If a worker
//! dies between writing to the stores and marking the chunk, the redelivered rows meet their own versions: rows
//! that were inserted then count as *unchanged*. The same happens in the store that succeeded when the other store
//! failed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dead::DeadChunks;
use crate::prune::PruneState;
use crate::warning::{Warning, WarningCode};

const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6e64_6661_6c6c_8000_0000_6a6f_6273);

/// Id of a job, the same for every event of one object version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
pub struct JobId(Uuid);

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

/// Why a job is not a plain success. The text form is stable and meant for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProblemCode {
    /// The key of the object names no defined dataset.
    UnknownDataset,
    /// The definition of the dataset has an error.
    BadDataset,
    /// The object is empty.
    EmptyObject,
    /// The object contains no records.
    NoRecords,
    /// The content does not have the format that the name or the dataset says.
    FormatMismatch,
    /// The header lacks columns that the dataset requires, or names one twice.
    HeaderMismatch,
    /// The content violates its format at some position; the records before it were ingested.
    Malformed,
    /// The object was deleted before it was read completely.
    ObjectGone,
    /// The object is larger, or has more chunks, than one job can process.
    TooLarge,
    /// The job was started by a release that divides objects into other chunks.
    OtherRelease,
    /// More records were rejected than the dataset allows.
    TooManyRejects,
    /// Chunks could not be processed.
    DeadChunks,
    /// The job was cancelled.
    Cancelled,
    /// A table or collection does not match the definition of the dataset.
    SchemaMismatch,
    /// A snapshot had rejects, so the rows that it lacks were not deleted.
    NotPruned,
    /// A snapshot would have deleted more rows than the dataset allows, so it deletes none until somebody confirms it.
    PruneHeld,
    /// Too many records are not valid in the encoding of the object.
    InvalidText,
    /// There are warnings, and the dataset does not allow any.
    Warnings,
    /// The object holds fixed rejects of a job that does not exist, or is of another dataset.
    UnknownJob,
}

impl ProblemCode {
    /// Returns whether a job with this problem closes as failed. Other problems are reported with a success.
    pub fn fails(self) -> bool {
        !matches!(
            self,
            Self::EmptyObject | Self::NoRecords | Self::NotPruned | Self::PruneHeld
        )
    }
}

/// What went wrong in a job, or needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobProblem))]
pub struct Problem {
    /// The problem, for programs.
    pub code: ProblemCode,
    /// The problem, for people: what happened, where, and what to do.
    pub message: String,
}

impl Problem {
    /// Creates a problem.
    ///
    /// A long message is cut, because it may quote content of the object and has to fit a ledger item.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        const MAX_CHARS: usize = 2_000;
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        Self { code, message }
    }
}

/// Kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StoreKind {
    /// `MongoDB`.
    Mongodb,
    /// `MySQL` or `MariaDB`.
    Mysql,
    /// `PostgreSQL`.
    Postgres,
    /// `SQLite`.
    Sqlite,
}

impl StoreKind {
    /// Returns the word used in the ledger, the API and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mongodb => "mongodb",
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened to the rows in one store. All counts but `pruned` add up to the rows that were not rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreCounts {
    /// Keys that were new.
    pub inserted: u64,
    /// Keys whose older row had other values.
    pub updated: u64,
    /// Keys whose row already had the same values (its version is raised), or this very version.
    pub unchanged: u64,
    /// Rows that a newer row of the same key superseded, in the store or in the same chunk.
    pub stale: u64,
    /// Keys deleted by a row of the object.
    #[serde(default)]
    pub deleted: u64,
    /// Keys deleted because a snapshot no longer contains them.
    #[serde(default)]
    pub pruned: u64,
}

impl StoreCounts {
    /// Returns the number of rows of the object: all counts but `pruned`.
    pub fn total(&self) -> u64 {
        self.inserted + self.updated + self.unchanged + self.stale + self.deleted
    }
}

impl std::ops::AddAssign for StoreCounts {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.deleted += other.deleted;
        self.pruned += other.pruned;
    }
}

/// Counts of a chunk or a job. For each store, `rows` is `rejected` plus the total of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Records read, without those that were skipped.
    pub rows: u64,
    /// Records that became rejects.
    pub rejected: u64,
    /// What happened to the other records, by store.
    pub stores: BTreeMap<StoreKind, StoreCounts>,
    /// How often something that deserves a warning was found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warnings: BTreeMap<WarningCode, u64>,
    /// For each field that has no value in any row of some chunks, the number of these chunks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub null_columns: BTreeMap<String, u64>,
    /// For each field with values that lost precision, the number of these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub truncated: BTreeMap<String, u64>,
}

impl std::ops::AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.rejected += other.rejected;
        for (store, counts) in &other.stores {
            *self.stores.entry(*store).or_default() += *counts;
        }
        for (code, count) in &other.warnings {
            *self.warnings.entry(*code).or_default() += count;
        }
        for (field, chunks) in &other.null_columns {
            *self.null_columns.entry(field.clone()).or_default() += chunks;
        }
        for (field, values) in &other.truncated {
            *self.truncated.entry(field.clone()).or_default() += values;
        }
    }
}

/// Location of the rejects of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsLocation {
    /// Bucket.
    pub bucket: String,
    /// Prefix of the keys. Each chunk with rejects has one NDJSON object.
    pub prefix: String,
}

impl RejectsLocation {
    /// Returns the location of the rejects of a job.
    pub fn new(bucket: &str, dataset: &str, job: JobId) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: format!("{dataset}/{job}/"),
        }
    }

    /// Returns the object key for a chunk's rejects. Reprocessing the chunk yields the same key.
    pub fn key(&self, ordinal: u32) -> String {
        format!("{}{ordinal:08}.ndjson", self.prefix)
    }
}

/// Detail of the event `landfall.job.completed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionEvent {
    /// Id of the completion, the same each time it is published. Subscribers deduplicate by it.
    pub id: Uuid,
    /// The job.
    pub job: JobId,
    /// Its dataset, if the key names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Its object.
    pub object: ObjectRef,
    /// The job whose fixed rejects the object holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects_of: Option<JobId>,
    /// Final state of the job.
    pub state: JobState,
    /// What went wrong or needs attention, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What may be wrong although it succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What happened to its rows.
    pub counts: Counts,
    /// How far its prune was when this was published, if that was held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneState>,
    /// Number of chunks.
    pub chunks: u32,
    /// Number of chunks that could not be processed.
    #[serde(default)]
    pub dead: u32,
    /// Why, and the first five of them.
    #[serde(default, skip_serializing_if = "DeadChunks::is_empty")]
    pub dead_chunks: DeadChunks,
    /// Location of its rejects, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<RejectsLocation>,
    /// Time at which its first event was processed, in RFC 3339.
    pub created_at: String,
    /// Time at which it closed, in RFC 3339.
    pub closed_at: String,
}

impl CompletionEvent {
    /// `source` of the event on EventBridge.
    pub const SOURCE: &'static str = "landfall";
    /// `detail-type` of the event on EventBridge.
    pub const DETAIL_TYPE: &'static str = "landfall.job.completed";

    /// Returns the id of the completion of a job.
    pub fn id_for(job: JobId) -> Uuid {
        Uuid::new_v5(&job.0, Self::DETAIL_TYPE.as_bytes())
    }

    /// Returns the id of the second completion of a job, after a prune that was held back.
    pub fn id_after_prune(job: JobId) -> Uuid {
        Uuid::new_v5(&job.0, b"landfall.job.completed/pruned")
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
