//! Cuts the bytes of an object, as they stream by, into chunks of whole records.
//!
//! A chunk ends at the configured size (8 MiB by default) or at [`MAX_CHUNK_RECORDS`]. It ends earlier if its rows
//! would take much more memory than its bytes, as with many fields or many tiny records.
//!
//! A job pins [`CUTTING_RULES`]. If a splitter dies, its successor may be of a newer release. If that release cut
//! the object elsewhere, the existing marks would stand for other chunks. It therefore closes the job with
//! `other_release` instead.
//!
//! A scanner can stop between any two bytes and another one continue there ([`Scanner::state`]), also in another
//! process: both together find the same chunks as one alone.

mod csv;
mod json;
mod ndjson;
mod planner;

use landfall_domain::{ByteRange, Dataset, Encoding, Format, PlannedChunk, Problem, Reading};
use serde::{Deserialize, Serialize};

use crate::exported::in_file;
use crate::syntax::BOM;
use crate::transcode::{NARROW_MARK, Narrower};
use csv::{CsvScanner, Kept};
use json::JsonScanner;
use ndjson::NdjsonScanner;
use planner::Planner;

pub use planner::{CUTTING_RULES, MAX_CHUNK_RECORDS, MAX_CHUNKS};

/// Summary of a complete object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of records in all chunks, without the header.
    pub records: u64,
    /// Position of the header record.
    pub header: Option<ByteRange>,
    /// Line of the record with a quoted cell that is still open at the end of the object, which contains
    /// everything from there on.
    pub open_quote: Option<u64>,
    /// Whether any cell is quoted.
    pub saw_quoted: bool,
}

/// Finds the records of one object and groups them into chunks, in constant memory.
pub struct Scanner {
    /// The number of bytes of a byte order mark seen so far, until it is complete or ruled out.
    bom: Option<usize>,
    /// Turns UTF-16 into bytes; positions and lengths are in units of 16 bits then.
    narrower: Option<Narrower>,
    grammar: Grammar,
    planner: Planner,
}

/// Finds the records of one format.
enum Grammar {
    Csv(CsvScanner),
    Ndjson(NdjsonScanner),
    Json(JsonScanner),
}

impl Grammar {
    fn feed(&mut self, bytes: &[u8], planner: &mut Planner) -> Result<(), Problem> {
        match self {
            Self::Csv(csv) => csv.feed(bytes, planner),
            Self::Ndjson(ndjson) => {
                ndjson.feed(bytes, planner);
                Ok(())
            }
            Self::Json(json) => json.feed(bytes, planner),
        }
    }

    fn finish(&mut self, planner: &mut Planner) -> Result<(), Problem> {
        match self {
            Self::Csv(csv) => csv.finish(planner),
            Self::Ndjson(ndjson) => {
                ndjson.finish(planner);
                Ok(())
            }
            Self::Json(json) => json.finish(planner),
        }
    }
}

/// Where a scanner is between two bytes of an object, to continue there later.
///
/// Its form and its meaning belong to the [`CUTTING_RULES`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScannerState {
    bom: Option<usize>,
    half: Option<u8>,
    grammar: GrammarState,
    planner: planner::Place,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum GrammarState {
    Csv(csv::Place, Kept),
    Ndjson(NdjsonScanner),
    Json(json::Place),
}

impl Scanner {
    /// Creates a scanner at the first byte of an object of a dataset.
    ///
    /// A chunk is closed once it has `chunk_bytes`. It is longer by at most one record.
    pub fn new(dataset: &Dataset, reading: &Reading, chunk_bytes: u64) -> Self {
        let (stored, dataset) = (dataset, &*in_file(dataset, reading));
        let of_rows = if reading.is_exported { dataset } else { stored };
        Self {
            bom: (reading.encoding == Encoding::UTF_8).then_some(0),
            narrower: Narrower::new(reading.encoding),
            grammar: match reading.format {
                Format::Csv | Format::Tsv => Grammar::Csv(CsvScanner::new(&dataset.csv, reading)),
                Format::Ndjson => Grammar::Ndjson(NdjsonScanner::default()),
                Format::Json => Grammar::Json(JsonScanner::new(dataset.json.path.clone())),
            },
            planner: Planner::new(of_rows, reading, chunk_bytes),
        }
    }

    /// Returns where the scanner is. The chunks that it has completed are no part of that.
    pub fn state(&self) -> ScannerState {
        ScannerState {
            bom: self.bom,
            half: self.narrower.as_ref().and_then(Narrower::half),
            grammar: match &self.grammar {
                Grammar::Csv(csv) => {
                    let (place, kept) = csv.place();
                    GrammarState::Csv(place, kept)
                }
                Grammar::Ndjson(ndjson) => GrammarState::Ndjson(ndjson.clone()),
                Grammar::Json(json) => GrammarState::Json(json.place()),
            },
            planner: self.planner.place(),
        }
    }

    /// Continues where a scanner was that was created with the same arguments. Returns `None` if they were others, as
    /// far as that shows.
    pub fn resume(
        dataset: &Dataset,
        reading: &Reading,
        chunk_bytes: u64,
        state: ScannerState,
    ) -> Option<Self> {
        let fresh = Self::new(dataset, reading, chunk_bytes);
        if state.bom.is_some_and(|seen| seen >= BOM.len()) {
            return None;
        }
        Some(Self {
            bom: state.bom,
            narrower: fresh.narrower.map(|it| it.after(state.half)),
            grammar: match (fresh.grammar, state.grammar) {
                (Grammar::Csv(csv), GrammarState::Csv(place, kept)) => {
                    Grammar::Csv(csv.at(place, kept)?)
                }
                (Grammar::Ndjson(_), GrammarState::Ndjson(ndjson)) => Grammar::Ndjson(ndjson),
                (Grammar::Json(json), GrammarState::Json(place)) => Grammar::Json(json.at(place)?),
                _ => return None,
            },
            planner: fresh.planner.at(state.planner),
        })
    }

    /// Scans the next bytes of the object, split at any position, and appends the completed chunks.
    ///
    /// # Errors
    /// `Malformed` if a JSON document becomes invalid, and `HeaderMismatch` if a record is a header with the columns in
    /// another order; `out` then contains every record before that. `HeaderMismatch` for a header record over the
    /// limit, and `FormatMismatch` for a JSON document without the array; there are no chunks then. The scanner must
    /// not be used after an error.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        let narrowed = self.narrower.as_mut().map(|it| it.narrow(bytes));
        let mut bytes = narrowed.as_deref().unwrap_or(bytes);
        if self.narrower.is_some()
            && self.planner.position.offset == 0
            && bytes.first() == Some(&NARROW_MARK)
        {
            self.planner.position.offset = 1;
            bytes = &bytes[1..];
        }
        if let Some(seen) = self.bom {
            let rest = &BOM[seen..];
            let length = rest.len().min(bytes.len());
            if bytes[..length] != rest[..length] {
                self.bom = None;
                self.feed_grammar(&BOM[..seen], out)?;
            } else if length == rest.len() {
                self.bom = None;
                self.planner.position.offset += BOM.len() as u64;
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
        let finished = self.grammar.finish(&mut self.planner);
        self.planner.close();
        self.planner.take_closed(out);
        finished.map(|()| Summary {
            records: self.planner.records,
            header: self.planner.header(),
            open_quote: self.planner.open_quote,
            saw_quoted: self.planner.saw_quoted,
        })
    }

    /// Ends the scan where the rest of the object cannot be read, and appends the chunk of the complete records before.
    pub fn abandon(mut self, out: &mut Vec<PlannedChunk>) {
        self.planner.close();
        self.planner.take_closed(out);
    }

    /// Returns the position of the header record once it is complete, without byte order mark and
    /// terminator.
    pub fn header(&self) -> Option<ByteRange> {
        self.planner.header()
    }

    fn feed_grammar(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        let scanned = self.grammar.feed(bytes, &mut self.planner);
        self.planner.position.offset += bytes.len() as u64;
        self.planner.take_closed(out);
        scanned
    }
}
