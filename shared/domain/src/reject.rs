//! Rejects: records that could not be ingested, with reason and position.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dataset::Format;
use crate::job::JobId;

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
    /// The record is a header with other columns than those of the file, or follows one.
    Header,
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
    /// A line of fixed rejects does not say where its record is, or has no record.
    Place,
}

/// The text of a JSON object on one line. Numbers are as they were written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(Box<RawValue>);

impl Record {
    /// Returns the record with this text, or `None` if that is not JSON.
    pub fn new(json: String) -> Option<Self> {
        RawValue::from_string(json).ok().map(Self)
    }

    /// Returns the text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// One line of a rejects object. After `record` is fixed, the line can be handed in again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reject {
    /// The job whose object has the record, if not that of the reject: the record was fixed and rejected again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Format of the object.
    pub format: Format,
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
    /// The record by column name, if its cells or properties could be determined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>))]
    pub record: Option<Record>,
}

impl Reject {
    /// Leaves the record out, and keeps place and reason.
    pub fn leave_out_record(&mut self) {
        self.raw = String::new();
        self.record = None;
        self.message
            .push_str(" (the record is left out: the rejects of its chunk are too large)");
    }

    /// Returns the memory of the record in bytes.
    fn record_bytes(&self) -> usize {
        self.raw.len() + self.record.as_ref().map_or(0, |record| record.get().len())
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
