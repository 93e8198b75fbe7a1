//! Record boundaries of CSV and TSV, by the rules of [`crate::csv`].

mod plain;

use landfall_domain::{ByteRange, CsvOptions, Encoding, Problem, ProblemCode, Reading};
use memchr::{memchr2, memchr3};
use serde::{Deserialize, Serialize};

use super::other_order::{Kept, MAX_HEADER, OtherOrder};
use super::planner::{Planner, Position};
use crate::csv::dialect::Dialect;
use crate::syntax::BOM;
use crate::transcode::NARROW_MARK;

pub(super) struct CsvScanner {
    dialect: Dialect,
    /// The byte order mark that is skipped at the start of records.
    mark: &'static [u8],
    other_order: OtherOrder,
    place: Place,
}

/// Where a scanner is between two bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// Lines that are still to be skipped before the first record.
    skip_lines: u32,
    /// Records that are still to be read before the header is complete.
    header_records: u32,
    header_start: Option<u64>,
    state: State,
    record: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// In a line to skip, up to its end.
    SkippedLine,
    /// After a line to skip that ended with CR. LF belongs to it.
    SkippedReturn,
    /// In a comment, up to the end of its line.
    Comment,
    /// Before the first byte of a record, after so many bytes of a byte order mark. Terminators are blank lines here.
    RecordStart(usize),
    /// Before the first byte of a cell. A quote opens a quoted cell here.
    CellStart,
    /// In an unquoted cell, or after the closing quote, after so many bytes of a delimiter. A quote is data here.
    Unquoted(usize),
    /// In a quoted cell.
    Quoted,
    /// After a quote in a quoted cell, which closes the cell unless another quote follows.
    QuoteInQuoted,
    /// After an escape, outside or inside of quotes.
    Escaped { quoted: bool },
}

impl CsvScanner {
    pub(super) fn new(options: &CsvOptions, reading: &Reading) -> Self {
        // The line that sets the delimiter is no record.
        let has_line = reading.delimiter.is_some() && !reading.is_exported;
        let skip_lines = options.skip_lines + u32::from(has_line);
        Self {
            dialect: Dialect::new(options, reading),
            mark: if reading.encoding == Encoding::UTF_8 {
                &BOM
            } else if reading.encoding.is_utf_16() {
                &[NARROW_MARK]
            } else {
                &[]
            },
            other_order: OtherOrder::default(),
            place: Place {
                skip_lines,
                header_records: options.header_records,
                header_start: None,
                state: if skip_lines > 0 {
                    State::SkippedLine
                } else {
                    State::RecordStart(0)
                },
                record: Position::START,
            },
        }
    }

    /// Returns where the scanner is, and which bytes it keeps.
    pub(super) fn place(&self) -> (Place, Kept) {
        (self.place.clone(), self.other_order.kept())
    }

    /// Continues at a place of a scanner with the same settings. Returns `None` if its settings were others.
    pub(super) fn at(self, place: Place, kept: Kept) -> Option<Self> {
        let fits = match place.state {
            State::RecordStart(seen) => seen == 0 || seen < self.mark.len(),
            State::Unquoted(seen) => seen < self.dialect.delimiter.len(),
            _ => true,
        };
        fits.then(|| Self {
            other_order: OtherOrder::of(kept, &self.dialect),
            place,
            ..self
        })
    }
}

impl CsvScanner {
    /// Scans the next bytes, which start at the offset of the planner.
    pub(super) fn feed(&mut self, bytes: &[u8], planner: &mut Planner) -> Result<(), Problem> {
        let base = planner.position.offset;
        let plain = self.dialect.plain_delimiter();
        let mut at = 0;
        // Where the next plain record may start.
        let mut plain_at = 0;
        while let Some(&byte) = bytes.get(at) {
            let is_end = matches!(byte, b'\r' | b'\n');
            match self.place.state {
                State::SkippedReturn => {
                    at += usize::from(byte == b'\n');
                    self.after_skipped_line();
                }
                State::SkippedLine | State::Comment => {
                    let rest = &bytes[at..];
                    let Some(length) = memchr2(b'\r', b'\n', rest) else {
                        at = bytes.len();
                        continue;
                    };
                    at += length;
                    if self.place.state == State::Comment {
                        self.place.state = State::RecordStart(0);
                        continue;
                    }
                    at += 1;
                    planner.position.line += 1;
                    self.place.skip_lines -= 1;
                    if rest[length] == b'\r' {
                        self.place.state = State::SkippedReturn;
                    } else {
                        self.after_skipped_line();
                    }
                }
                State::RecordStart(0) if is_end => {
                    planner.count_line(byte);
                    at += 1;
                }
                State::RecordStart(0)
                    if let Some(delimiter) = plain
                        && at >= plain_at
                        && self.place.header_records == 0
                        && self.dialect.comment.is_none() =>
                {
                    at = self.plain_records(bytes, at, delimiter, planner);
                    plain_at = at + 1;
                }
                State::RecordStart(0) if Some(byte) == self.dialect.comment => {
                    planner.pass();
                    self.place.state = State::Comment;
                }
                State::RecordStart(seen) if self.mark.get(seen) == Some(&byte) => {
                    planner.pass();
                    at += 1;
                    self.place.state = State::RecordStart((seen + 1) % self.mark.len());
                }
                State::RecordStart(seen) => {
                    planner.pass();
                    let offset = base + at as u64 - seen as u64;
                    self.start_record(offset, seen, planner);
                }
                State::Quoted => at = self.quoted(bytes, at, planner),
                State::Unquoted(0) | State::CellStart
                    if let Some(delimiter) = plain
                        && (self.place.state != State::CellStart
                            || Some(byte) != self.dialect.quote) =>
                {
                    at = self.unquoted(bytes, at, delimiter, planner)?;
                }
                State::CellStart | State::Unquoted(_) | State::QuoteInQuoted if is_end => {
                    self.end_record(bytes, at, planner)?;
                }
                _ => {
                    planner.count_line(byte);
                    self.step(byte, planner);
                    at += 1;
                }
            }
        }
        if self.place.header_records > 0 && self.is_in_record() {
            self.check_header(base + bytes.len() as u64, planner)?;
        }
        if self.is_in_record() {
            self.keep(bytes, planner);
        }
        Ok(())
    }

    /// Ends the scan at the offset of the planner.
    pub(super) fn finish(&mut self, planner: &mut Planner) -> Result<(), Problem> {
        if self.place.skip_lines > 0 && planner.position.offset > 0 {
            let message = "the file ends within the lines that csv.skip_lines skips: correct it";
            return Err(Problem::new(ProblemCode::HeaderMismatch, message));
        }
        if let State::RecordStart(seen @ 1..) = self.place.state {
            self.start_record(planner.position.offset - seen as u64, seen, planner);
        }
        if matches!(
            self.place.state,
            State::Quoted | State::Escaped { quoted: true }
        ) {
            planner.open_quote = Some(self.place.record.line);
        }
        if self.is_in_record() {
            self.end_record(&[], 0, planner)?;
        }
        // A file may end before its header is complete.
        if let (Some(start), 1..) = (self.place.header_start, self.place.header_records) {
            let end = planner.position.offset;
            planner.set_header(ByteRange { start, end });
        }
        Ok(())
    }
}

impl CsvScanner {
    fn after_skipped_line(&mut self) {
        self.place.state = if self.place.skip_lines > 0 {
            State::SkippedLine
        } else {
            State::RecordStart(0)
        };
    }

    /// Starts a record at `offset`, whose first `seen` bytes look like a byte order mark.
    fn start_record(&mut self, offset: u64, seen: usize, planner: &mut Planner) {
        self.place.record = Position {
            offset,
            line: planner.position.line,
        };
        self.place.state = State::CellStart;
        // The mark may have begun in an earlier slice.
        let before = planner.position.offset.saturating_sub(offset);
        let before = usize::try_from(before).map_or(seen, |before| before.min(seen));
        self.other_order.start(&self.mark[..before]);
        for byte in &self.mark[..seen] {
            self.step(*byte, planner);
        }
    }

    fn is_in_record(&self) -> bool {
        !matches!(
            self.place.state,
            State::SkippedLine | State::SkippedReturn | State::Comment | State::RecordStart(_)
        )
    }

    /// Moves on by one byte inside a record that is not its end.
    fn step(&mut self, byte: u8, planner: &mut Planner) {
        let is = |special: Option<u8>| special == Some(byte);
        self.place.state = match self.place.state {
            State::Escaped { quoted: false } => State::Unquoted(0),
            State::Quoted if is(self.dialect.escape) => State::Escaped { quoted: true },
            State::Quoted if is(self.dialect.quote) => State::QuoteInQuoted,
            State::Quoted | State::Escaped { quoted: true } => State::Quoted,
            State::QuoteInQuoted if is(self.dialect.quote) => State::Quoted,
            State::CellStart if is(self.dialect.quote) => {
                planner.saw_quoted = true;
                State::Quoted
            }
            State::CellStart if self.dialect.is_trimmed(byte) => State::CellStart,
            _ if is(self.dialect.escape) => State::Escaped { quoted: false },
            State::Unquoted(seen) => self.after_unquoted(seen, byte),
            _ => self.after_unquoted(0, byte),
        };
    }

    /// Returns the state after a byte in an unquoted cell, of which the last `seen` bytes begin a delimiter.
    fn after_unquoted(&self, mut seen: usize, byte: u8) -> State {
        let delimiter = &self.dialect.delimiter;
        while seen > 0 && delimiter[seen] != byte {
            // The longest shorter beginning of a delimiter with which the bytes so far end.
            seen = (0..seen)
                .rev()
                .find(|length| delimiter[..seen].ends_with(&delimiter[..*length]))
                .unwrap_or(0);
        }
        seen += usize::from(delimiter[seen] == byte);
        if seen == delimiter.len() {
            State::CellStart
        } else {
            State::Unquoted(seen)
        }
    }

    /// Scans from a byte in a quoted cell, and returns where to continue.
    fn quoted(&mut self, bytes: &[u8], at: usize, planner: &mut Planner) -> usize {
        let rest = &bytes[at..];
        let (Some(quote), escape) = (self.dialect.quote, self.dialect.escape) else {
            return bytes.len();
        };
        let found = match escape {
            None => memchr3(quote, b'\r', b'\n', rest),
            Some(escape) => rest
                .iter()
                .position(|byte| [quote, escape, b'\r', b'\n'].contains(byte)),
        };
        if found != Some(0) {
            planner.pass();
        }
        let Some(found) = found else {
            return bytes.len();
        };
        planner.count_line(rest[found]);
        self.step(rest[found], planner);
        at + found + 1
    }

    /// Scans from a byte outside of quotes to the next quote or terminator, and returns where to continue.
    fn unquoted(
        &mut self,
        bytes: &[u8],
        at: usize,
        delimiter: u8,
        planner: &mut Planner,
    ) -> Result<usize, Problem> {
        let rest = &bytes[at..];
        let found = match self.dialect.quote {
            Some(quote) => memchr3(quote, b'\r', b'\n', rest),
            None => memchr2(b'\r', b'\n', rest),
        };
        match found {
            None => {
                self.place.state = if rest.last() == Some(&delimiter) {
                    State::CellStart
                } else {
                    State::Unquoted(0)
                };
                Ok(bytes.len())
            }
            Some(found) if Some(rest[found]) == self.dialect.quote => {
                self.place.state = if found > 0 && rest[found - 1] == delimiter {
                    planner.saw_quoted = true;
                    State::Quoted
                } else {
                    State::Unquoted(0)
                };
                Ok(at + found + 1)
            }
            Some(found) => {
                self.end_record(bytes, at + found, planner)?;
                Ok(at + found)
            }
        }
    }

    /// Keeps the bytes of the record that are in this slice, as far as they are needed.
    fn keep(&mut self, bytes: &[u8], planner: &Planner) {
        let most = if self.place.header_records > 0 {
            MAX_HEADER + 1
        } else {
            self.other_order.length()
        };
        let start = self
            .place
            .record
            .offset
            .saturating_sub(planner.position.offset);
        let own = usize::try_from(start).map_or(&[][..], |start| &bytes[start..]);
        self.other_order.keep(own, most);
    }

    /// Ends the record before byte `at` of the slice.
    fn end_record(
        &mut self,
        bytes: &[u8],
        at: usize,
        planner: &mut Planner,
    ) -> Result<(), Problem> {
        self.place.state = State::RecordStart(0);
        let end = planner.position.offset + at as u64;
        if self.place.header_records == 0 {
            if end - self.place.record.offset == self.other_order.length() as u64 {
                self.keep(&bytes[..at], planner);
                if let Some(problem) = self.other_order.problem(self.place.record.line) {
                    planner.close();
                    return Err(problem);
                }
            }
            planner.add_record(self.place.record, end);
            return Ok(());
        }
        self.check_header(end, planner)?;
        self.keep(&bytes[..at], planner);
        self.place.header_records -= 1;
        let start = *self
            .place
            .header_start
            .get_or_insert(self.place.record.offset);
        if self.place.header_records == 0 {
            planner.set_header(ByteRange { start, end });
            if start == self.place.record.offset {
                self.other_order.set_header(&self.dialect);
            }
        }
        Ok(())
    }

    fn check_header(&self, end: u64, planner: &Planner) -> Result<(), Problem> {
        let Position { offset, line } = self.place.record;
        let limit = planner.record_bytes;
        if end - self.place.header_start.unwrap_or(offset) <= limit {
            return Ok(());
        }
        let message = format!(
            "the header record (line {line}) is longer than {limit} bytes: check it for a quote that is never closed, \
             and that lines end in LF or CR"
        );
        Err(Problem::new(ProblemCode::HeaderMismatch, message))
    }
}
