//! Problems: why a job is not a plain success.
//!
//! A value that does not fit its field's type rejects its row, not the chunk or the object. A problem with the
//! object as a whole closes its job with a [`Problem`]. Its code determines the state of the job:
//!
//! | code | state |
//! |---|---|
//! | `unknown_dataset`, `bad_dataset`, `format_mismatch`, `header_mismatch`, `malformed`, `object_gone` | failed |
//! | `too_large`, `key_too_long`, `other_release`, `too_many_rejects`, `schema_mismatch`, `unknown_job` | failed |
//! | `dead_chunks` | partial |
//! | `cancelled` | cancelled |
//! | `empty_object`, `no_records`, `not_pruned`, `prune_held` | succeeded |
//!
//! CSV whose last quote is never closed is `malformed`, because everything after that quote would be one cell.
//!
//! If a job fails half-way, the rows it has already applied stay in the stores: each key has the greatest version
//! that was read. The completion event and the ledger report the failure. Nothing is rolled back, because newer
//! files may already build on these rows.

use serde::{Deserialize, Serialize};

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
    /// The header lacks columns that the dataset requires, or names one twice, or another header follows.
    HeaderMismatch,
    /// The content violates its format at some position; the records before it were ingested.
    Malformed,
    /// The object was deleted before it was read completely.
    ObjectGone,
    /// The object is larger, or has more chunks, than one job can process.
    TooLarge,
    /// The key of the object is longer than stores can index, and identifies the rows of the dataset.
    KeyTooLong,
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
    /// The splitter failed in every attempt.
    SplitFailed,
    /// Every attempt to delete the rows that a snapshot lacks failed.
    CloseFailed,
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
