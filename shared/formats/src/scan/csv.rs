//! Record boundaries of CSV and TSV, identical to those of the `csv` crate.

use landfall_domain::{ByteRange, Problem, ProblemCode};
use memchr::{memchr2, memchr3};

use super::options::ScanOptions;
use super::planner::{PlannedChunk, Planner, Position};

pub(super) struct CsvScanner {
    delimiter: u8,
    quote: u8,
    /// Whether the next record is the header.
    expects_header: bool,
    header: Option<ByteRange>,
    state: State,
    record: Position,
    pub(super) position: Position,
    pub(super) planner: Planner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a record. Terminators are blank lines here.
    RecordStart,
    /// Before the first byte of a cell. A quote opens a quoted cell here.
    CellStart,
    /// In an unquoted cell, or after the closing quote. A quote is data here.
    Unquoted,
    /// In a quoted cell.
    Quoted,
    /// After a quote in a quoted cell, which closes the cell unless another quote follows.
    QuoteInQuoted,
}

impl CsvScanner {
    pub(super) fn new(options: &ScanOptions, planner: Planner) -> Self {
        Self {
            delimiter: options.delimiter,
            quote: options.quote,
            expects_header: options.header,
            header: None,
            state: State::RecordStart,
            record: Position::START,
            position: Position::START,
            planner,
        }
    }

    pub(super) fn header(&self) -> Option<ByteRange> {
        self.header
    }

    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<PlannedChunk>,
    ) -> Result<(), Problem> {
        let base = self.position.offset;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::RecordStart if matches!(byte, b'\r' | b'\n') => {
                    self.position.line += u64::from(byte == b'\n');
                    at += 1;
                }
                State::RecordStart => {
                    self.record = Position {
                        offset: base + at as u64,
                        line: self.position.line,
                    };
                    self.state = State::CellStart;
                }
                State::CellStart | State::QuoteInQuoted if byte == self.quote => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::CellStart | State::Unquoted => {
                    at = self.unquoted(bytes, at, base, out)?;
                }
                State::Quoted => match memchr2(self.quote, b'\n', &bytes[at..]) {
                    None => at = bytes.len(),
                    Some(found) => {
                        if bytes[at + found] == self.quote {
                            self.state = State::QuoteInQuoted;
                        } else {
                            self.position.line += 1;
                        }
                        at += found + 1;
                    }
                },
                State::QuoteInQuoted if byte == self.delimiter => {
                    self.state = State::CellStart;
                    at += 1;
                }
                State::QuoteInQuoted if matches!(byte, b'\r' | b'\n') => {
                    self.end_record(base + at as u64, out)?;
                }
                State::QuoteInQuoted => {
                    self.state = State::Unquoted;
                    at += 1;
                }
            }
        }
        self.position.offset += bytes.len() as u64;
        if self.expects_header && self.state != State::RecordStart {
            self.check_header(self.position.offset)?;
        }
        Ok(())
    }

    /// Returns the line of the current record, if a quoted cell is open.
    pub(super) fn open_quote(&self) -> Option<u64> {
        (self.state == State::Quoted).then_some(self.record.line)
    }

    pub(super) fn finish(&mut self, out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        if self.state != State::RecordStart {
            self.end_record(self.position.offset, out)?;
        }
        self.planner.close(out);
        Ok(())
    }

    /// Scans from a byte outside of quotes to the next quote or terminator, and returns where to continue.
    fn unquoted(
        &mut self,
        bytes: &[u8],
        at: usize,
        base: u64,
        out: &mut Vec<PlannedChunk>,
    ) -> Result<usize, Problem> {
        let rest = &bytes[at..];
        let state_after = |byte: u8| {
            if byte == self.delimiter {
                State::CellStart
            } else {
                State::Unquoted
            }
        };
        match memchr3(self.quote, b'\r', b'\n', rest) {
            None => {
                self.state = state_after(rest[rest.len() - 1]);
                Ok(bytes.len())
            }
            Some(found) if rest[found] == self.quote => {
                self.state = if found > 0 && rest[found - 1] == self.delimiter {
                    State::Quoted
                } else {
                    state_after(self.quote)
                };
                Ok(at + found + 1)
            }
            Some(found) => {
                self.end_record(base + (at + found) as u64, out)?;
                Ok(at + found)
            }
        }
    }

    fn end_record(&mut self, end: u64, out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        self.state = State::RecordStart;
        if self.expects_header {
            self.check_header(end)?;
            self.expects_header = false;
            self.header = Some(ByteRange {
                start: self.record.offset,
                end,
            });
            self.planner.add_header(end - self.record.offset);
        } else {
            self.planner.add_record(self.record, end, out);
        }
        Ok(())
    }

    fn check_header(&self, end: u64) -> Result<(), Problem> {
        if end - self.record.offset <= self.planner.record_bytes() {
            return Ok(());
        }
        Err(Problem::new(
            ProblemCode::HeaderMismatch,
            format!(
                "the header record (line {}) is longer than {} bytes: check it for a quote that is never closed, and \
                 that lines end in LF or CR",
                self.record.line,
                self.planner.record_bytes()
            ),
        ))
    }
}
