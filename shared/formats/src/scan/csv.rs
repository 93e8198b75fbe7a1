//! Record boundaries of CSV and TSV, identical to those of the `csv` crate.

use landfall_domain::{ByteRange, CsvOptions, Format, Problem, ProblemCode};
use memchr::{memchr2, memchr3};

use super::Grammar;
use super::planner::{Planner, Position};

pub(super) struct CsvScanner {
    delimiter: u8,
    quote: u8,
    /// Whether the next record is the header.
    expects_header: bool,
    state: State,
    record: Position,
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
    pub(super) fn new(options: &CsvOptions, format: Format) -> Self {
        Self {
            delimiter: options.delimiter_for(format),
            quote: options.quote,
            expects_header: options.header,
            state: State::RecordStart,
            record: Position::START,
        }
    }
}

impl Grammar for CsvScanner {
    fn feed(&mut self, bytes: &[u8], planner: &mut Planner) -> Result<(), Problem> {
        let base = planner.position.offset;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::RecordStart if matches!(byte, b'\r' | b'\n') => {
                    planner.position.line += u64::from(byte == b'\n');
                    at += 1;
                }
                State::RecordStart => {
                    self.record = Position {
                        offset: base + at as u64,
                        line: planner.position.line,
                    };
                    self.state = State::CellStart;
                }
                State::CellStart | State::QuoteInQuoted if byte == self.quote => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::CellStart | State::Unquoted => {
                    at = self.unquoted(bytes, at, planner)?;
                }
                State::Quoted => match memchr2(self.quote, b'\n', &bytes[at..]) {
                    None => at = bytes.len(),
                    Some(found) => {
                        if bytes[at + found] == self.quote {
                            self.state = State::QuoteInQuoted;
                        } else {
                            planner.position.line += 1;
                        }
                        at += found + 1;
                    }
                },
                State::QuoteInQuoted if byte == self.delimiter => {
                    self.state = State::CellStart;
                    at += 1;
                }
                State::QuoteInQuoted if matches!(byte, b'\r' | b'\n') => {
                    self.end_record(base + at as u64, planner)?;
                }
                State::QuoteInQuoted => {
                    self.state = State::Unquoted;
                    at += 1;
                }
            }
        }
        if self.expects_header && self.state != State::RecordStart {
            self.check_header(base + bytes.len() as u64, planner)?;
        }
        Ok(())
    }

    fn finish(&mut self, planner: &mut Planner) -> Result<(), Problem> {
        if self.state == State::Quoted {
            planner.open_quote = Some(self.record.line);
        }
        if self.state != State::RecordStart {
            self.end_record(planner.position.offset, planner)?;
        }
        Ok(())
    }
}

impl CsvScanner {
    /// Scans from a byte outside of quotes to the next quote or terminator, and returns where to continue.
    fn unquoted(
        &mut self,
        bytes: &[u8],
        at: usize,
        planner: &mut Planner,
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
                self.end_record(planner.position.offset + (at + found) as u64, planner)?;
                Ok(at + found)
            }
        }
    }

    fn end_record(&mut self, end: u64, planner: &mut Planner) -> Result<(), Problem> {
        self.state = State::RecordStart;
        if self.expects_header {
            self.check_header(end, planner)?;
            self.expects_header = false;
            planner.set_header(ByteRange {
                start: self.record.offset,
                end,
            });
        } else {
            planner.add_record(self.record, end);
        }
        Ok(())
    }

    fn check_header(&self, end: u64, planner: &Planner) -> Result<(), Problem> {
        let Position { offset, line } = self.record;
        let limit = planner.record_bytes;
        if end - offset <= limit {
            return Ok(());
        }
        let message = format!(
            "the header record (line {line}) is longer than {limit} bytes: check it for a quote that is never closed, \
             and that lines end in LF or CR"
        );
        Err(Problem::new(ProblemCode::HeaderMismatch, message))
    }
}
