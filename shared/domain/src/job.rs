//! Jobs: the taking-in of one object version, its state, counts and completion event.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6e64_6661_6c6c_8000_0000_6a6f_6273);

/// Name of a job: the same for every event of one object version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
pub struct JobId(Uuid);

impl JobId {
    /// The job of this version of this object.
    pub fn of(bucket: &str, key: &str, version: &str) -> Self {
        let mut name = Vec::with_capacity(bucket.len() + key.len() + version.len() + 2);
        for (index, part) in [bucket, key, version].into_iter().enumerate() {
            if index > 0 {
                // Neither a bucket name nor a version can hold a zero byte.
                name.push(0);
            }
            name.extend_from_slice(part.as_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// The sixteen bytes of it.
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
    /// Key, as people wrote it (not form-encoded).
    pub key: String,
    /// Version id; none in a bucket without versions, where the `ETag` alone pins the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `ETag`, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

impl ObjectRef {
    /// The dataset that the key names: its first segment, where there is more than one and it is not empty.
    pub fn dataset_name(&self) -> Option<&str> {
        self.key
            .split_once('/')
            .filter(|(dataset, rest)| !dataset.is_empty() && !rest.is_empty())
            .map(|(dataset, _)| dataset)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobState {
    /// Chunks are still being planned or taken.
    Open,
    /// Every row is in every store or among the rejects.
    Succeeded,
    /// Some chunks are dead: their rows may be missing.
    Partial,
    /// The object could not be taken, or too much of it was rejected.
    Failed,
}

impl JobState {
    /// The word used in the ledger, the API and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// Why a job is not a plain success, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProblemCode {
    /// The object's key names no dataset that is defined.
    UnknownDataset,
    /// The dataset's definition has an error.
    BadDataset,
    /// The object has no byte.
    EmptyObject,
    /// The object has no record.
    NoRecords,
    /// The content is not of the format that name or dataset say.
    FormatMismatch,
    /// The header lacks columns that the dataset needs, or names one twice.
    HeaderMismatch,
    /// The content stops being of its format at some place; what came before it was taken.
    Malformed,
    /// The object was deleted before all of it was read.
    ObjectGone,
    /// The object is larger, or has more chunks, than one job can take.
    TooLarge,
    /// The job was begun by a release that cuts objects in another way.
    OtherRelease,
    /// More rows were rejected than the dataset allows.
    TooManyRejects,
    /// Chunks were given up after their retries.
    DeadChunks,
    /// A table or collection does not fit the dataset's definition.
    SchemaMismatch,
    /// A snapshot had rejects, so that no row was deleted for not being in it.
    NotPruned,
}

impl ProblemCode {
    /// Whether a job with this problem closes as failed; the others are told with a success.
    pub fn fails(self) -> bool {
        !matches!(self, Self::EmptyObject | Self::NoRecords | Self::NotPruned)
    }
}

/// What a person should know about how a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobProblem))]
pub struct Problem {
    /// For programs.
    pub code: ProblemCode,
    /// For people: what happened, where, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem with its message.
    ///
    /// A long message is cut: it quotes what came from outside, and an item of the ledger is bounded.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        const LONGEST: usize = 2_000;
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(end);
            message.push('…');
        }
        Self { code, message }
    }
}

/// The kinds of stores.
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
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Mongodb, Self::Mysql, Self::Postgres, Self::Sqlite];

    /// The word used in the ledger, the API and events.
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

/// What became of rows in one store. All but `pruned` add up to the rows that were not rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreCounts {
    /// Keys that were not there.
    pub inserted: u64,
    /// Keys that were there with an older version and other values.
    pub updated: u64,
    /// Keys that were there with the same values (their version moved on), or with this very version.
    pub unchanged: u64,
    /// Rows that a newer row of their key had come before, in the store or in the same chunk.
    pub stale: u64,
    /// Keys that a row of the object deleted.
    #[serde(default)]
    pub deleted: u64,
    /// Keys that were deleted because a snapshot no longer has them.
    #[serde(default)]
    pub pruned: u64,
}

impl StoreCounts {
    /// Rows of the object: all but the pruned ones.
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

/// Counts of a chunk or a job: `rows` = `rejected` + the total of each store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Records read.
    pub rows: u64,
    /// Records that became rejects.
    pub rejected: u64,
    /// What became of the others, by store.
    pub stores: BTreeMap<StoreKind, StoreCounts>,
}

impl std::ops::AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.rejected += other.rejected;
        for (store, counts) in &other.stores {
            *self.stores.entry(*store).or_default() += *counts;
        }
    }
}

/// Where the rejects of a job lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsLocation {
    /// Bucket.
    pub bucket: String,
    /// Prefix of the keys: one NDJSON object for each chunk that had rejects.
    pub prefix: String,
}

impl RejectsLocation {
    /// The place for a job's rejects.
    pub fn new(bucket: &str, dataset: &str, job: JobId) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: format!("{dataset}/{job}/"),
        }
    }

    /// Key of the rejects of one chunk: the same whenever the chunk is taken again.
    pub fn key(&self, ordinal: u32) -> String {
        format!("{}{ordinal:08}.ndjson", self.prefix)
    }
}

/// Detail of the event `landfall.job.completed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionEvent {
    /// Id of the completion: the same each time it is published. Drop what you have seen.
    pub id: Uuid,
    /// The job.
    pub job: JobId,
    /// Its dataset, where the key named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Its object.
    pub object: ObjectRef,
    /// How it ended.
    pub state: JobState,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What became of its rows.
    pub counts: Counts,
    /// Number of chunks that it was taken in.
    pub chunks: u32,
    /// Where its rejects are, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<RejectsLocation>,
    /// When its first event was seen; RFC 3339.
    pub created_at: String,
    /// When it closed; RFC 3339.
    pub closed_at: String,
}

impl CompletionEvent {
    /// `source` of the event on EventBridge.
    pub const SOURCE: &'static str = "landfall";
    /// `detail-type` of the event on EventBridge.
    pub const DETAIL_TYPE: &'static str = "landfall.job.completed";

    /// The id of a job's completion.
    pub fn id_of(job: JobId) -> Uuid {
        Uuid::new_v5(&job.0, Self::DETAIL_TYPE.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let object = ObjectRef {
                bucket: "inbox".to_owned(),
                key: key.to_owned(),
                version: None,
                etag: String::new(),
                size: 0,
            };
            assert_eq!(object.dataset_name(), dataset, "{key}");
        }
    }
}
