//! Decodes the bytes of a chunk into rows and rejects.

mod csv;
mod field;
mod json;
mod sink;

use landfall_domain::{Dataset, Format};
use memchr::memchr_iter;

use crate::header::Header;
use crate::scan::MAX_CHUNK_RECORDS;
use sink::Sink;

pub use sink::{Decoded, oversize};

/// Decodes a chunk that a [`Scanner`](crate::Scanner) planned.
///
/// `offset` and `first_line` are the position of the first byte in the object. `header` is for CSV and
/// TSV; without one, the columns are the fields in order.
pub fn decode(
    dataset: &Dataset,
    format: Format,
    header: Option<&Header>,
    chunk: &[u8],
    offset: u64,
    first_line: u64,
) -> Decoded {
    let mut sink = Sink::new(chunk, offset, first_line, estimated_rows(format, chunk));
    match (format, header) {
        (Format::Csv | Format::Tsv, Some(header)) => {
            csv::decode(dataset, format, header, &mut sink);
        }
        (Format::Csv | Format::Tsv, None) => {
            csv::decode(dataset, format, &Header::without(dataset), &mut sink);
        }
        (Format::Ndjson, _) => json::decode_lines(dataset, &mut sink),
        (Format::Json, _) => json::decode_elements(dataset, &mut sink),
    }
    sink.decoded
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
