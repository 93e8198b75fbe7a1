//! Rejects: rows that could not be taken, with reason and place.

use serde::{Deserialize, Serialize};

/// The most bytes of a record that its reject repeats.
pub const MAX_RAW_BYTES: usize = 64 * 1024;

/// Why a record was rejected. The text is stable and meant for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RejectCode {
    /// More or fewer cells than the header has columns.
    ColumnCount,
    /// A required field or part of the key is missing or null.
    Required,
    /// A value is not of its field's type.
    Type,
    /// The key is longer than stores can index.
    KeyLength,
    /// A column that the dataset does not name, where it rejects them.
    UnknownColumn,
    /// The bytes are not UTF-8, or hold U+0000.
    Encoding,
    /// The record is longer than the dataset allows.
    RecordLength,
    /// A quoted cell is still open at the end of the object.
    UnclosedQuote,
    /// The record is not JSON, or not a JSON object.
    Json,
}

/// One line of a rejects object. `raw` (or `record`) can be mended and dropped again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reject {
    /// Byte offset of the record in its object.
    pub offset: u64,
    /// Line on which the record starts, from 1.
    pub line: u64,
    /// Source column of the value at fault, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Why, for programs.
    pub code: RejectCode,
    /// Why, for people; quotes the value, cut short.
    pub message: String,
    /// The record as it stands in the object, at most 64 KiB; bytes that are not UTF-8
    /// are shown as U+FFFD.
    pub raw: String,
    /// Bytes of the whole record in the object; more than in `raw` where that was cut.
    pub raw_bytes: u64,
    /// The record by column name, where it could be told apart: a line that can be mended and
    /// dropped again as NDJSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A value for a message: at most 60 characters, with a mark where it was cut.
pub fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
