//! From the bytes of an object, as they stream by, to chunks of whole records.

use landfall_domain::{ByteRange, ChunkKind, Dataset, Format, Problem, Row};

use crate::scan_csv::CsvScanner;
use crate::scan_json::JsonScanner;
use crate::scan_ndjson::NdjsonScanner;

/// The most records of a chunk, so that a worker's rows are bounded where records are tiny.
pub const MAX_CHUNK_RECORDS: u64 = 100_000;
/// The most memory that the rows of a chunk take beside their text: many fields make many values of
/// a short record, and each row that keeps unknown columns repeats their names.
const MAX_ROW_BYTES: u64 = 32 * 1024 * 1024;
/// Version of the rules by which objects are cut. A job that was begun by other rules cannot be gone
/// on with: its marks are of other chunks.
pub const CUTTING_RULES: u32 = 2;

pub(crate) const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// How to scan an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// Format of the object.
    pub format: Format,
    /// Byte between cells of CSV and TSV.
    pub delimiter: u8,
    /// Byte around cells of CSV and TSV.
    pub quote: u8,
    /// Whether the first record of CSV or TSV is the header.
    pub header: bool,
    /// Names of the properties that lead to the array in JSON.
    pub path: Vec<String>,
    /// The most bytes of a record, without its terminator.
    pub record_bytes: u64,
    /// A chunk is closed once it has as many bytes. Its length is at most this and one record more.
    pub chunk_bytes: u64,
    /// Bytes of memory that a row takes beside its text.
    pub row_bytes: u64,
}

impl ScanOptions {
    /// The options for an object of a dataset.
    pub fn from_dataset(dataset: &Dataset, format: Format, chunk_bytes: u64) -> Self {
        Self {
            format,
            delimiter: dataset.csv.delimiter_for(format),
            quote: dataset.csv.quote,
            header: dataset.csv.header,
            path: dataset.json.path.clone(),
            record_bytes: dataset.limits.record_bytes,
            chunk_bytes,
            row_bytes: Row::bytes(dataset.fields.len()) as u64,
        }
    }
}

/// A chunk that a worker can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChunk {
    /// From the first byte of its first record to the last byte of its last; the terminator or
    /// comma after that is left out, as is what stands between chunks.
    pub range: ByteRange,
    /// Line of its first byte, from 1; lines end in LF.
    pub first_line: u64,
    /// Records in it.
    pub records: u64,
    /// What it holds.
    pub kind: ChunkKind,
}

/// What a whole object held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Records of all chunks; the header is none.
    pub records: u64,
    /// Where the header record is.
    pub header: Option<ByteRange>,
    /// Bytes of the object.
    pub bytes: u64,
    /// Line of the record with a quote that is still open at the end. All from there on is one record.
    pub open_quote: Option<u64>,
}

/// Finds the records of one object and groups them to chunks. Memory does not grow with the object.
pub struct Scanner {
    bytes: u64,
    /// How many bytes of a byte order mark have been seen, while that is open.
    bom: Option<usize>,
    grammar: Grammar,
}

enum Grammar {
    Csv(CsvScanner),
    Ndjson(NdjsonScanner),
    Json(Box<JsonScanner>),
}

impl Scanner {
    /// A scanner at the first byte of an object.
    pub fn new(options: ScanOptions) -> Self {
        let planner = Planner::new(&options);
        let grammar = match options.format {
            Format::Csv | Format::Tsv => Grammar::Csv(CsvScanner::new(&options, planner)),
            Format::Ndjson => Grammar::Ndjson(NdjsonScanner::new(planner)),
            Format::Json => Grammar::Json(Box::new(JsonScanner::new(options.path, planner))),
        };
        Self {
            bytes: 0,
            bom: Some(0),
            grammar,
        }
    }

    /// Takes the next bytes of the object, cut anywhere, and appends the chunks they complete.
    ///
    /// # Errors
    /// `Malformed` where a JSON document breaks off being one: `out` then has every record before
    /// that. `HeaderMismatch` for a header record over the limit, and `FormatMismatch` for a JSON
    /// document without the array: there are no chunks then. After an error the scan is over.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        self.bytes += bytes.len() as u64;
        let mut bytes = bytes;
        if let Some(seen) = self.bom {
            let open = &BOM[seen..];
            let length = open.len().min(bytes.len());
            if bytes[..length] != open[..length] {
                self.bom = None;
                self.feed_grammar(&BOM[..seen], out)?;
            } else if length == open.len() {
                self.bom = None;
                self.skip_bom();
                bytes = &bytes[length..];
            } else {
                self.bom = Some(seen + length);
                return Ok(());
            }
        }
        self.feed_grammar(bytes, out)
    }

    /// Takes the end of the object and appends the last chunks.
    ///
    /// # Errors
    /// As [`Scanner::feed`].
    pub fn finish(mut self, out: &mut Vec<PlannedChunk>) -> Result<Summary, Problem> {
        if let Some(seen) = self.bom {
            self.feed_grammar(&BOM[..seen], out)?;
        }
        let mut open_quote = None;
        match &mut self.grammar {
            Grammar::Csv(scanner) => {
                open_quote = scanner.open_quote();
                scanner.finish(out)?;
            }
            Grammar::Ndjson(scanner) => scanner.finish(out),
            Grammar::Json(scanner) => scanner.finish(out)?,
        }
        Ok(Summary {
            records: self.planner().records,
            header: self.header(),
            bytes: self.bytes,
            open_quote,
        })
    }

    /// Where the header record is, once all of it has been seen. Neither a byte order mark nor the
    /// terminator is in it.
    pub fn header(&self) -> Option<ByteRange> {
        match &self.grammar {
            Grammar::Csv(scanner) => scanner.header(),
            Grammar::Ndjson(_) | Grammar::Json(_) => None,
        }
    }

    fn feed_grammar(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        match &mut self.grammar {
            Grammar::Csv(scanner) => scanner.feed(bytes, out),
            Grammar::Ndjson(scanner) => {
                scanner.feed(bytes, out);
                Ok(())
            }
            Grammar::Json(scanner) => scanner.feed(bytes, out),
        }
    }

    fn skip_bom(&mut self) {
        let position = match &mut self.grammar {
            Grammar::Csv(scanner) => &mut scanner.position,
            Grammar::Ndjson(scanner) => &mut scanner.position,
            Grammar::Json(scanner) => &mut scanner.position,
        };
        position.offset += BOM.len() as u64;
    }

    fn planner(&self) -> &Planner {
        match &self.grammar {
            Grammar::Csv(scanner) => &scanner.planner,
            Grammar::Ndjson(scanner) => &scanner.planner,
            Grammar::Json(scanner) => &scanner.planner,
        }
    }
}

/// A place in an object.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    /// Byte, from 0.
    pub(crate) offset: u64,
    /// Line, from 1.
    pub(crate) line: u64,
}

impl Position {
    pub(crate) const START: Self = Self { offset: 0, line: 1 };
}

/// Groups records to chunks.
pub(crate) struct Planner {
    chunk_bytes: u64,
    pub(crate) record_bytes: u64,
    pub(crate) records: u64,
    row_bytes: u64,
    open: Option<PlannedChunk>,
}

impl Planner {
    fn new(options: &ScanOptions) -> Self {
        Self {
            chunk_bytes: options.chunk_bytes,
            record_bytes: options.record_bytes,
            records: 0,
            row_bytes: options.row_bytes,
            open: None,
        }
    }

    /// Takes into account that a row may repeat the names of all columns.
    pub(crate) fn header(&mut self, bytes: u64) {
        self.row_bytes += bytes;
    }

    fn is_full(&self, chunk: &PlannedChunk) -> bool {
        chunk.range.len() >= self.chunk_bytes
            || chunk.records >= MAX_CHUNK_RECORDS
            || chunk.records * self.row_bytes >= MAX_ROW_BYTES
    }

    /// Adds the record from `start` up to the byte before `end`.
    pub(crate) fn record(&mut self, start: Position, end: u64, out: &mut Vec<PlannedChunk>) {
        let range = ByteRange {
            start: start.offset,
            end,
        };
        let kind = if range.len() > self.record_bytes {
            ChunkKind::Oversize
        } else {
            ChunkKind::Records
        };
        // Blank lines between records have no bound of their own.
        let apart = |open: &PlannedChunk| range.start - open.range.start >= self.chunk_bytes;
        if kind == ChunkKind::Oversize || self.open.as_ref().is_some_and(apart) {
            self.close(out);
        }
        self.records += 1;
        let mut chunk = self.open.take().unwrap_or(PlannedChunk {
            range,
            first_line: start.line,
            records: 0,
            kind,
        });
        chunk.range.end = end;
        chunk.records += 1;
        let is_full = kind == ChunkKind::Oversize || self.is_full(&chunk);
        self.open = Some(chunk);
        if is_full {
            self.close(out);
        }
    }

    /// Hands out the chunk that is still open.
    pub(crate) fn close(&mut self, out: &mut Vec<PlannedChunk>) {
        out.extend(self.open.take());
    }
}
