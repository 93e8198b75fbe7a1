//! How files of a dataset are written, and what is done with their rows.

use serde::{Deserialize, Serialize};

use crate::value::is_same_word;

/// Format of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Format {
    /// Comma-separated values, or as the CSV options of the dataset say.
    Csv,
    /// Tab-separated values, quoted like CSV.
    Tsv,
    /// JSON objects, one or more per line.
    Ndjson,
    /// A JSON array, a JSON document with an array at a path, or JSON objects that take several lines.
    Json,
}

impl Format {
    /// Returns the word used in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
        }
    }
}

/// How CSV and TSV files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the settings are independent"
)]
pub struct CsvOptions {
    /// Text between cells, 1 to 8 bytes; by default a comma, or a tab for TSV.
    pub delimiter: Option<String>,
    /// The quote around cells that contain delimiters, quotes or newlines.
    pub quote: Quote,
    /// Byte that makes the next byte of a cell data, instead of or beside the doubling of quotes.
    pub escape: Option<u8>,
    /// Whether text after a closing quote belongs to the cell. Otherwise such a record is rejected.
    pub lenient: bool,
    /// Byte that starts a line to skip.
    pub comment: Option<u8>,
    /// Whether spaces and tabs around cells, and around their quotes, are ignored.
    pub trim: bool,
    /// Whether missing trailing cells are null and empty surplus ones are ignored.
    pub flexible: bool,
    /// Whether an empty cell in quotes is an empty text, and never null.
    pub quoted_empty: bool,
    /// Number of lines to skip at the start.
    pub skip_lines: u32,
    /// Number of records that name the columns; without any, the columns are the fields in order.
    pub header_records: u32,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: Quote::Usual,
            escape: None,
            lenient: false,
            comment: None,
            trim: false,
            flexible: false,
            quoted_empty: false,
            skip_lines: 0,
            header_records: 1,
        }
    }
}

/// The quote of CSV and TSV files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quote {
    /// `"`; in TSV files whose content contradicts that, none.
    #[default]
    Usual,
    /// Quotes are data.
    None,
    /// This byte, doubled inside a cell.
    Byte(u8),
}

/// Where the rows are in a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Names of the properties that lead from the root to the array; empty if the root is the array.
    pub path: Vec<String>,
}

/// What happens to columns that belong to no field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownColumns {
    /// They are kept together in one JSON column, `_extra`.
    #[default]
    Keep,
    /// They are dropped.
    Drop,
    /// A CSV or TSV file that has them is refused; in JSON and NDJSON, only the row is rejected.
    Reject,
}

/// How the rows of a file relate to those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Mode {
    /// A file holds some of the rows. Keys that it lacks stay in the table.
    #[default]
    Upsert,
    /// A file holds all rows. Keys that a complete file lacks are deleted once its job succeeds.
    Snapshot,
    /// A file holds some columns of some of the rows. Keys and columns that it lacks keep what the table has.
    Merge,
}

/// How a row says whether its key is deleted. Values are compared without case and surrounding white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The column or property that contains the operation. It is found like that of a field.
    pub column: String,
    /// Number of the column or value, from 1.
    pub position: Option<u32>,
    /// Its values that mean a delete.
    pub deletes: Vec<String>,
    /// Its values that mean an upsert. The empty text stands for an absent value and null, too.
    pub upserts: Vec<String>,
}

impl Operation {
    /// Returns the operation of a column with the usual values.
    pub(crate) fn usual(column: String) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            column,
            position: None,
            deletes: owned(&["delete", "d"]),
            upserts: owned(&["upsert", "insert", "update", "i", "u", "c", "r", ""]),
        }
    }

    /// Returns whether this value of the column means a delete, or `None` if it is not a known one.
    pub fn is_delete(&self, text: &str) -> Option<bool> {
        let is_one_of = |words: &[String]| words.iter().any(|word| is_same_word(word, text));
        if is_one_of(&self.deletes) {
            return Some(true);
        }
        is_one_of(&self.upserts).then_some(false)
    }
}

/// Limits of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The maximum number of bytes in a record, from 16 bytes to 8 MiB; 1 MiB by default. Longer
    /// records become rejects.
    pub record_bytes: u64,
    /// How many rejects a job may have.
    pub rejects: RejectLimits,
}

/// How many rejects a job may have before it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RejectLimits {
    /// The maximum number of rejects.
    pub count: Option<u64>,
    /// The maximum share of rejects among the rows, from 0 to 1. Without both limits, it is a tenth from 100 rows on,
    /// and one row must be left.
    pub share: Option<f64>,
    /// Whether a job with warnings fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warnings_fail: bool,
}

impl RejectLimits {
    /// Returns whether a job with this many rows has too many rejects.
    pub fn exceeded(&self, rows: u64, rejected: u64) -> bool {
        debug_assert!(rejected <= rows, "{rejected} of {rows} rows were rejected");
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let share = || rejected as f64 / rows.max(1) as f64;
        let exceeds_count = self.count.is_some_and(|limit| rejected > limit);
        let exceeds_share = if let Some(limit) = self.share {
            share() > limit
        } else {
            // A file without one valid row is most likely the wrong file.
            let is_tenth = self.count.is_none() && rows >= 100 && rejected * 10 > rows;
            is_tenth || (rejected > 0 && rejected == rows)
        };
        exceeds_count || exceeds_share
    }
}
