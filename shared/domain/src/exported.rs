//! Rows as the API writes them to CSV and NDJSON, so that a file can be edited and uploaded again.
//!
//! Such files have the names and the notation of the API, whatever the definition says about files: they have commas,
//! names of fields, ISO 8601, and null where a cell is empty. They are recognized by the column [`EXPORT_MARKER`].
//! Texts start with an apostrophe where a spreadsheet would otherwise change or drop them; see [`escapes_text`].

use crate::dataset::{CsvOptions, Dataset, Field, JsonOptions, UnknownColumns};
use crate::encoding::Encoding;
use crate::value::{FieldType, Notation};

/// Name of the column that marks rows of the API. No field can have it.
pub const EXPORT_MARKER: &str = "_landfall";
/// Name of the column with everything that belongs to no field.
pub const EXTRA_COLUMN: &str = "_extra";

/// Returns whether a text of a cell needs an apostrophe before it: a spreadsheet could interpret it as a formula, or it
/// is empty, which is null without one, or it has one. A byte order mark at the start of a record would be skipped.
pub fn escapes_text(text: &str) -> bool {
    text.is_empty() || text.starts_with(['\'', '\u{feff}']) || is_formula(text)
}

/// Returns whether a spreadsheet could interpret a text as a formula.
pub fn is_formula(text: &str) -> bool {
    const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    // A sign and digits are a number, not a formula; sums are such texts.
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or_default();
    let is_number = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.starts_with(STARTS) && !is_number
}

impl Dataset {
    /// Returns the dataset as its rows are written by the API. After its fields, it has one for unknown columns, if it
    /// keeps them, and one for the marker.
    #[must_use]
    pub fn of_exports(&self) -> Self {
        let fields = self.fields.iter().map(|field| Field {
            default: None,
            column: field.name.clone(),
            position: None,
            nulls: match field.kind {
                FieldType::Text | FieldType::Json => Vec::new(),
                _ => vec![String::new()],
            },
            notation: Notation::default(),
            ..field.clone()
        });
        let extra = (self.unknown_columns == UnknownColumns::Keep)
            .then(|| Field::new(EXTRA_COLUMN, FieldType::Json));
        let marker = Field::new(EXPORT_MARKER, FieldType::Text);
        let added = extra.into_iter().chain([marker]).map(|field| Field {
            nulls: Vec::new(),
            ..field
        });
        Self {
            format: None,
            encoding: Encoding::UTF_8,
            unknown_columns: UnknownColumns::Reject,
            csv: CsvOptions {
                flexible: true,
                ..CsvOptions::default()
            },
            json: JsonOptions::default(),
            operation: None,
            fields: fields.chain(added).collect(),
            ..self.clone()
        }
    }
}
