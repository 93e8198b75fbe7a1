//! Chunks: the pieces of an object that workers take, and the message that carries one.

use serde::{Deserialize, Serialize};

use crate::{DatasetRef, Format, JobId, ObjectOrder, ObjectRef};

/// Bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// Whole records, each at most as long as the dataset allows.
    #[default]
    Records,
    /// One record that is longer than the dataset allows: a reject, read only in part.
    Oversize,
}

/// A message of the chunk queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WorkMessage {
    /// A chunk to take.
    Chunk(Box<ChunkMessage>),
    /// A job to close, all of whose chunks are taken: for what only a worker can do at the close.
    Close {
        /// The job.
        close: JobId,
    },
}

/// Where a chunk is, never its rows.
///
/// It has all that a worker needs but the dataset's definition and the bytes themselves, so that
/// taking a chunk costs no read of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// The job it belongs to.
    pub job: JobId,
    /// Its number in the job, from 0.
    pub ordinal: u32,
    /// The pinned object version.
    pub object: ObjectRef,
    /// The definition that the splitter planned with.
    pub dataset: DatasetRef,
    /// Format of the object.
    pub format: Format,
    /// Order of the object, for the versions of its rows.
    pub order: ObjectOrder,
    /// Where it is in the object; whole records only.
    pub range: ByteRange,
    /// Line of its first byte, from 1; lines end in LF.
    pub first_line: u64,
    /// Records in it, as the splitter counted them.
    pub records: u64,
    /// Where the header record is, for CSV with a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ByteRange>,
    /// What it holds.
    #[serde(default)]
    pub kind: ChunkKind,
}
