//! Dead chunks: chunks that could not be processed, with place and reason.
//!
//! A chunk dies at once if retrying cannot help, and otherwise on the last delivery of its message. While a store is
//! down, it waits. Its rows may be in
//! some stores and missing in others. Uploading the object again repairs that, once the cause is removed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chunk::{ByteRange, ChunkMessage, first_attempt};

/// The maximum number of dead chunks of a job that are listed with place and reason. The others are counted by reason.
pub const MAX_LISTED: usize = 20;

/// The maximum length of a reason in characters.
const MAX_REASON_CHARS: usize = 300;

/// Why a chunk is dead. The text form is stable and meant for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeadCode {
    /// The object was deleted, or its unpacked text has expired.
    ObjectGone,
    /// A table or collection does not match the definition, or cannot hold a row this wide.
    SchemaMismatch,
    /// A store refused a row, and would refuse it again.
    StoreRefused,
    /// The worker found another number of records than the splitter.
    RecordCount,
    /// The header is not the one that the splitter read.
    HeaderMismatch,
    /// The definition that the job was planned with is gone or invalid.
    DefinitionGone,
    /// A reject could not be written.
    RejectInvalid,
    /// The worker panicked twice.
    Panicked,
    /// A store was down for longer than chunks wait.
    StoreDown,
    /// Every delivery failed with an error that another one might not have met.
    RetriesExhausted,
    /// The last attempt ended without a result: its worker ran out of memory or time, or could not reach the ledger.
    WorkerDied,
    /// The object is so old that deletes of its rows may be forgotten.
    TooOld,
    /// The job was cancelled before the chunk was processed.
    Cancelled,
    /// No worker recorded a result, although the message was sent again.
    Lost,
    /// The row of a write by the API does not fit its definition: another release has accepted it.
    RowRejected,
}

impl DeadCode {
    /// Returns the word used in JSON and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ObjectGone => "object_gone",
            Self::SchemaMismatch => "schema_mismatch",
            Self::StoreRefused => "store_refused",
            Self::RecordCount => "record_count",
            Self::HeaderMismatch => "header_mismatch",
            Self::DefinitionGone => "definition_gone",
            Self::RejectInvalid => "reject_invalid",
            Self::Panicked => "panicked",
            Self::StoreDown => "store_down",
            Self::RetriesExhausted => "retries_exhausted",
            Self::WorkerDied => "worker_died",
            Self::TooOld => "too_old",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::RowRejected => "row_rejected",
        }
    }
}

/// Cuts a long reason.
pub(crate) fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS - 1) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// A chunk that could not be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadChunk {
    /// Number of the chunk within the job, from 0.
    pub ordinal: u32,
    /// Its position in the object.
    pub range: ByteRange,
    /// Line of its first byte, from 1.
    pub first_line: u64,
    /// Why, for programs.
    pub code: DeadCode,
    /// Why, for people; at most 300 characters.
    pub reason: String,
    /// The attempt of the job in which it died, from 1.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
}

impl DeadChunk {
    /// Describes a chunk that died for this reason. A long reason is cut.
    pub fn new(chunk: &ChunkMessage, code: DeadCode, reason: impl Into<String>) -> Self {
        let reason = shortened(reason.into());
        Self {
            ordinal: chunk.ordinal,
            range: chunk.range,
            first_line: chunk.first_line,
            code,
            reason,
            attempt: chunk.attempt,
        }
    }
}

impl fmt::Display for DeadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "chunk {} (bytes {} to {}, from line {}): {}",
            self.ordinal, self.range.start, self.range.end, self.first_line, self.reason
        )
    }
}

/// The dead chunks of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadChunks {
    /// Their number by reason.
    #[serde(default)]
    pub by_code: BTreeMap<DeadCode, u32>,
    /// The first of them, at most 20.
    #[serde(default)]
    pub first: Vec<DeadChunk>,
}

impl DeadChunks {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty() && self.first.is_empty()
    }

    /// Returns them with at most so many listed.
    #[must_use]
    pub fn shortened(mut self, listed: usize) -> Self {
        self.first.truncate(listed);
        self
    }
}

impl std::ops::AddAssign for DeadChunks {
    /// Adds those of later chunks.
    fn add_assign(&mut self, other: Self) {
        for (code, count) in other.by_code {
            *self.by_code.entry(code).or_default() += count;
        }
        let room = MAX_LISTED.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}
