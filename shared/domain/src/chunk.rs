//! Chunks, the parts of an object that workers process, and the queue messages that describe them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::dataset::{DatasetRef, Format};
use crate::encoding::Encoding;
use crate::fixed::RejectsOrigin;
use crate::job::{JobId, ObjectRef};
use crate::packed::{Content, Packed};
use crate::reject::MAX_RAW_BYTES;
use crate::version::ObjectOrder;

/// The bytes from `start` up to, but not including, `end`.
///
/// Deserializing a range whose end lies before its start is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Range<u64>")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl TryFrom<Range<u64>> for ByteRange {
    type Error = String;

    fn try_from(Range { start, end }: Range<u64>) -> Result<Self, String> {
        if end < start {
            return Err(format!("a byte range starts at {start} but ends at {end}"));
        }
        Ok(Self { start, end })
    }
}

impl ByteRange {
    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        debug_assert!(self.start <= self.end, "{self:?} ends before it starts");
        self.end.saturating_sub(self.start)
    }

    /// Returns whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a chunk contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// Complete records, none longer than the dataset allows.
    #[default]
    Records,
    /// One record that is longer than the dataset allows. It becomes a reject, and only its beginning is read.
    Oversize,
}

/// A chunk as the splitter plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChunk {
    /// From the first byte of the first record to the last byte of the last record. The terminator or
    /// comma after that is not included, nor is anything else between chunks.
    pub range: ByteRange,
    /// Line of the first byte, from 1. Lines end in LF, CR, or both.
    pub first_line: u64,
    /// Number of records.
    pub records: u64,
    /// What the chunk contains.
    pub kind: ChunkKind,
}

impl PlannedChunk {
    /// Returns the bytes to read and decode: only the first ones of a record that is over the size limit.
    pub fn bytes(&self) -> ByteRange {
        let mut range = self.range;
        if self.kind == ChunkKind::Oversize {
            range.end = range.end.min(range.start + MAX_RAW_BYTES as u64);
        }
        range
    }
}

/// How an object is read, as decided once from its name and its first bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Format of the object.
    pub format: Format,
    /// Encoding of the object.
    #[serde(default, skip_serializing_if = "is_utf_8")]
    pub encoding: Encoding,
    /// The delimiter that a first line like `sep=;` sets, or with which a spreadsheet has saved a file of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Whether quotes are data, although the definition does not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unquoted: bool,
    /// Whether the API has written the object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_exported: bool,
    /// The job whose fixed rejects the object holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects_of: Option<RejectsOrigin>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_utf_8(encoding: &Encoding) -> bool {
    *encoding == Encoding::UTF_8
}

impl From<Format> for Reading {
    fn from(format: Format) -> Self {
        Self {
            format,
            encoding: Encoding::UTF_8,
            delimiter: None,
            unquoted: false,
            is_exported: false,
            rejects_of: None,
        }
    }
}

/// The location of a chunk, without its rows.
///
/// The message holds everything a worker needs except the dataset's definition and the bytes
/// themselves. The worker reads the job from the ledger only to find out whether it is cancelled or redriven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// Job that the chunk belongs to.
    pub job: JobId,
    /// Number of the chunk within the job, from 0.
    pub ordinal: u32,
    /// The pinned object version.
    pub object: ObjectRef,
    /// Where the text of the object is, if it is packed. All positions are those of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
    /// The definition that the splitter planned with.
    pub dataset: DatasetRef,
    /// How the object is read.
    #[serde(flatten)]
    pub reading: Reading,
    /// Order of the object, from which the versions of its rows follow.
    pub order: ObjectOrder,
    /// Position in the object; contains complete records only.
    pub range: ByteRange,
    /// Line of the first byte, from 1. Lines end in LF, CR or both.
    pub first_line: u64,
    /// Number of records, as counted by the splitter.
    pub records: u64,
    /// Position of the header record, for CSV with a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ByteRange>,
    /// What the chunk contains.
    #[serde(default)]
    pub kind: ChunkKind,
    /// The attempt of the job that the message belongs to, from 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
}

impl ChunkMessage {
    /// Returns the text that the chunk is a part of.
    pub fn content(&self) -> Content<'_> {
        Content {
            object: &self.object,
            packed: self.packed.as_ref(),
        }
    }
}

/// Returns the number of the first attempt of a job.
pub(crate) fn first_attempt() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_first_attempt(attempt: &u32) -> bool {
    *attempt == first_attempt()
}

#[cfg(test)]
mod tests {
    use super::ByteRange;

    #[test]
    fn a_range_that_ends_before_it_starts_is_not_deserialized() {
        let range: ByteRange = serde_json::from_str(r#"{"start":2,"end":2}"#).unwrap();
        assert!(range.is_empty());
        let error = serde_json::from_str::<ByteRange>(r#"{"start":3,"end":2}"#).unwrap_err();
        assert!(error.to_string().contains("starts at 3 but ends at 2"));
    }
}
