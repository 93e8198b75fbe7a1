//! Checks scanner and decoder against parsers that read all bytes at once: `serde_json`, and one of CSV.
//! Shared by property tests and fuzz targets.

mod delimited;
mod json;

use landfall_domain::{
    ChunkKind, CsvOptions, Dataset, Format, PlannedChunk, Problem, Reading, Reject, Row,
};
use landfall_formats::{Scanner, Summary, decode};

/// How to read some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) format: Format,
    pub(crate) csv: CsvOptions,
    pub(crate) path: Vec<String>,
    pub(crate) record_bytes: u64,
    pub(crate) chunk_bytes: u64,
    /// Lengths of the pieces fed to the scanner, repeated until the end.
    pub(crate) pieces: Vec<usize>,
}

impl Setup {
    fn reading(&self) -> Reading {
        Reading::from(self.format)
    }

    /// Returns the dataset with these settings.
    fn dataset(&self, template: &Dataset) -> Dataset {
        let mut dataset = template.clone();
        dataset.csv = self.csv.clone();
        dataset.json.path.clone_from(&self.path);
        dataset.limits.record_bytes = self.record_bytes;
        dataset
    }
}

/// Returns a dataset with the key `k`, which may have a default, and a field beside it.
fn template(default: &str, field: &str) -> Dataset {
    let key = format!("{{ name = \"k\", type = \"text\"{default} }}");
    let text = format!("name = \"d\"\nkey = [\"k\"]\nnulls = []\nfields = [{key}, {field}]");
    Dataset::from_toml("oracle.toml", &text).unwrap()
}

/// Panics if the records of `data` are not those that the oracle finds.
pub(crate) fn check(setup: &Setup, data: &[u8]) {
    match setup.format {
        Format::Csv | Format::Tsv => delimited::check(setup, data),
        Format::Ndjson => json::check_lines(setup, data),
        Format::Json => json::check_document(setup, data),
    }
}

/// The outcome of one record.
#[derive(Debug)]
enum Outcome {
    Row(Row),
    Reject(Reject),
    /// A record that is longer than allowed, with its range.
    Oversize(u64, u64),
}

impl Outcome {
    fn offset(&self) -> u64 {
        match self {
            Self::Row(row) => row.offset,
            Self::Reject(reject) => reject.offset,
            Self::Oversize(start, _) => *start,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Scan {
    chunks: Vec<PlannedChunk>,
    end: Result<Summary, Problem>,
}

/// Scans in one go, and with another scanner for each piece, which must find the same.
fn scan(setup: &Setup, dataset: &Dataset, data: &[u8]) -> Scan {
    let scanned = scan_in(setup, dataset, data, |scanner| scanner);
    let resumed = scan_in(setup, dataset, data, |scanner| {
        let state = serde_json::to_string(&scanner.state()).unwrap();
        let state = serde_json::from_str(&state).unwrap();
        Scanner::resume(dataset, &setup.reading(), setup.chunk_bytes, state).unwrap()
    });
    assert_eq!(scanned, resumed);
    scanned
}

fn scan_in(
    setup: &Setup,
    dataset: &Dataset,
    data: &[u8],
    between: impl Fn(Scanner) -> Scanner,
) -> Scan {
    let mut scanner = Scanner::new(dataset, &setup.reading(), setup.chunk_bytes);
    let mut chunks = Vec::new();
    let mut rest = data;
    for piece in setup.pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, next) = rest.split_at(rest.len().min((*piece).max(1)));
        rest = next;
        if let Err(problem) = scanner.feed(piece, &mut chunks) {
            return Scan {
                chunks,
                end: Err(problem),
            };
        }
        scanner = between(scanner);
    }
    let header = scanner.header();
    let end = scanner.finish(&mut chunks);
    if let Ok(summary) = &end {
        assert!(header.is_none() || header == summary.header);
        let planned: u64 = chunks.iter().map(|chunk| chunk.records).sum();
        assert_eq!(summary.records, planned);
    }
    Scan { chunks, end }
}

/// Decodes every chunk, checks the invariants of chunks, and returns all records in order.
fn outcomes(
    setup: &Setup,
    dataset: &Dataset,
    data: &[u8],
    chunks: &[PlannedChunk],
) -> Vec<Outcome> {
    let mut all: Vec<Outcome> = Vec::new();
    let line_at = |offset| {
        line_at(
            data,
            offset,
            matches!(setup.format, Format::Csv | Format::Tsv),
        )
    };
    let mut before = 0;
    for chunk in chunks {
        let (start, end) = (chunk.range.start, chunk.range.end);
        assert!(before <= start && start < end && end <= data.len() as u64);
        before = end;
        assert_eq!(chunk.first_line, line_at(start));
        if chunk.kind == ChunkKind::Oversize {
            assert!(chunk.range.len() > setup.record_bytes && chunk.records == 1);
            all.push(Outcome::Oversize(start, end));
            continue;
        }
        let bytes = &data[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
        let decoded = decode(
            dataset,
            &setup.reading(),
            None,
            bytes,
            start,
            chunk.first_line,
        );
        assert_eq!(decoded.records, chunk.records, "decoded and planned");
        for reject in &decoded.rejects {
            assert_eq!(reject.line, line_at(reject.offset));
        }
        let rows = decoded.rows.into_iter().map(Outcome::Row);
        let rejects = decoded.rejects.into_iter().map(Outcome::Reject);
        let mut records: Vec<Outcome> = rows.chain(rejects).collect();
        let skipped = decoded.skipped.records();
        assert_eq!(records.len() as u64 + skipped, chunk.records);
        records.sort_by_key(Outcome::offset);
        let offsets = records.iter().map(Outcome::offset);
        assert!(
            offsets
                .clone()
                .all(|offset| offset == start || offset - start < setup.chunk_bytes),
            "a chunk is closed once it has enough bytes"
        );
        assert!(skipped > 0 || records[0].offset() == start);
        all.extend(records);
    }
    assert!(all.is_sorted_by(|a, b| a.offset() < b.offset()));
    all
}

/// Returns the line of a byte. Lines end in LF, with `returns` also in CR.
fn line_at(data: &[u8], offset: u64, returns: bool) -> u64 {
    let (before, after) = data.split_at(usize::try_from(offset).unwrap());
    let text: Vec<u8> = before.iter().chain(after.first()).copied().collect();
    let ends = (0..before.len()).filter(|&at| match text[at] {
        b'\n' => true,
        b'\r' => returns && text.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64 + 1
}
