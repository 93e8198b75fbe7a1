//! CSV and TSV records to rows.

use std::ops::Range;

use arcstr::ArcStr;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use landfall_domain::{Dataset, Format, RejectCode, Value, Values};
use memchr::memchr;

use crate::Header;
use crate::decode::{Content, Fault, Sink, Source, check_key, field_value};

/// Bytes of cells, and records, of which a block has enough.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_RECORDS: usize = 1_000;

/// The records of a chunk, one after the other, in buffers that are used again.
pub(crate) struct Records<'c> {
    chunk: &'c [u8],
    at: usize,
    reader: Reader,
    /// The cells of the current record, without quotes and delimiters.
    text: Vec<u8>,
    /// Where each of them ends in `text`.
    ends: Vec<usize>,
}

/// One record of [`Records`]; its cells are there until the next one is read.
pub(crate) struct RawRecord<'c> {
    pub(crate) start: usize,
    pub(crate) raw: &'c [u8],
    /// Whether a quote is still open at its end.
    pub(crate) unclosed: bool,
    length: usize,
    cells: usize,
}

/// The cells of one record.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    /// What they are parts of.
    text: &'a str,
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
            // As long as any record and its terminator, so that it is never full.
            text: vec![0; chunk.len() + 2],
            ends: vec![0; 64],
        }
    }

    pub(crate) fn next(&mut self) -> Option<RawRecord<'c>> {
        let rest = &self.chunk[self.at..];
        self.at += rest
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let start = self.at;
        let (mut length, mut cells) = (0, 0);
        let (end, unclosed) = loop {
            // A terminator ends the last record as the end of the object does, unless a quote is open.
            let at_end = self.at == self.chunk.len();
            let input = if at_end {
                b"\n"
            } else {
                &self.chunk[self.at..]
            };
            let (result, read, written, ended) =
                self.reader
                    .read_record(input, &mut self.text[length..], &mut self.ends[cells..]);
            length += written;
            cells += ended;
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
        Some(RawRecord {
            start,
            raw: &self.chunk[start..end],
            unclosed,
            length,
            cells,
        })
    }

    /// The cells of the record that was read last, where they are UTF-8.
    pub(crate) fn cells(&self, record: &RawRecord<'_>) -> Option<Cells<'_>> {
        let text = std::str::from_utf8(&self.text[..record.length]).ok()?;
        let ends = &self.ends[..record.cells];
        // Halves of a character in two cells are UTF-8 only together.
        ends.iter()
            .all(|end| text.is_char_boundary(*end))
            .then_some(Cells {
                text,
                start: 0,
                ends,
            })
    }
}

/// Records whose cells are parts of one text: to free a text of its own for each long cell would take longer.
#[derive(Default)]
struct Block<'c> {
    /// The cells of all of them.
    text: String,
    /// Where each cell ends in it.
    ends: Vec<usize>,
    records: Vec<Gathered<'c>>,
}

/// A record of a [`Block`].
struct Gathered<'c> {
    raw: RawRecord<'c>,
    /// Where its cells begin in the text, and which ends are theirs; none where they are not UTF-8.
    cells: Option<(usize, Range<usize>)>,
}

impl<'c> Block<'c> {
    /// Takes the next records in, until there are enough or no more.
    fn fill(&mut self, records: &mut Records<'c>) {
        self.text.clear();
        self.ends.clear();
        while self.text.len() < BLOCK_BYTES
            && self.records.len() < BLOCK_RECORDS
            && let Some(raw) = records.next()
        {
            let cells = records.cells(&raw).map(|cells| {
                let start = self.text.len();
                let first = self.ends.len();
                self.text.push_str(cells.text);
                self.ends.extend(cells.ends.iter().map(|end| start + end));
                (start, first..self.ends.len())
            });
            self.records.push(Gathered { raw, cells });
        }
    }
}

pub(crate) fn decode(dataset: &Dataset, format: Format, header: &Header, sink: &mut Sink<'_>) {
    let mut records = Records::new(
        sink.chunk,
        dataset.csv.delimiter_for(format),
        dataset.csv.quote,
    );
    let any_zero = memchr(0, sink.chunk).is_some();
    let mut block = Block::default();
    loop {
        block.fill(&mut records);
        if block.records.is_empty() {
            return;
        }
        let whole = ArcStr::from(block.text.as_str());
        for Gathered { raw, cells } in block.records.drain(..) {
            let cells = cells.map(|(start, ends)| Cells {
                text: &whole,
                start,
                ends: &block.ends[ends],
            });
            let outcome = match cells {
                _ if raw.unclosed => Err(Fault::of_record(
                    RejectCode::UnclosedQuote,
                    "a quoted cell is still open at the end of the object",
                )),
                None => Err(Fault::of_record(
                    RejectCode::Encoding,
                    "the record is not UTF-8",
                )),
                Some(_) if any_zero && raw.raw.contains(&0) => Err(Fault::of_record(
                    RejectCode::Encoding,
                    "the record holds U+0000, which databases do not take",
                )),
                Some(cells) => row(dataset, header, cells, &whole),
            };
            let told_apart =
                cells.filter(|cells| !raw.unclosed && cells.ends.len() == header.columns.len());
            sink.push(raw.start, raw.raw, outcome, || {
                let cells = told_apart?.iter().map(serde_json::Value::from);
                Some(header.columns.iter().cloned().zip(cells).collect())
            });
        }
    }
}

fn row(
    dataset: &Dataset,
    header: &Header,
    cells: Cells<'_>,
    whole: &ArcStr,
) -> Result<Content, Fault> {
    let (expected, found) = (header.columns.len(), cells.ends.len());
    if expected != found {
        let message = format!("expected {expected} cells, found {found}");
        return Err(Fault::of_record(RejectCode::ColumnCount, message));
    }
    let deleted = match (&dataset.operation, header.operation) {
        (Some(operation), Some(column)) => operation.is_delete(cells.get(column)),
        _ => false,
    };
    let mut values = Values::with_capacity(dataset.fields.len());
    for (index, (field, column)) in dataset.fields.iter().zip(&header.fields).enumerate() {
        if deleted && !dataset.key_indexes().contains(&index) {
            values.push(Value::Null);
            continue;
        }
        let source = match column {
            None => Source::Missing,
            Some(column) => Source::Part(cells.get(*column), whole),
        };
        values.push(field_value(field, &source)?);
    }
    check_key(dataset, &values)?;
    let extra = if deleted { None } else { extra(header, cells) };
    Ok(Content {
        deleted,
        values,
        extra,
    })
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
