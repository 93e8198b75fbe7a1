//! Splits CSV and TSV into records and cells.

use std::ops::Range;

use arcstr::ArcStr;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use simdutf8::basic::from_utf8;

/// A block is complete once its cells have this many bytes, or it has this many records.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_RECORDS: usize = 1_000;

/// Reads the records of a chunk block by block, into buffers that are reused.
pub(crate) struct Records<'c> {
    chunk: &'c [u8],
    at: usize,
    reader: Reader,
    /// The records of the current block.
    block: Vec<RawRecord<'c>>,
    /// The cells of the block without quotes and delimiters, up to `filled`. A line feed separates records.
    text: Vec<u8>,
    filled: usize,
    /// Where each cell ends in `text`, up to `ended`.
    ends: Vec<usize>,
    ended: usize,
}

/// One record of [`Records`].
pub(crate) struct RawRecord<'c> {
    pub(crate) start: usize,
    pub(crate) raw: &'c [u8],
    /// Whether a quoted cell is still open at the end of the record.
    pub(crate) unclosed: bool,
    /// Whether the cells are not UTF-8, and therefore blank in the text of the block.
    blanked: bool,
    /// Range of the cells in the text of the block.
    text: Range<usize>,
    /// Range of their ends among those of the block.
    ends: Range<usize>,
}

/// Records whose cells are slices of one text, which is validated and freed faster than a text per record.
pub(crate) struct Block<'r, 'c> {
    pub(crate) records: &'r [RawRecord<'c>],
    /// The cells of all records.
    text: ArcStr,
    /// Where each cell ends in `text`.
    ends: &'r [usize],
}

/// The cells of one record.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    /// The text of the block.
    pub(crate) text: &'a ArcStr,
    /// Where the first cell starts in `text`.
    start: usize,
    /// Where each cell ends.
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    pub(crate) fn len(self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(self, index: usize) -> &'a str {
        let start = if index == 0 {
            self.start
        } else {
            self.ends[index - 1]
        };
        &self.text[start..self.ends[index]]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl Block<'_, '_> {
    /// Returns the cells of a record, or `None` if they are not UTF-8.
    pub(crate) fn cells(&self, record: &RawRecord<'_>) -> Option<Cells<'_>> {
        let ends = &self.ends[record.ends.clone()];
        // Two cells that contain halves of a character are UTF-8 only together.
        let is_utf8 = !record.blanked && ends.iter().all(|end| self.text.is_char_boundary(*end));
        is_utf8.then_some(Cells {
            text: &self.text,
            start: record.text.start,
            ends,
        })
    }
}

impl<'c> Records<'c> {
    pub(crate) fn new(chunk: &'c [u8], delimiter: u8, quote: u8) -> Self {
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quote(quote)
            .build();
        // The reader strips a byte order mark from its first input, but a chunk may start with one as data.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        Self {
            chunk,
            at: 0,
            reader,
            block: Vec::new(),
            // Has room for all records and their terminators, so it is never full.
            text: vec![0; chunk.len() + 2],
            filled: 0,
            ends: vec![0; 64],
            ended: 0,
        }
    }

    /// Reads the next block of at least one record, or returns `None` after the last one.
    pub(crate) fn next_block(&mut self) -> Option<Block<'_, 'c>> {
        self.block.clear();
        (self.filled, self.ended) = (0, 0);
        while self.filled < BLOCK_BYTES
            && self.block.len() < BLOCK_RECORDS
            && let Some(record) = self.next()
        {
            self.block.push(record);
        }
        if self.block.is_empty() {
            return None;
        }
        let text = match from_utf8(&self.text[..self.filled]) {
            Ok(text) => text.into(),
            Err(_) => self.blank_invalid(),
        };
        Some(Block {
            records: &self.block,
            text,
            ends: &self.ends[..self.ended],
        })
    }

    /// Blanks the cells of records that are not UTF-8, and returns the text of the block.
    fn blank_invalid(&mut self) -> ArcStr {
        for record in &mut self.block {
            let cells = &mut self.text[record.text.clone()];
            record.blanked = from_utf8(cells).is_err();
            if record.blanked {
                cells.fill(b' ');
            }
        }
        let text = from_utf8(&self.text[..self.filled]).map(ArcStr::from);
        debug_assert!(text.is_ok(), "only blank and valid cells are left");
        // Cells beyond the end of the text are rejected as not being UTF-8.
        text.unwrap_or_default()
    }

    fn next(&mut self) -> Option<RawRecord<'c>> {
        let rest = &self.chunk[self.at..];
        self.at += rest
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let start = self.at;
        if self.filled > 0 {
            // Two records that contain halves of a character would be UTF-8 together.
            self.text[self.filled] = b'\n';
            self.filled += 1;
        }
        let (text, first) = (self.filled, self.ended);
        let (end, unclosed) = loop {
            // The end of the chunk acts as a terminator, unless a quoted cell is open.
            let at_end = self.at == self.chunk.len();
            let input = if at_end {
                b"\n"
            } else {
                &self.chunk[self.at..]
            };
            let (result, read, written, ended) = self.reader.read_record(
                input,
                &mut self.text[self.filled..],
                &mut self.ends[self.ended..],
            );
            self.filled += written;
            self.ended += ended;
            if !at_end {
                self.at += read;
            }
            match result {
                ReadRecordResult::Record if at_end => break (self.at, false),
                ReadRecordResult::Record => break (self.at - 1, false),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                _ if at_end => break (self.at, true),
                _ => {}
            }
        };
        // The reader reports ends relative to the start of the record.
        for end in &mut self.ends[first..self.ended] {
            *end += text;
        }
        Some(RawRecord {
            start,
            raw: &self.chunk[start..end],
            unclosed,
            blanked: false,
            text: text..self.filled,
            ends: first..self.ended,
        })
    }
}
