//! Collects the rows and rejects of a chunk.

use std::collections::BTreeMap;
use std::fmt::Display;

use landfall_domain::{
    FixedReject, Format, MAX_RAW_BYTES, Record, RecordsBudget, Reject, RejectCode, RejectsOrigin,
    Row, Values, excerpt,
};
use memchr::memchr_iter;

use crate::transcode::Transcoded;

/// The content of a chunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The rows, in the order of the chunk.
    pub rows: Vec<Row>,
    /// The rejected records, in the order of the chunk.
    pub rejects: Vec<Reject>,
    /// Number of records in the chunk: rows, rejects, and skipped records together.
    pub records: u64,
    /// What was skipped.
    pub skipped: Skipped,
    /// Number of rejected records that are headers with other columns.
    pub other_headers: u64,
    /// Number of records in which a stray quote may have swallowed others.
    pub swallowed: u64,
    /// Number of rejected records whose bytes are not valid in their encoding.
    pub invalid_text: u64,
    /// Number of records that are valid UTF-8, but are read in another encoding.
    pub utf8: u64,
    /// For each field, by its index, with values that lost precision, the number of these values.
    pub truncated: BTreeMap<usize, u64>,
}

/// What is neither a row nor a reject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Records whose cells are all empty.
    pub blank_rows: u64,
    /// Records that repeat the header, or one of several that form it.
    pub repeated_headers: u64,
    /// Byte order marks, which are no records.
    pub byte_order_marks: u64,
}

impl std::ops::AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.blank_rows += other.blank_rows;
        self.repeated_headers += other.repeated_headers;
        self.byte_order_marks += other.byte_order_marks;
    }
}

impl Skipped {
    /// Returns the number of skipped records.
    pub fn records(&self) -> u64 {
        self.blank_rows + self.repeated_headers
    }
}

/// Why a record is rejected.
pub(super) struct Fault {
    pub(super) column: Option<String>,
    pub(super) code: RejectCode,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn in_record(code: RejectCode, message: impl Into<String>) -> Self {
        Self {
            column: None,
            code,
            message: message.into(),
        }
    }

    /// The message begins with the name of the column.
    pub(super) fn in_column(column: &str, code: RejectCode, message: impl Display) -> Self {
        Self {
            column: Some(column.to_owned()),
            code,
            message: format!("column {:?}: {message}", excerpt(column)),
        }
    }

    pub(super) fn other_header() -> Self {
        Self::in_record(
            RejectCode::Header,
            "the record is a header with other columns, or in another order, or follows one: upload files that were \
             joined one by one",
        )
    }

    pub(super) fn not_utf8() -> Self {
        Self::in_record(
            RejectCode::Encoding,
            "the record is not UTF-8; set encoding in the definition, or save the file as UTF-8",
        )
    }

    fn not_in_encoding() -> Self {
        Self::in_record(
            RejectCode::Encoding,
            "the record is not valid in the encoding of the file; check encoding in the definition",
        )
    }

    pub(super) fn zero_character() -> Self {
        Self::in_record(
            RejectCode::Encoding,
            "the record contains U+0000, which databases do not accept; remove it",
        )
    }
}

/// Collects the rows and rejects of one chunk.
pub(super) struct Sink<'c> {
    pub(super) chunk: &'c [u8],
    format: Format,
    offset: u64,
    /// Number of bytes of the chunk whose line ends are included in `line`. Lines are counted for rejects only.
    counted: usize,
    line: u64,
    /// Where the characters of the chunk are in the object, if it is not in UTF-8.
    pub(super) transcoded: Option<&'c Transcoded>,
    /// The fields of the current record whose values lost precision.
    truncated: Vec<usize>,
    /// The memory that is left for the records of rejects.
    budget: RecordsBudget,
    pub(super) decoded: Decoded,
}

impl<'c> Sink<'c> {
    /// Creates a sink for a chunk at this offset and line of its object, with room for a number of rows.
    pub(super) fn new(
        format: Format,
        chunk: &'c [u8],
        offset: u64,
        first_line: u64,
        rows: usize,
    ) -> Self {
        Self {
            chunk,
            format,
            offset,
            counted: 0,
            line: first_line,
            transcoded: None,
            truncated: Vec::new(),
            budget: RecordsBudget::default(),
            decoded: Decoded {
                rows: Vec::with_capacity(rows),
                ..Decoded::default()
            },
        }
    }

    /// Adds the record that starts at byte `start` of the chunk.
    ///
    /// `raw` is the record as it appears in the chunk. `fill` stores its values in a row, and lists the fields whose
    /// values lost precision, or returns why the record is rejected. `record` is called for rejects only.
    pub(super) fn push(
        &mut self,
        start: usize,
        raw: &'c [u8],
        fill: impl FnOnce(&mut Row, &mut Vec<usize>) -> Result<(), Fault>,
        record: impl FnOnce() -> Option<Record>,
    ) {
        self.decoded.records += 1;
        let position = self.transcoded.map_or(start, |it| it.raw_position(start));
        let offset = self.offset + position as u64;
        // Filled in place, because rows are large and numerous.
        let row = self.decoded.rows.push_mut(Row {
            offset,
            deleted: false,
            values: Values::new(),
            extra: None,
            parts: None,
        });
        let is_valid = self
            .transcoded
            .is_none_or(|it| it.is_valid(start, raw.len()));
        let filled = if is_valid {
            fill(row, &mut self.truncated)
        } else {
            Err(Fault::not_in_encoding())
        };
        let Err(fault) = filled else {
            for field in self.truncated.drain(..) {
                *self.decoded.truncated.entry(field).or_default() += 1;
            }
            return;
        };
        self.truncated.clear();
        if fault.code == RejectCode::Encoding && (!is_valid || std::str::from_utf8(raw).is_err()) {
            self.decoded.invalid_text += 1;
        }
        self.decoded.rows.pop();
        let passed = &self.chunk[self.counted..start];
        self.line += count_lines(self.format, passed);
        self.counted = start;
        // Rejects stay small: a record that is cut in `raw` is left out here.
        let record = if raw.len() <= MAX_RAW_BYTES && self.budget.is_left() {
            record()
        } else {
            None
        };
        let mut reject = Reject {
            job: None,
            format: self.format,
            offset,
            line: self.line,
            column: fault.column,
            code: fault.code,
            message: fault.message,
            raw: raw_text(raw, raw.len() as u64),
            raw_bytes: raw.len() as u64,
            record,
        };
        self.budget.spend(&mut reject);
        self.decoded.rejects.push(reject);
    }

    /// Adds a fixed record, which is a part of the line that starts at byte `start` of the chunk. It keeps the place
    /// that it had in its own object.
    pub(super) fn push_fixed(
        &mut self,
        start: usize,
        (fixed, origin): (&FixedReject<'c>, &RejectsOrigin),
        fill: impl FnOnce(&mut Row, &mut Vec<usize>) -> Result<(), Fault>,
    ) {
        let (rows, text) = (self.decoded.rows.len(), fixed.record());
        let record = || Record::new(text.to_owned());
        self.push(start, text.as_bytes(), fill, record);
        let Decoded {
            rows: all, rejects, ..
        } = &mut self.decoded;
        if let Some(row) = all.get_mut(rows) {
            row.offset = fixed.offset;
        } else if let Some(reject) = rejects.last_mut() {
            reject.job = Some(origin.job);
            reject.format = fixed.format.unwrap_or(self.format);
            reject.offset = fixed.offset;
            reject.line = fixed.line;
        }
    }
}

/// Returns the number of line ends.
pub(crate) fn count_lines(format: Format, bytes: &[u8]) -> u64 {
    let mut ends = memchr_iter(b'\n', bytes).count();
    // CR ends a line of CSV, too.
    if matches!(format, Format::Csv | Format::Tsv) {
        let returns = memchr_iter(b'\r', bytes);
        ends += returns
            .filter(|at| bytes.get(at + 1) != Some(&b'\n'))
            .count();
    }
    ends as u64
}

/// Returns the reject of a record that is longer than its dataset allows.
///
/// `head` contains its first bytes, up to `MAX_RAW_BYTES`. `raw_bytes` is the length of the complete record.
pub fn oversize(
    head: &[u8],
    format: Format,
    (offset, line): (u64, u64),
    raw_bytes: u64,
    limit: u64,
) -> Reject {
    let hint = if head.trim_ascii_start().starts_with(b"{") {
        "; if it is a document that contains the rows, set json.path"
    } else {
        ""
    };
    Reject {
        job: None,
        format,
        offset,
        line,
        column: None,
        code: RejectCode::RecordLength,
        message: format!(
            "the record has {raw_bytes} bytes, more than the {limit} of limits.record_bytes{hint}"
        ),
        raw: raw_text(head, raw_bytes),
        raw_bytes,
        record: None,
    }
}

/// Returns the first [`MAX_RAW_BYTES`] of a record of `raw_bytes` bytes as text.
pub(crate) fn raw_text(raw: &[u8], raw_bytes: u64) -> String {
    let head = &raw[..raw.len().min(MAX_RAW_BYTES)];
    let text = match std::str::from_utf8(head) {
        // The cut split the last character, which is no error of the record.
        Err(error) if raw_bytes > head.len() as u64 && error.error_len().is_none() => {
            String::from_utf8_lossy(&head[..error.valid_up_to()])
        }
        _ => String::from_utf8_lossy(head),
    };
    let mut text = text.into_owned();
    // U+FFFD takes more bytes than the byte it replaces.
    text.truncate(text.floor_char_boundary(MAX_RAW_BYTES));
    text
}
