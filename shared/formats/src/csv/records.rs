//! Splits CSV and TSV into records and cells.

use std::ops::Range;

use arcstr::ArcStr;
use memchr::{memchr, memchr_iter, memchr2, memchr3};
use simdutf8::basic::from_utf8;

use super::dialect::Dialect;
use crate::syntax::BOM;

/// A block is complete once its cells have this many bytes, or it has this many records.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_RECORDS: usize = 1_000;

/// Reads the records of a chunk block by block, into buffers that are reused.
pub(crate) struct Records<'c, 'd> {
    chunk: &'c [u8],
    at: usize,
    dialect: &'d Dialect,
    /// The records of the current block.
    block: Vec<RawRecord<'c>>,
    /// The text of the block: cells without quotes, and separators.
    text: Vec<u8>,
    cells: Vec<Cell>,
    /// Byte order marks that were skipped.
    marks: u64,
}

/// A cell in the text of its block.
#[derive(Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    quoted: bool,
}

/// One record of [`Records`].
pub(crate) struct RawRecord<'c> {
    pub(crate) start: usize,
    pub(crate) raw: &'c [u8],
    pub(crate) quotes: Quotes,
    /// Whether the cells are not UTF-8, and therefore blank in the text of the block.
    blanked: bool,
    /// Range of the record in the text of the block.
    text: Range<usize>,
    /// Range of its cells among those of the block.
    cells: Range<usize>,
}

/// What is wrong with the quotes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    Correct,
    /// Text follows a closing quote.
    TextAfter,
    /// A quoted cell is open at the end of the chunk.
    Unclosed,
}

/// Records whose cells are slices of one text, which is validated and freed faster than a text per record.
pub(crate) struct Block<'r, 'c> {
    pub(crate) records: &'r [RawRecord<'c>],
    text: ArcStr,
    cells: &'r [Cell],
}

/// The cells of one record.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    /// The text of the block.
    pub(crate) text: &'a ArcStr,
    cells: &'a [Cell],
}

impl<'a> Cells<'a> {
    pub(crate) fn len(self) -> usize {
        self.cells.len()
    }

    pub(crate) fn get(self, index: usize) -> &'a str {
        let Cell { start, end, .. } = self.cells[index];
        &self.text[start..end]
    }

    pub(crate) fn get_or_empty(self, index: usize) -> &'a str {
        if index < self.len() {
            self.get(index)
        } else {
            ""
        }
    }

    pub(crate) fn is_quoted_empty(self, index: usize) -> bool {
        let cell = self.cells.get(index);
        cell.is_some_and(|cell| cell.quoted && cell.start == cell.end)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }

    pub(crate) fn any_quoted(self) -> bool {
        self.cells.iter().any(|cell| cell.quoted)
    }

    /// Returns whether the cells contain nothing but white space.
    pub(crate) fn are_blank(self) -> bool {
        self.iter().all(|cell| cell.trim_start().is_empty())
    }
}

impl Block<'_, '_> {
    /// Returns the cells of a record, or `None` if they are not UTF-8.
    pub(crate) fn cells(&self, record: &RawRecord<'_>) -> Option<Cells<'_>> {
        let cells = &self.cells[record.cells.clone()];
        (!record.blanked).then_some(Cells {
            text: &self.text,
            cells,
        })
    }
}

impl<'c, 'd> Records<'c, 'd> {
    pub(crate) fn new(chunk: &'c [u8], dialect: &'d Dialect) -> Self {
        Self {
            chunk,
            at: 0,
            dialect,
            block: Vec::new(),
            text: Vec::with_capacity(chunk.len().min(2 * BLOCK_BYTES)),
            cells: Vec::new(),
            marks: 0,
        }
    }

    /// Returns the number of byte order marks that were skipped.
    pub(crate) fn marks(&self) -> u64 {
        self.marks
    }

    /// Reads the next block of records, or returns `None` after the last one.
    pub(crate) fn next_block(&mut self) -> Option<Block<'_, 'c>> {
        self.block.clear();
        self.text.clear();
        self.cells.clear();
        while self.text.len() < BLOCK_BYTES
            && self.block.len() < BLOCK_RECORDS
            && let Some(record) = self.next()
        {
            self.block.push(record);
        }
        if self.block.is_empty() {
            return None;
        }
        let text = match from_utf8(&self.text) {
            Ok(text) => text.into(),
            Err(_) => self.blank_invalid(),
        };
        Some(Block {
            records: &self.block,
            text,
            cells: &self.cells,
        })
    }

    /// Blanks the records that are not UTF-8, and returns the text of the block.
    fn blank_invalid(&mut self) -> ArcStr {
        for record in &mut self.block {
            let text = &mut self.text[record.text.clone()];
            record.blanked = from_utf8(text).is_err();
            if record.blanked {
                text.fill(b' ');
            }
        }
        let text = from_utf8(&self.text).map(ArcStr::from);
        debug_assert!(text.is_ok(), "only blank and valid records are left");
        text.unwrap_or_default()
    }

    fn next(&mut self) -> Option<RawRecord<'c>> {
        self.at = self.record_start()?;
        let (start, text, first) = (self.at, self.text.len(), self.cells.len());
        let quotes = match self.dialect.plain_delimiter() {
            Some(delimiter) => self.line(delimiter),
            None => self.parse(),
        };
        let record = RawRecord {
            start,
            raw: &self.chunk[start..self.at],
            quotes,
            blanked: false,
            text: text..self.text.len(),
            cells: first..self.cells.len(),
        };
        // Two records that contain halves of a character would be UTF-8 together.
        self.text.push(b'\n');
        Some(record)
    }

    /// Returns where the next record starts, after blank lines, comments and a byte order mark.
    fn record_start(&mut self) -> Option<usize> {
        let mut at = self.at;
        loop {
            let rest = self.chunk.get(at..)?;
            match rest.first()? {
                b'\r' | b'\n' => at += 1,
                first if Some(*first) == self.dialect.comment => {
                    at += memchr2(b'\r', b'\n', rest)?;
                }
                _ if rest.starts_with(&BOM) => {
                    self.marks += 1;
                    at += BOM.len();
                }
                _ => return Some(at),
            }
        }
    }

    /// Reads a record that is a line without quotes, or any other one.
    fn line(&mut self, delimiter: u8) -> Quotes {
        let rest = &self.chunk[self.at..];
        let end = match self.dialect.quote {
            None => memchr2(b'\r', b'\n', rest),
            Some(quote) => memchr3(quote, b'\r', b'\n', rest),
        };
        if let Some(end) = end
            && Some(rest[end]) == self.dialect.quote
        {
            return self.parse();
        }
        let line = &rest[..end.unwrap_or(rest.len())];
        let (mut start, offset) = (self.text.len(), self.text.len());
        self.text.extend_from_slice(line);
        let ends = memchr_iter(delimiter, line).chain([line.len()]);
        self.cells.extend(ends.map(|end| {
            let cell = Cell {
                start,
                end: offset + end,
                quoted: false,
            };
            start = cell.end + 1;
            cell
        }));
        self.at += line.len();
        Quotes::Correct
    }

    /// Reads a record cell by cell.
    fn parse(&mut self) -> Quotes {
        let mut quotes = Quotes::Correct;
        loop {
            let start = self.text.len();
            self.skip_trimmed();
            let quoted = self.dialect.quote.is_some() && self.peek() == self.dialect.quote;
            let mut kept = start;
            if quoted {
                self.at += 1;
                if !self.quoted_part() {
                    quotes = Quotes::Unclosed;
                }
                kept = self.text.len();
                self.skip_trimmed();
            }
            let unquoted = self.unquoted_part();
            if quoted && unquoted && quotes == Quotes::Correct {
                quotes = Quotes::TextAfter;
            }
            // White space in quotes, or escaped, stays.
            while self.text.len() > kept
                && self
                    .text
                    .last()
                    .is_some_and(|byte| self.dialect.is_trimmed(*byte))
            {
                self.text.pop();
            }
            self.cells.push(Cell {
                start,
                end: self.text.len(),
                quoted,
            });
            if !self.chunk[self.at..].starts_with(&self.dialect.delimiter) {
                return quotes;
            }
            self.at += self.dialect.delimiter.len();
            // Two cells that contain halves of a character would be UTF-8 together.
            self.text.push(b'\n');
        }
    }

    fn peek(&self) -> Option<u8> {
        self.chunk.get(self.at).copied()
    }

    fn skip_trimmed(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| self.dialect.is_trimmed(byte))
        {
            self.at += 1;
        }
    }

    /// Appends the part of a cell up to its closing quote. Returns whether there is one.
    fn quoted_part(&mut self) -> bool {
        let Some(quote) = self.dialect.quote else {
            return true;
        };
        loop {
            let rest = &self.chunk[self.at..];
            let found = match self.dialect.escape {
                None => memchr(quote, rest),
                Some(escape) => memchr2(quote, escape, rest),
            };
            let Some(found) = found else {
                self.text.extend_from_slice(rest);
                self.at = self.chunk.len();
                return false;
            };
            self.text.extend_from_slice(&rest[..found]);
            let next = rest.get(found + 1).copied();
            let is_closing = rest[found] == quote && next != Some(quote);
            self.at += found + 1;
            if is_closing {
                return true;
            }
            if let Some(next) = next {
                // A doubled quote, or what was escaped.
                let is_escape = rest[found] != quote;
                self.text.push(if is_escape {
                    self.dialect.escaped(next)
                } else {
                    next
                });
                self.at += 1;
            }
        }
    }

    /// Appends the part of a cell up to a delimiter or terminator outside of quotes. Returns whether it has any byte.
    fn unquoted_part(&mut self) -> bool {
        let start = self.at;
        if let Some(delimiter) = self.dialect.plain_delimiter() {
            let rest = &self.chunk[start..];
            let end = memchr3(delimiter, b'\r', b'\n', rest).unwrap_or(rest.len());
            self.text.extend_from_slice(&rest[..end]);
            self.at += end;
            return end > 0;
        }
        let first = self.dialect.delimiter[0];
        while let Some(byte) = self.peek() {
            let rest = &self.chunk[self.at..];
            if matches!(byte, b'\r' | b'\n')
                || (byte == first && rest.starts_with(&self.dialect.delimiter))
            {
                break;
            }
            self.at += 1;
            if Some(byte) != self.dialect.escape {
                self.text.push(byte);
                continue;
            }
            let Some(next) = self.peek() else {
                break;
            };
            // MySQL writes null as \N, which `nulls` can name.
            if next == b'N' && self.at == start + 1 && self.ends_cell(self.at + 1) {
                self.text.push(byte);
            }
            self.text.push(self.dialect.escaped(next));
            self.at += 1;
        }
        self.at > start
    }

    fn ends_cell(&self, at: usize) -> bool {
        let rest = &self.chunk[at..];
        rest.first()
            .is_none_or(|byte| matches!(byte, b'\r' | b'\n'))
            || rest.starts_with(&self.dialect.delimiter)
    }
}
