//! Decodes CSV and TSV records to rows.
//!
//! Records are read in blocks of up to 1,000, whose cells share one text. The text is validated as UTF-8 at once;
//! records are checked one by one only if that fails. Allocating, checking and freeing a text per cell took more
//! CPU time.

use std::cell::LazyCell;
use std::collections::HashSet;

use landfall_domain::{
    ColumnSet, Dataset, FieldType, Mode, Reading, RejectCode, Row, UnknownColumns, Value, excerpt,
};
use memchr::{memchr, memchr2, memmem};

use super::columns::RowColumns;
use super::exported;
use super::field::{Source, check_key, field_value, is_delete};
use super::record::Names;
use super::sink::{Fault, Sink};
use crate::csv::dialect::Dialect;
use crate::csv::header::Header;
use crate::csv::records::{Cells, Quotes, RawRecord, Records};
use crate::position::nameless;

pub(super) fn decode(dataset: &Dataset, reading: &Reading, header: &Header, sink: &mut Sink<'_>) {
    let dialect = Dialect::new(&dataset.csv, reading);
    let mut records = Records::new(sink.chunk, &dialect);
    let decoder = Decoder {
        dataset,
        dialect: &dialect,
        header,
        is_exported: reading.is_exported,
        has_zero: memchr(0, sink.chunk).is_some(),
        columns: columns_of(dataset, header),
        names: HeaderNames::of(header),
    };
    // Needed for rejects only.
    let names = LazyCell::new(|| Names::new(dataset, header));
    let mut after_header = false;
    while let Some(block) = records.next_block() {
        for record in block.records {
            let cells = block.cells(record);
            if let Some(cells) = cells.filter(|_| record.quotes == Quotes::Correct) {
                let decoded = &mut sink.decoded;
                match decoder.kind(cells) {
                    Kind::Blank => {
                        decoded.skipped.blank_rows += 1;
                        decoded.records += 1;
                        continue;
                    }
                    Kind::Header => {
                        decoded.skipped.repeated_headers += 1;
                        decoded.records += 1;
                        after_header = false;
                        continue;
                    }
                    Kind::OtherHeader => {
                        decoded.other_headers += 1;
                        after_header = true;
                    }
                    Kind::Row => {
                        let swallowed = decoder.may_have_swallowed(record, cells);
                        decoded.swallowed += u64::from(swallowed);
                    }
                }
            }
            let fill = |row: &mut Row, truncated: &mut Vec<usize>| {
                if after_header {
                    return Err(Fault::other_header());
                }
                decoder.fill_row(record, cells, row, truncated)
            };
            sink.push(record.start, record.raw, fill, || {
                let cells = cells.filter(|cells| {
                    decoder.accepts(record.quotes) && decoder.check_count(record, *cells).is_ok()
                });
                names.record(cells?, dialect.quoted_empty)
            });
        }
    }
    sink.decoded.skipped.byte_order_marks += records.marks();
}

struct Decoder<'d> {
    dataset: &'d Dataset,
    dialect: &'d Dialect,
    header: &'d Header,
    /// Whether the API has written the file.
    is_exported: bool,
    /// Whether any record may contain U+0000.
    has_zero: bool,
    /// The columns of each row, if the dataset is merged by column.
    columns: Option<RowColumns>,
    names: HeaderNames<'d>,
}

/// Returns the columns that the rows of an object have, if its dataset is merged by column.
fn columns_of(dataset: &Dataset, header: &Header) -> Option<RowColumns> {
    let fields = 0..dataset.fields.len();
    let columns: ColumnSet = fields.filter(|field| header.has(*field)).collect();
    (dataset.mode == Mode::Merge).then(|| RowColumns::new(columns, dataset.fields.len()))
}

/// What a record is.
enum Kind {
    Row,
    /// It has no value, and is skipped.
    Blank,
    /// It repeats the header, and is skipped.
    Header,
    /// It is a header with other columns, or in another order.
    OtherHeader,
}

impl Decoder<'_> {
    fn kind(&self, cells: Cells<'_>) -> Kind {
        if self.names.lack(cells.get_or_empty(0)) {
            Kind::Row
        } else if cells.are_blank() && !(self.dialect.quoted_empty && cells.any_quoted()) {
            Kind::Blank
        } else if self.header.is_repeated(cells) {
            Kind::Header
        } else if self.names.are_all(cells) {
            Kind::OtherHeader
        } else {
            Kind::Row
        }
    }

    /// Returns whether a quoted cell continues on lines that look like rows of their own.
    fn may_have_swallowed(&self, record: &RawRecord<'_>, cells: Cells<'_>) -> bool {
        let columns = self.header.columns.len();
        let delimiter = &self.dialect.delimiter;
        columns > 1
            && cells.any_quoted()
            && has_lines(record.raw)
            && lines(record.raw)
                .all(|line| memmem::find_iter(line, delimiter).count() + 1 == columns)
    }

    /// Returns whether cells with such quotes are known.
    fn accepts(&self, quotes: Quotes) -> bool {
        quotes == Quotes::Correct || (quotes == Quotes::TextAfter && self.dialect.lenient)
    }

    fn fill_row(
        &self,
        record: &RawRecord<'_>,
        cells: Option<Cells<'_>>,
        row: &mut Row,
        truncated: &mut Vec<usize>,
    ) -> Result<(), Fault> {
        match record.quotes {
            Quotes::Unclosed => {
                return Err(Fault::in_record(
                    RejectCode::UnclosedQuote,
                    "a quoted cell is still open at the end of the object; close it, or double a quote that is data",
                ));
            }
            Quotes::TextAfter if !self.dialect.lenient => {
                return Err(Fault::in_record(
                    RejectCode::TextAfterQuote,
                    "text follows a closing quote, so the record may have swallowed others; double quotes that are \
                     data, or set csv.quote = \"\" if all quotes are, csv.escape if they are escaped, or csv.lenient",
                ));
            }
            Quotes::TextAfter | Quotes::Correct => {}
        }
        let cells = cells.ok_or_else(Fault::not_utf8)?;
        if self.has_zero && record.raw.contains(&0) {
            return Err(Fault::zero_character());
        }
        self.check_count(record, cells)?;
        let (dataset, header) = (self.dataset, self.header);
        if let Some(operation) = &dataset.operation {
            let column = header.operation.filter(|column| *column < cells.len());
            let text = column.map_or("", |column| cells.get(column));
            row.deleted = is_delete(operation, text)?;
        }
        row.values.reserve_exact(dataset.fields.len());
        for (index, (field, column)) in dataset.fields.iter().zip(&header.fields).enumerate() {
            if row.deleted && !dataset.is_in_deletes(index) {
                row.values.push(Value::Null);
                continue;
            }
            let source = match column {
                None if dataset.may_lack(index) => {
                    row.values.push(Value::Null);
                    continue;
                }
                Some(column)
                    if self.dialect.quoted_empty
                        && field.kind == FieldType::Text
                        && cells.is_quoted_empty(*column) =>
                {
                    row.values.push(Value::Text("".into()));
                    continue;
                }
                Some(column)
                    if *column < cells.len() && self.is_exported && exported::is_text(field) =>
                {
                    let text = exported::text_of(cells.get(*column));
                    text.map_or(Source::Null, |text| Source::Part(text, cells.text))
                }
                Some(column) if *column < cells.len() => {
                    Source::Part(cells.get(*column), cells.text)
                }
                _ => Source::Missing,
            };
            let mut is_truncated = false;
            row.values
                .push(field_value(field, &source, &mut is_truncated)?);
            if is_truncated {
                truncated.push(index);
            }
        }
        check_key(dataset, &row.values)?;
        if self.is_exported {
            exported::finish(dataset, row)?;
        } else if !row.deleted {
            row.extra = if header.is_open {
                self.extra_of_positions(cells)?
            } else {
                self.extra(cells)
            };
        }
        if let Some(columns) = self.columns.as_ref().filter(|_| !row.deleted) {
            row.parts = Some(columns.parts(row));
        }
        Ok(())
    }

    fn check_count(&self, record: &RawRecord<'_>, cells: Cells<'_>) -> Result<(), Fault> {
        let (expected, found) = (self.header.columns.len(), cells.len());
        if self.has_columns(found) {
            return Ok(());
        }
        let is_flexible =
            self.dialect.flexible && (expected..found).all(|index| cells.get(index).is_empty());
        if is_flexible {
            return Ok(());
        }
        let hint = self.count_hint(record, cells);
        let message = format!("expected {expected} cells, found {found}{hint}");
        Err(Fault::in_record(RejectCode::ColumnCount, message))
    }

    /// Returns the likely cause of a wrong number of cells, and what to do about it.
    #[cold]
    fn count_hint(&self, record: &RawRecord<'_>, cells: Cells<'_>) -> &'static str {
        let dialect = self.dialect;
        let any_starts_with = |start: char| cells.iter().any(|cell| cell.starts_with(start));
        let is_quote_after_space = |cell: &str| {
            let inner = cell.trim_start_matches(' ').as_bytes();
            inner.len() < cell.len()
                && dialect.quote.is_some()
                && inner.first().copied() == dialect.quote
        };
        if cells.any_quoted() && has_lines(record.raw) {
            "; a cell in quotes continues on other lines, so the record may have swallowed others: double quotes \
             that are data, or set csv.quote = \"\" if all quotes are"
        } else if !dialect.trim && cells.iter().any(is_quote_after_space) {
            "; csv.trim ignores spaces before quotes"
        } else if dialect.comment.is_none() && any_starts_with('#') && cells.get(0).starts_with('#')
        {
            "; if it is a comment, set csv.comment = \"#\""
        } else if dialect.quote == Some(b'"') && any_starts_with('\'') {
            "; if ' encloses cells, set csv.quote = \"'\""
        } else if cells.len() == 1 && cells.any_quoted() {
            "; the whole record is in quotes, so it is one cell: remove them"
        } else if dialect.flexible {
            ""
        } else {
            "; csv.flexible accepts missing trailing cells, and surplus empty ones"
        }
    }

    fn extra(&self, cells: Cells<'_>) -> Option<String> {
        let mut text = String::new();
        for column in &self.header.unknown {
            if column.index >= cells.len() {
                continue;
            }
            let cell = cells.get(column.index);
            if cell.is_empty() && !column.is_named {
                continue;
            }
            push_cell(&mut text, &column.json_name, cell);
        }
        (!text.is_empty()).then(|| text + "}")
    }

    /// Returns the cells that no position names, or rejects the record.
    fn extra_of_positions(&self, cells: Cells<'_>) -> Result<Option<String>, Fault> {
        if self.dataset.unknown_columns == UnknownColumns::Drop {
            return Ok(None);
        }
        let mut text = self.extra(cells).unwrap_or_default();
        text.truncate(text.len().saturating_sub(1));
        for index in self.header.columns.len()..cells.len() {
            let cell = cells.get(index);
            if !cell.is_empty() {
                let name = serde_json::Value::from(nameless(self.dataset, index));
                push_cell(&mut text, &name.to_string(), cell);
            }
        }
        if self.dataset.unknown_columns == UnknownColumns::Reject && !text.is_empty() {
            let text = excerpt(&text);
            let message = format!("no field of the dataset has the position of {text}");
            return Err(Fault::in_record(RejectCode::UnknownColumn, message));
        }
        Ok((!text.is_empty()).then(|| text + "}"))
    }

    /// Returns whether a record may have this number of cells.
    fn has_columns(&self, count: usize) -> bool {
        let expected = self.header.columns.len();
        count == expected || (self.header.is_open && count > expected)
    }
}

/// The names of the columns, to find headers among the records.
struct HeaderNames<'d> {
    names: HashSet<&'d str>,
    /// The lengths of all names, one bit for each. Most cells have another one, which is faster to find out.
    lengths: u64,
}

impl<'d> HeaderNames<'d> {
    fn of(header: &'d Header) -> Self {
        let records = header.records.iter().flatten();
        let all = header.columns.iter().chain(records);
        let all = all.map(|name| name.trim());
        let lengths = all.fold(0, |bits, name| {
            // The same name can have another length in another case.
            let any = if name.is_ascii() { 0 } else { u64::MAX };
            bits | length_bit(name) | any
        });
        let names = header.columns.iter().map(|name| name.trim());
        // Numbers can be data as well.
        let names = names.filter(|name| name.contains(char::is_alphabetic));
        Self {
            names: names.collect(),
            lengths,
        }
    }

    /// Returns whether a cell is certainly neither blank nor a name.
    fn lack(&self, cell: &str) -> bool {
        let is_trimmed = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
        let bytes = cell.as_bytes();
        is_trimmed(bytes.first())
            && is_trimmed(bytes.last())
            && length_bit(cell) & self.lengths == 0
    }

    /// Returns whether all cells, and at least two, are different names of columns.
    fn are_all(&self, cells: Cells<'_>) -> bool {
        let is_name = |cell: &str| {
            let cell = cell.trim();
            length_bit(cell) & self.lengths != 0 && self.names.contains(cell)
        };
        let filled = || cells.iter().filter(|cell| !cell.is_empty());
        filled().all(is_name) && {
            let different: HashSet<&str> = filled().collect();
            different.len() > 1 && different.len() == filled().count()
        }
    }
}

fn length_bit(text: &str) -> u64 {
    1 << text.len().min(63)
}

/// Returns whether a record has several lines.
fn has_lines(raw: &[u8]) -> bool {
    memchr2(b'\n', b'\r', raw).is_some()
}

/// Returns the lines of a record.
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = if memchr(b'\n', raw).is_some() {
        b'\n'
    } else {
        b'\r'
    };
    raw.split(move |byte| *byte == end)
}

/// Appends a cell to the text of an object without its closing bracket.
fn push_cell(text: &mut String, json_name: &str, cell: &str) {
    text.push(if text.is_empty() { '{' } else { ',' });
    *text += json_name;
    text.push(':');
    *text += &serde_json::Value::from(cell).to_string();
}
