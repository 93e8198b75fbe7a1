//! Decodes the bytes of a chunk into rows and rejects.

mod columns;
mod csv;
mod exported;
mod field;
mod json;
mod record;
mod sink;

use landfall_domain::{Dataset, Encoding, Format, Reading, RejectCode, Row};
use memchr::memchr_iter;

use crate::csv::header::Header;
use crate::exported::in_file;
use crate::scan::MAX_CHUNK_RECORDS;
use crate::transcode::Transcoded;
use crate::written::WriteError;
use field::check_key;
use serde::de::IgnoredAny;
use sink::{Fault, Sink};

pub(crate) use json::{each_element, each_record};
pub use sink::{Decoded, Skipped, oversize};
pub(crate) use sink::{count_lines, raw_text};

/// Decodes a chunk that a [`Scanner`](crate::Scanner) planned.
///
/// `offset` and `first_line` are the position of the first byte in the object. `header` is for CSV and
/// TSV; without one, the columns are the fields in order.
pub fn decode(
    dataset: &Dataset,
    reading: &Reading,
    header: Option<&Header>,
    chunk: &[u8],
    offset: u64,
    first_line: u64,
) -> Decoded {
    let (stored, dataset) = (dataset, &*in_file(dataset, reading));
    let raw = chunk;
    let transcoded =
        (reading.encoding != Encoding::UTF_8).then(|| Transcoded::new(reading.encoding, chunk));
    let chunk = transcoded.as_ref().map_or(chunk, |it| it.text.as_bytes());
    let rows = estimated_rows(reading.format, chunk);
    let mut sink = Sink::new(reading.format, chunk, offset, first_line, rows);
    sink.transcoded = transcoded.as_ref();
    match (reading.format, header) {
        (Format::Csv | Format::Tsv, Some(header)) => {
            csv::decode(dataset, reading, header, &mut sink);
        }
        (Format::Csv | Format::Tsv, None) => {
            csv::decode(dataset, reading, &Header::without(dataset), &mut sink);
        }
        (Format::Ndjson, _) => match &reading.rejects_of {
            None => json::decode_lines(dataset, reading.is_exported, &mut sink),
            Some(origin) => json::decode_fixed(stored, origin, &mut sink),
        },
        (Format::Json, _) => json::decode_elements(dataset, reading.is_exported, &mut sink),
    }
    let is_other = reading.encoding != Encoding::UTF_8 && !reading.encoding.is_utf_16();
    if is_other && !raw.is_ascii() && std::str::from_utf8(raw).is_ok() {
        sink.decoded.utf8 = sink.decoded.records - sink.decoded.skipped.records();
    }
    sink.decoded
}

/// Decodes a JSON object that is one row of a file with this dataset.
pub(crate) fn decode_one(
    dataset: &Dataset,
    reading: &Reading,
    json: &str,
) -> Result<Row, WriteError> {
    let (bytes, limit) = (json.len() as u64, dataset.limits.record_bytes);
    if bytes > limit {
        let reject = oversize(json.as_bytes(), Format::Json, (0, 1), bytes, limit);
        return Err(Fault::in_record(reject.code, reject.message).into());
    }
    let not_one = |reason: &dyn std::fmt::Display| {
        let message = format!("the row must be one JSON object: {reason}");
        WriteError::from(Fault::in_record(RejectCode::Json, message))
    };
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| not_one(&error))?;
    if !json.trim_start().starts_with('{') {
        return Err(not_one(&"it is another value"));
    }
    let mut sink = Sink::new(Format::Json, json.as_bytes(), 0, 1, 1);
    json::decode_elements(dataset, reading.is_exported, &mut sink);
    let Decoded { rows, rejects, .. } = sink.decoded;
    if let Some(reject) = rejects.into_iter().next() {
        return Err(WriteError::Rejected {
            column: reject.column,
            code: reject.code,
            message: reject.message,
        });
    }
    rows.into_iter()
        .next()
        .ok_or_else(|| not_one(&"it has no values"))
}

/// Checks the key of a row that is deleted.
pub(crate) fn deleted(dataset: &Dataset, row: Row) -> Result<Row, WriteError> {
    check_key(dataset, &row.values)?;
    Ok(row)
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Rejected {
            column: fault.column,
            code: fault.code,
            message: fault.message,
        }
    }
}

/// Returns about how many rows a chunk contains, if that can be estimated quickly, because growing the
/// list of rows repeatedly is slower. Otherwise returns 0.
fn estimated_rows(format: Format, chunk: &[u8]) -> usize {
    match format {
        Format::Csv | Format::Tsv | Format::Ndjson => {
            let lines = memchr_iter(b'\n', chunk).count() + 1;
            usize::try_from(MAX_CHUNK_RECORDS).map_or(lines, |most| lines.min(most))
        }
        Format::Json => 0,
    }
}
