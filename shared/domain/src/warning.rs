//! Warnings: what may be wrong with a job although it succeeds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a warning is about. The text form is stable and meant for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WarningCode {
    /// A column looks like that of a field, but is not used.
    UnmatchedColumn,
    /// The object has no column for some fields.
    AbsentColumns,
    /// Fields have no value in any row.
    NullColumns,
    /// The definition does not say whether quotes enclose cells or are data.
    Quoting,
    /// Rows without any value were skipped.
    BlankRows,
    /// Repetitions of the header were skipped.
    RepeatedHeaders,
    /// Headers with other columns, or with the same ones in another order, were rejected.
    OtherHeaders,
    /// A stray quote may have swallowed rows.
    SwallowedRows,
    /// Byte order marks in the middle of the object were skipped.
    ByteOrderMarks,
    /// Rows were superseded by later rows of the same key and chunk.
    RepeatedKeys,
    /// Records were rejected because they are not valid in their encoding.
    InvalidText,
    /// Records are valid UTF-8, but are read in another encoding.
    Encoding,
    /// Values lost precision.
    TruncatedValues,
    /// Fixed rejects changed no row.
    UnchangedRejects,
    /// Bytes after the end of the compressed data were not read.
    TrailingBytes,
}

impl WarningCode {
    /// Returns the name used in JSON and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnmatchedColumn => "unmatched_column",
            Self::AbsentColumns => "absent_columns",
            Self::NullColumns => "null_columns",
            Self::Quoting => "quoting",
            Self::BlankRows => "blank_rows",
            Self::RepeatedHeaders => "repeated_headers",
            Self::OtherHeaders => "other_headers",
            Self::SwallowedRows => "swallowed_rows",
            Self::ByteOrderMarks => "byte_order_marks",
            Self::RepeatedKeys => "repeated_keys",
            Self::InvalidText => "invalid_text",
            Self::Encoding => "encoding",
            Self::TruncatedValues => "truncated_values",
            Self::UnchangedRejects => "unchanged_rejects",
            Self::TrailingBytes => "trailing_bytes",
        }
    }

    /// Returns the warning that this was counted.
    pub fn counted(self, count: u64) -> Warning {
        let message = match self {
            Self::BlankRows => format!("{count} rows without any value were skipped"),
            Self::RepeatedHeaders => format!("{count} records that repeat the header were skipped"),
            Self::ByteOrderMarks => format!(
                "{count} byte order marks in the middle of the file were skipped, as from files that were joined"
            ),
            Self::OtherHeaders => format!(
                "{count} records are headers with other columns, or in another order, as from files that were joined; \
                 upload the files one by one"
            ),
            Self::SwallowedRows => format!(
                "{count} rows have a quoted cell over several lines, each of which has the cells of a row: a stray \
                 quote may have swallowed rows; if so, double the quotes that are data, or set csv.quote = \"\" if \
                 all are"
            ),
            Self::Encoding => format!(
                "{count} rows are read in the encoding of the definition, but are valid UTF-8: if there are characters \
                 like Ã, remove encoding from the definition, or start the file with a byte order mark"
            ),
            Self::RepeatedKeys => format!(
                "at least {count} rows have the key of a later row of the file, which replaced them; if each should be \
                 a row, the key needs another field"
            ),
            Self::InvalidText => format!(
                "{count} rows were rejected because they are not UTF-8; if the file is in another encoding, set \
                 encoding in the definition, or save the file as UTF-8"
            ),
            Self::UnchangedRejects => format!(
                "{count} fixed records changed nothing, because they had become rows before, or the table already has \
                 their values; to change such a row again, upload it in a new file"
            ),
            Self::TrailingBytes => {
                format!(
                    "{count} bytes after the end of the compressed data were not read; check that the file is complete"
                )
            }
            Self::UnmatchedColumn
            | Self::AbsentColumns
            | Self::NullColumns
            | Self::Quoting
            | Self::TruncatedValues => {
                format!("{}: {count}", self.as_str())
            }
        };
        Warning::new(self, message)
    }
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What may be wrong with a job although it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobWarning))]
pub struct Warning {
    /// The warning, for programs.
    pub code: WarningCode,
    /// The warning, for people: what was found, and what to do if it is wrong.
    pub message: String,
}

impl Warning {
    /// Creates a warning.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
