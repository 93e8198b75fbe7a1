//! Where a row is from: the answer to which object, and which record in it, gave a row or deleted it.
//!
//! A store keeps the version of each row, which says the time of its object and the byte offset of its record there.
//! The ledger knows the object and its job for 90 days, and the inbox has the object for as long as its lifecycle says.
//! The version of a row that the API wrote is the id of that write, which the ledger knows for seven days. A delete
//! leaves a tombstone for 30 days. Of a row that a snapshot has deleted, and of earlier versions of a row, nothing is
//! kept.

use serde::{Deserialize, Serialize};

use crate::counts::StoreKind;
use crate::job::{JobId, JobState, ObjectRef};
use crate::write::{WriteId, WriteOperation};

/// The maximum number of records that one answer looks up: a row that is merged by column may be from many.
pub const MAX_ORIGINS: usize = 8;

/// Where the row of a key is from, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RowOrigin {
    /// The dataset.
    pub dataset: String,
    /// The store that was read.
    pub store: StoreKind,
    /// Whether the store has a row of this key.
    pub state: KeyState,
    /// The record that gave the row, or deleted it. A row that is merged by column is from several: for each group of
    /// columns the record that it is from, the newest first, and at most 8.
    pub origins: Vec<Origin>,
    /// The number of further records that the row is from.
    #[serde(default)]
    pub more: usize,
    /// When a worker deleted the row; RFC 3339.
    #[serde(default)]
    pub deleted_at: Option<String>,
    /// The newest snapshot that has deleted rows, if the store knows nothing of the key. If the store had a row of the
    /// key before, and no delete for more than 30 days, this snapshot or an earlier one has deleted it.
    #[serde(default)]
    pub pruned_by: Option<Origin>,
}

/// What a store has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KeyState {
    /// A row.
    Present,
    /// A tombstone: a record has deleted the row, or would have.
    Deleted,
    /// Nothing. There never was a row, a snapshot has deleted it, or it was deleted more than 30 days ago.
    Absent,
}

/// What a version says, and the jobs that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Origin {
    /// The version, in hexadecimal.
    pub version: String,
    /// The columns that have this version, if the row is merged by column.
    #[serde(default)]
    pub columns: Vec<String>,
    /// When S3 stored the object, by its event, or when the API accepted the write; RFC 3339.
    pub event_time: String,
    /// Byte offset of the record in the object; 0 of a write.
    pub offset: u64,
    /// The write by the API that gave the row, or deleted it; `null` if the row is from a file.
    #[serde(default)]
    pub write: Option<OriginWrite>,
    /// The job that gave the row, or deleted it; `null` if the ledger has none, as it keeps jobs for 90 days.
    #[serde(default)]
    pub source: Option<Source>,
    /// The job of the object that the version names, if another job processed the record: one of fixed rejects, or
    /// one that processed dead chunks with a newer definition.
    #[serde(default)]
    pub original: Option<Source>,
    /// Whether too many jobs of the dataset, or of fixed rejects of the object, followed it to look at all of them, so
    /// that another one may have given the row.
    #[serde(default)]
    pub is_cut_short: bool,
}

/// A write by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OriginWrite {
    /// Its id.
    pub write: WriteId,
    /// What it does; `null` if the ledger does not have the write any more, as it keeps writes for seven days.
    #[serde(default)]
    pub operation: Option<WriteOperation>,
    /// The name of the token.
    #[serde(default)]
    pub by: Option<String>,
    /// When the API accepted it; RFC 3339.
    #[serde(default)]
    pub at: Option<String>,
    /// The version of the definition in the configuration bucket, if that has versions.
    #[serde(default)]
    pub definition: Option<String>,
}

/// A job, and its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Source {
    /// The job.
    pub job: JobId,
    /// What the job processes.
    pub kind: OriginKind,
    /// Its state.
    pub state: JobState,
    /// When it was created; RFC 3339.
    pub created_at: String,
    /// Its object.
    pub object: OriginObject,
    /// The version of the definition in the configuration bucket, if that has versions.
    #[serde(default)]
    pub definition: Option<String>,
    /// The release of Landfall that planned the job. That of the worker is not kept.
    #[serde(default)]
    pub release: Option<String>,
    /// The chunk that has the record, from 0.
    #[serde(default)]
    pub chunk: Option<u32>,
    /// Line on which the record starts, from 1.
    #[serde(default)]
    pub line: Option<u64>,
    /// The record as it stands in the object.
    #[serde(default)]
    pub record: Option<OriginRecord>,
    /// Why there is no record.
    #[serde(default)]
    pub missing: Option<MissingRecord>,
}

/// What a job processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OriginKind {
    /// A file, or rows that were sent to the API.
    File,
    /// Dead chunks of another job, with a newer definition.
    DeadChunks,
    /// Fixed rejects of another job.
    FixedRejects,
}

/// The object of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OriginObject {
    /// Its key in the inbox.
    pub key: String,
    /// Its version there.
    #[serde(default)]
    pub version: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&ObjectRef> for OriginObject {
    fn from(object: &ObjectRef) -> Self {
        Self {
            key: object.key.clone(),
            version: object.version.clone(),
            size: object.size,
        }
    }
}

/// A record as it stands in an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OriginRecord {
    /// Its text, at most 16 KiB. Bytes that are not valid are replaced by U+FFFD. Of a fixed reject, this is its line.
    pub text: String,
    /// Length of its text in bytes; greater than that of `text` if that was cut.
    pub bytes: u64,
    /// What the definition of the job makes of it.
    pub outcome: Outcome,
    /// Why it is rejected.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a definition makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// A row.
    Row,
    /// A delete of its key.
    Delete,
    /// A reject.
    Reject,
}

/// Why the record of a job is not in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MissingRecord {
    /// This version of the object no longer exists, or in a bucket without versions, the object has changed.
    ObjectGone,
    /// The object is compressed, and its unpacked text has expired.
    TextExpired,
    /// The definition that the job was planned with no longer exists, or is invalid.
    DefinitionGone,
    /// The ledger has no chunk with this place: the release that planned the job did not record its chunks, or cut the
    /// object elsewhere.
    NoChunk,
    /// The chunk has no record that starts at this place.
    NoRecord,
    /// The object has too many fixed rejects to search for the record.
    TooLarge,
}

impl MissingRecord {
    /// Returns the reason, for people.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::ObjectGone => {
                "this version of the object no longer exists, or the object has changed"
            }
            Self::TextExpired => "the file is compressed, and its unpacked text has expired",
            Self::DefinitionGone => {
                "the definition that the job was planned with no longer exists, or is invalid"
            }
            Self::NoChunk => "the ledger has no chunk with this place",
            Self::NoRecord => "no record of the object starts at this place",
            Self::TooLarge => {
                "the object has too many fixed rejects to search: look for the offset in it"
            }
        }
    }
}
