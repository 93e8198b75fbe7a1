//! From the bytes of a chunk to rows and rejects.

use std::borrow::Cow;

use arcstr::ArcStr;
use landfall_domain::{
    Dataset, Field, FieldType, Format, MAX_KEY_BYTES, MAX_RAW_BYTES, Reject, RejectCode, Row, Text,
    Value, Values, excerpt,
};
use memchr::memchr_iter;

use crate::{Header, MAX_CHUNK_RECORDS, decode_csv, decode_json};

/// What a chunk held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The rows, in the order of the chunk.
    pub rows: Vec<Row>,
    /// The records that are none, in the order of the chunk.
    pub rejects: Vec<Reject>,
    /// Records in the chunk: rows and rejects together.
    pub records: u64,
}

/// Decodes a chunk that a [`Scanner`](crate::Scanner) planned.
///
/// `offset` and `first_line` are those of the chunk's first byte in its object. `header` is for CSV
/// and TSV; without one, the columns are the fields in order.
pub fn decode(
    dataset: &Dataset,
    format: Format,
    header: Option<&Header>,
    chunk: &[u8],
    offset: u64,
    first_line: u64,
) -> Decoded {
    let mut sink = Sink {
        chunk,
        offset,
        counted: 0,
        line: first_line,
        decoded: Decoded {
            rows: Vec::with_capacity(about_rows(format, chunk)),
            ..Decoded::default()
        },
    };
    match (format, header) {
        (Format::Csv | Format::Tsv, Some(header)) => {
            decode_csv::decode(dataset, format, header, &mut sink);
        }
        (Format::Csv | Format::Tsv, None) => {
            decode_csv::decode(dataset, format, &Header::without(dataset), &mut sink);
        }
        (Format::Ndjson, _) => decode_json::lines(dataset, &mut sink),
        (Format::Json, _) => decode_json::elements(dataset, &mut sink),
    }
    sink.decoded
}

/// About how many rows a chunk has, where that is soon said. To make room for more, again and again, takes longer.
fn about_rows(format: Format, chunk: &[u8]) -> usize {
    match format {
        Format::Csv | Format::Tsv | Format::Ndjson => {
            let lines = memchr_iter(b'\n', chunk).count() + 1;
            lines.min(usize::try_from(MAX_CHUNK_RECORDS).unwrap_or(usize::MAX))
        }
        Format::Json => 0,
    }
}

/// The reject of a record that is longer than its dataset allows.
///
/// `head` are its first bytes, `MAX_RAW_BYTES` of them or fewer; `raw_bytes` is the length of all.
pub fn oversize(head: &[u8], offset: u64, line: u64, raw_bytes: u64, limit: u64) -> Reject {
    Reject {
        offset,
        line,
        column: None,
        code: RejectCode::RecordLength,
        message: format!(
            "the record has {raw_bytes} bytes, more than the {limit} of limits.record_bytes"
        ),
        raw: raw_text(head, raw_bytes),
        raw_bytes,
        record: None,
    }
}

/// The record as a JSON object, for its reject.
pub(crate) type Record = serde_json::Map<String, serde_json::Value>;

/// Why a record is no row.
pub(crate) struct Fault {
    pub(crate) column: Option<String>,
    pub(crate) code: RejectCode,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn of_record(code: RejectCode, message: impl Into<String>) -> Self {
        Self {
            column: None,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn of_column(column: &str, code: RejectCode, message: impl Into<String>) -> Self {
        Self {
            column: Some(column.to_owned()),
            code,
            message: message.into(),
        }
    }
}

/// Where the records of a chunk go.
pub(crate) struct Sink<'c> {
    pub(crate) chunk: &'c [u8],
    offset: u64,
    /// Bytes of the chunk whose lines are in `line`; lines are only counted for rejects.
    counted: usize,
    line: u64,
    decoded: Decoded,
}

impl<'c> Sink<'c> {
    /// Adds the record that starts at byte `start` of the chunk.
    ///
    /// `raw` is the record as it stands there, which `fill` makes a row of where it can; `record` is asked only for a
    /// reject.
    pub(crate) fn push(
        &mut self,
        start: usize,
        raw: &'c [u8],
        fill: impl FnOnce(&mut Row) -> Result<(), Fault>,
        record: impl FnOnce() -> Option<Record>,
    ) {
        self.decoded.records += 1;
        let offset = self.offset + start as u64;
        // Filled where it stays: a row is long, and there are many.
        let row = self.decoded.rows.push_mut(Row {
            offset,
            deleted: false,
            values: Values::new(),
            extra: None,
        });
        let Err(fault) = fill(row) else {
            return;
        };
        self.decoded.rows.pop();
        let passed = &self.chunk[self.counted..start];
        self.line += memchr_iter(b'\n', passed).count() as u64;
        self.counted = start;
        // A reject stays small: what is cut in one form is left out in the other.
        let record = if raw.len() <= MAX_RAW_BYTES {
            record()
        } else {
            None
        };
        self.decoded.rejects.push(Reject {
            offset,
            line: self.line,
            column: fault.column,
            code: fault.code,
            message: fault.message,
            raw: raw_text(raw, raw.len() as u64),
            raw_bytes: raw.len() as u64,
            record,
        });
    }
}

/// The first bytes of a record of so many as text of at most [`MAX_RAW_BYTES`].
fn raw_text(raw: &[u8], raw_bytes: u64) -> String {
    let head = &raw[..raw.len().min(MAX_RAW_BYTES)];
    let text = match std::str::from_utf8(head) {
        // A character that only the cut made incomplete is no error of the record.
        Err(error) if raw_bytes > head.len() as u64 && error.error_len().is_none() => {
            String::from_utf8_lossy(&head[..error.valid_up_to()])
        }
        _ => String::from_utf8_lossy(head),
    };
    let mut text = text.into_owned();
    // U+FFFD takes more bytes than what it stands for.
    text.truncate(text.floor_char_boundary(MAX_RAW_BYTES));
    text
}

/// What a field's cell or property holds.
pub(crate) enum Source<'a> {
    /// There is none.
    Missing,
    /// A JSON null.
    Null,
    /// Text, which may stand for null.
    Text(Cow<'a, str>),
    /// Text without U+0000, which may stand for null, and the text of which it is a part.
    Part(&'a str, &'a ArcStr),
}

impl Source<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Missing | Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Part(text, _) => Some(text),
        }
    }
}

/// The value of a field.
pub(crate) fn field_value(field: &Field, source: &Source<'_>) -> Result<Value, Fault> {
    let value = match (source, source.text()) {
        (Source::Part(text, whole), _) if field.kind == FieldType::Text && !field.is_null(text) => {
            return Ok(Value::Text(Text::part(text, whole)));
        }
        (_, Some(text)) if !field.is_null(text) => {
            return field.parse(text).map_err(|error| {
                let code = if error.encoding {
                    RejectCode::Encoding
                } else {
                    RejectCode::Type
                };
                Fault::of_column(&field.column, code, error.to_string())
            });
        }
        (Source::Null, _) => Value::Null,
        _ => field.default.clone().unwrap_or(Value::Null),
    };
    if !field.required || !value.is_null() {
        return Ok(value);
    }
    let why = match (source, source.text()) {
        (_, Some(text)) => format!("{:?} means null", excerpt(text)),
        (Source::Null, _) => "the value is null".to_owned(),
        _ => "there is no value".to_owned(),
    };
    let message = format!("{why}, but {} is required", field.name);
    Err(Fault::of_column(
        &field.column,
        RejectCode::Required,
        message,
    ))
}

/// Whether the key is one that every store can index.
pub(crate) fn check_key(dataset: &Dataset, values: &[Value]) -> Result<(), Fault> {
    let bytes: usize = dataset
        .key_indexes()
        .iter()
        .map(|index| values[*index].key_bytes())
        .sum();
    if bytes <= MAX_KEY_BYTES {
        return Ok(());
    }
    let longest = dataset
        .key_indexes()
        .iter()
        .max_by_key(|index| values[**index].key_bytes());
    let (column, text) = match longest.map(|index| (&dataset.fields[*index], &values[*index])) {
        Some((field, Value::Text(text))) => (Some(field.column.clone()), excerpt(text)),
        _ => (None, String::new()),
    };
    Err(Fault {
        column,
        code: RejectCode::KeyLength,
        message: format!("the key has {bytes} bytes, more than {MAX_KEY_BYTES}: {text:?}"),
    })
}
