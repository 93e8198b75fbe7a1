//! Cuts the bytes of an object, as they stream by, into chunks of whole records.
//!
//! A chunk ends at the configured size (8 MiB by default) or at [`MAX_CHUNK_RECORDS`]. It ends earlier if its rows
//! would take much more memory than its bytes, as with many fields or many tiny records.
//!
//!
//!
//! A job pins [`CUTTING_RULES`]. If a splitter dies, its successor may be of a newer release. If that release cut
//! the object elsewhere, the existing marks would stand for other chunks. It therefore closes the job with
//! `other_release` instead.

mod csv;
mod json;
mod ndjson;
mod options;
mod planner;

use landfall_domain::{ByteRange, Format, Problem};

use crate::syntax::BOM;
use csv::CsvScanner;
use json::JsonScanner;
use ndjson::NdjsonScanner;
use planner::Planner;

pub use options::ScanOptions;
pub use planner::{CUTTING_RULES, MAX_CHUNK_RECORDS, PlannedChunk};

/// Summary of a complete object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of records in all chunks, without the header.
    pub records: u64,
    /// Position of the header record.
    pub header: Option<ByteRange>,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// Line of the record with a quoted cell that is still open at the end of the object, which contains
    /// everything from there on.
    pub open_quote: Option<u64>,
}

/// Finds the records of one object and groups them into chunks, in constant memory.
pub struct Scanner {
    bytes: u64,
    /// The number of bytes of a byte order mark seen so far, until it is complete or ruled out.
    bom: Option<usize>,
    grammar: Grammar,
}

enum Grammar {
    Csv(CsvScanner),
    Ndjson(NdjsonScanner),
    Json(Box<JsonScanner>),
}

impl Scanner {
    /// Creates a scanner at the first byte of an object.
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

    /// Scans the next bytes of the object, split at any position, and appends the completed chunks.
    ///
    /// # Errors
    /// `Malformed` if a JSON document becomes invalid; `out` then contains every record before that.
    /// `HeaderMismatch` for a header record over the limit, and `FormatMismatch` for a JSON document
    /// without the array; there are no chunks then. The scanner must not be used after an error.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        self.bytes += bytes.len() as u64;
        let mut bytes = bytes;
        if let Some(seen) = self.bom {
            let rest = &BOM[seen..];
            let length = rest.len().min(bytes.len());
            if bytes[..length] != rest[..length] {
                self.bom = None;
                self.feed_grammar(&BOM[..seen], out)?;
            } else if length == rest.len() {
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

    /// Ends the scan at the end of the object and appends the last chunks.
    ///
    /// # Errors
    /// The same as [`Scanner::feed`].
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
            records: self.planner().records(),
            header: self.header(),
            bytes: self.bytes,
            open_quote,
        })
    }

    /// Returns the position of the header record once it is complete, without byte order mark and
    /// terminator.
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
