//! Rejects: records that could not be ingested, with reason and position.

use std::mem::size_of;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The maximum number of bytes of a record that its reject repeats.
pub const MAX_RAW_BYTES: usize = 64 * 1024;

/// The memory in bytes after which the rejects of a chunk keep no records any more.
const MAX_RECORDS_BYTES: usize = 16 * 1024 * 1024;

/// Why a record was rejected. The text form is stable and meant for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RejectCode {
    /// The record has more or fewer cells than the header has columns.
    ColumnCount,
    /// A required field, or part of the key, is missing or null.
    Required,
    /// A value does not have the type of its field.
    Type,
    /// The key is longer than every store can index.
    KeyLength,
    /// The operation is neither a known delete nor a known upsert.
    Operation,
    /// The record has a column that no field of the dataset uses, and the dataset rejects such columns.
    UnknownColumn,
    /// The bytes are not UTF-8, or contain U+0000.
    Encoding,
    /// The record is longer than the dataset allows.
    RecordLength,
    /// A quoted cell is still open at the end of the object.
    UnclosedQuote,
    /// Text follows a closing quote. The record may contain others that the quotes have swallowed.
    TextAfterQuote,
    /// The record is not JSON, or not a JSON object.
    Json,
}

/// One line of a rejects object. After `raw` (or `record`) is fixed, it can be uploaded again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reject {
    /// Byte offset of the record in its object.
    pub offset: u64,
    /// Line on which the record starts, from 1.
    pub line: u64,
    /// Column or property whose value caused the reject, if a single one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The reason, for programs.
    pub code: RejectCode,
    /// The reason, for people. Quotes an excerpt of the value.
    pub message: String,
    /// The record as it appears in the object, at most 64 KiB. Bytes that are not UTF-8 are replaced
    /// by U+FFFD. Empty if the record is left out because its chunk has many rejects.
    pub raw: String,
    /// Length of the complete record in bytes; greater than that of `raw` if `raw` was cut or left out.
    pub raw_bytes: u64,
    /// The record by column name, if its cells or properties could be determined. It can be fixed and
    /// uploaded again as a line of NDJSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Map<String, Value>>,
}

impl Reject {
    /// Leaves the record out, and keeps place and reason.
    pub fn leave_out_record(&mut self) {
        self.raw = String::new();
        self.record = None;
        self.message
            .push_str(" (the record is left out: the rejects of its chunk are too large)");
    }

    /// Returns the approximate memory of the record in bytes.
    fn record_bytes(&self) -> usize {
        self.raw.len() + self.record.as_ref().map_or(0, object_bytes)
    }
}

/// The memory that the records of rejects may still use.
#[derive(Clone, Copy, Debug)]
pub struct RecordsBudget(usize);

impl Default for RecordsBudget {
    fn default() -> Self {
        Self(MAX_RECORDS_BYTES)
    }
}

impl RecordsBudget {
    /// Returns whether anything is left.
    pub fn is_left(self) -> bool {
        self.0 > 0
    }

    /// Leaves the record of a reject out if nothing is left for it, and for none after it.
    pub fn spend(&mut self, reject: &mut Reject) {
        self.0 = self.0.saturating_sub(reject.record_bytes());
        if !self.is_left() {
            reject.leave_out_record();
        }
    }
}

/// A vector of one value has room for four, and a node of a map for eleven.
const VALUES_AT_LEAST: usize = 4;
const ENTRIES_AT_LEAST: usize = 11;

fn object_bytes(object: &Map<String, Value>) -> usize {
    let entries = match object.len() {
        0 => 0,
        entries => entries.max(ENTRIES_AT_LEAST),
    };
    let contents = object
        .iter()
        .map(|(name, value)| name.len() + value_bytes(value));
    entries * (size_of::<String>() + size_of::<Value>()) + contents.sum::<usize>()
}

/// Returns the approximate memory of what a value points to.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(values) => {
            let room = match values.capacity() {
                0 => 0,
                room => room.max(VALUES_AT_LEAST),
            };
            room * size_of::<Value>() + values.iter().map(value_bytes).sum::<usize>()
        }
        Value::Object(object) => object_bytes(object),
    }
}
