//! CSV and TSV records to rows.

use std::ops::Range;

use arcstr::ArcStr;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use landfall_domain::{Dataset, Format, RejectCode, Row, Value};
use memchr::memchr;
use simdutf8::basic::from_utf8;

use crate::Header;
use crate::decode::{Fault, Sink, Source, check_key, field_value};

/// Bytes of cells, and records, of which a block has enough.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_RECORDS: usize = 1_000;

/// The records of a chunk, block by block, in buffers that are used again.
pub(crate) struct Records<'c> {
    chunk: &'c [u8],
    at: usize,
    reader: Reader,
    /// The records of the block.
    gathered: Vec<RawRecord<'c>>,
    /// Their cells, without quotes and delimiters, and a line feed between records, up to `filled`.
    text: Vec<u8>,
    filled: usize,
    /// Where each of them ends in `text`, up to `ended`.
    ends: Vec<usize>,
    ended: usize,
}

/// One record of [`Records`].
pub(crate) struct RawRecord<'c> {
    pub(crate) start: usize,
    pub(crate) raw: &'c [u8],
    /// Whether a quote is still open at its end.
    pub(crate) unclosed: bool,
    /// Whether its cells were left out of the text of its block, as they are not UTF-8.
    left_out: bool,
    /// Where its cells are in the text of its block.
    text: Range<usize>,
    /// Which ends are theirs.
    ends: Range<usize>,
}

/// Records whose cells are parts of one text: to check and to free a text of its own for each takes longer.
pub(crate) struct Block<'r, 'c> {
    pub(crate) records: &'r [RawRecord<'c>],
    /// The cells of all of them.
    text: ArcStr,
    /// Where each cell ends in it.
    ends: &'r [usize],
}

/// The cells of one record.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    /// What they are parts of.
    text: &'a ArcStr,
    /// Where the first of them begins there.
    start: usize,
    /// Where each of them ends.
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    fn get(self, index: usize) -> &'a str {
        let start = if index == 0 {
            self.start
        } else {
            self.ends[index - 1]
        };
        &self.text[start..self.ends[index]]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.ends.len()).map(move |index| self.get(index))
    }
}

impl Block<'_, '_> {
    /// The cells of a record, where they are UTF-8.
    pub(crate) fn cells(&self, record: &RawRecord<'_>) -> Option<Cells<'_>> {
        let ends = &self.ends[record.ends.clone()];
        // Halves of a character in two cells are UTF-8 only together.
        let is_utf8 = !record.left_out && ends.iter().all(|end| self.text.is_char_boundary(*end));
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
        // The reader takes a byte order mark off its first input, but a chunk may start with one as data.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        Self {
            chunk,
            at: 0,
            reader,
            gathered: Vec::new(),
            // As long as all records and their terminators, so that it is never full.
            text: vec![0; chunk.len() + 2],
            filled: 0,
            ends: vec![0; 64],
            ended: 0,
        }
    }

    /// Reads the next records, until there are enough, or none where there are no more.
    pub(crate) fn next_block(&mut self) -> Option<Block<'_, 'c>> {
        self.gathered.clear();
        (self.filled, self.ended) = (0, 0);
        while self.filled < BLOCK_BYTES
            && self.gathered.len() < BLOCK_RECORDS
            && let Some(record) = self.next()
        {
            self.gathered.push(record);
        }
        if self.gathered.is_empty() {
            return None;
        }
        let text = match from_utf8(&self.text[..self.filled]) {
            Ok(text) => text.into(),
            Err(_) => self.leave_out(),
        };
        Some(Block {
            records: &self.gathered,
            text,
            ends: &self.ends[..self.ended],
        })
    }

    /// Blanks the cells of those records that are not UTF-8, and gives the text that is left.
    fn leave_out(&mut self) -> ArcStr {
        for record in &mut self.gathered {
            let cells = &mut self.text[record.text.clone()];
            record.left_out = from_utf8(cells).is_err();
            if record.left_out {
                cells.fill(b' ');
            }
        }
        from_utf8(&self.text[..self.filled])
            .map(ArcStr::from)
            .unwrap_or_default()
    }

    fn next(&mut self) -> Option<RawRecord<'c>> {
        let rest = &self.chunk[self.at..];
        self.at += rest
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let start = self.at;
        if self.filled > 0 {
            // Halves of a character in two records would be UTF-8 together.
            self.text[self.filled] = b'\n';
            self.filled += 1;
        }
        let (text, first) = (self.filled, self.ended);
        let (end, unclosed) = loop {
            // A terminator ends the last record as the end of the object does, unless a quote is open.
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
        // The reader counts from where the record begins.
        for end in &mut self.ends[first..self.ended] {
            *end += text;
        }
        Some(RawRecord {
            start,
            raw: &self.chunk[start..end],
            unclosed,
            left_out: false,
            text: text..self.filled,
            ends: first..self.ended,
        })
    }
}

pub(crate) fn decode(dataset: &Dataset, format: Format, header: &Header, sink: &mut Sink<'_>) {
    let mut records = Records::new(
        sink.chunk,
        dataset.csv.delimiter_for(format),
        dataset.csv.quote,
    );
    let any_zero = memchr(0, sink.chunk).is_some();
    while let Some(block) = records.next_block() {
        for record in block.records {
            let cells = block.cells(record);
            let fill = |into: &mut Row| match cells {
                _ if record.unclosed => Err(Fault::of_record(
                    RejectCode::UnclosedQuote,
                    "a quoted cell is still open at the end of the object",
                )),
                None => Err(Fault::of_record(
                    RejectCode::Encoding,
                    "the record is not UTF-8",
                )),
                Some(_) if any_zero && record.raw.contains(&0) => Err(Fault::of_record(
                    RejectCode::Encoding,
                    "the record holds U+0000, which databases do not take",
                )),
                Some(cells) => row(dataset, header, cells, into),
            };
            let told_apart =
                cells.filter(|cells| !record.unclosed && cells.ends.len() == header.columns.len());
            sink.push(record.start, record.raw, fill, || {
                let cells = told_apart?.iter().map(serde_json::Value::from);
                Some(header.columns.iter().cloned().zip(cells).collect())
            });
        }
    }
}

fn row(dataset: &Dataset, header: &Header, cells: Cells<'_>, into: &mut Row) -> Result<(), Fault> {
    let (expected, found) = (header.columns.len(), cells.ends.len());
    if expected != found {
        let message = format!("expected {expected} cells, found {found}");
        return Err(Fault::of_record(RejectCode::ColumnCount, message));
    }
    into.deleted = match (&dataset.operation, header.operation) {
        (Some(operation), Some(column)) => operation.is_delete(cells.get(column)),
        _ => false,
    };
    into.values.reserve_exact(dataset.fields.len());
    for (index, (field, column)) in dataset.fields.iter().zip(&header.fields).enumerate() {
        if into.deleted && !dataset.key_indexes().contains(&index) {
            into.values.push(Value::Null);
            continue;
        }
        let source = match column {
            None => Source::Missing,
            Some(column) => Source::Part(cells.get(*column), cells.text),
        };
        into.values.push(field_value(field, &source)?);
    }
    check_key(dataset, &into.values)?;
    if !into.deleted {
        into.extra = extra(header, cells);
    }
    Ok(())
}

fn extra(header: &Header, cells: Cells<'_>) -> Option<String> {
    let mut text = String::new();
    for column in &header.unknown {
        text.push(if text.is_empty() { '{' } else { ',' });
        text += &column.json_name;
        text.push(':');
        text += &serde_json::Value::from(cells.get(column.index)).to_string();
    }
    (!text.is_empty()).then(|| text + "}")
}
