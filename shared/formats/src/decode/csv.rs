//! Decodes CSV and TSV records to rows.
//!
//! Records are read in blocks of up to 1,000, whose cells share one text. The text is validated as UTF-8 at once;
//! records are checked one by one only if that fails. Allocating, checking and freeing a text per cell took more
//! CPU time.

use std::cell::LazyCell;

use landfall_domain::{
    ColumnSet, Dataset, FieldType, Mode, Reading, RejectCode, Row, UnknownColumns, Value, excerpt,
};
use memchr::memchr;

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
    };
    // Needed for rejects only.
    let names = LazyCell::new(|| Names::new(dataset, header));
    while let Some(block) = records.next_block() {
        for record in block.records {
            let cells = block.cells(record);
            if let Some(cells) = cells
                && decoder.skips(record.quotes, cells, sink)
            {
                continue;
            }
            let fill = |row: &mut Row, truncated: &mut Vec<usize>| {
                decoder.fill_row(record, cells, row, truncated)
            };
            let named = cells.filter(|cells| {
                decoder.accepts(record.quotes) && decoder.check_count(*cells).is_ok()
            });
            sink.push(record.start, record.raw, fill, || {
                names.record(named?, dialect.quoted_empty)
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
}

/// Returns the columns that the rows of an object have, if its dataset is merged by column.
fn columns_of(dataset: &Dataset, header: &Header) -> Option<RowColumns> {
    let fields = 0..dataset.fields.len();
    let columns: ColumnSet = fields.filter(|field| header.has(*field)).collect();
    (dataset.mode == Mode::Merge).then(|| RowColumns::new(columns, dataset.fields.len()))
}

impl Decoder<'_> {
    /// Skips and counts a record without any value, or one that repeats the header.
    fn skips(&self, quotes: Quotes, cells: Cells<'_>, sink: &mut Sink<'_>) -> bool {
        let skipped = &mut sink.decoded.skipped;
        if quotes != Quotes::Correct {
            return false;
        }
        let repeats = |names: &Vec<String>| cells.iter().eq(names);
        if cells.are_empty() && !(self.dialect.quoted_empty && cells.any_quoted()) {
            skipped.blank_rows += 1;
        } else if self.header.records.iter().any(repeats) {
            skipped.repeated_headers += 1;
        } else {
            return false;
        }
        sink.decoded.records += 1;
        true
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
                    "text follows a closing quote, so the record may have swallowed others; double quotes that are data, \
                     or set csv.quote = \"\" if all quotes are, csv.escape if they are escaped, or csv.lenient",
                ));
            }
            Quotes::TextAfter | Quotes::Correct => {}
        }
        let cells = cells.ok_or_else(Fault::not_utf8)?;
        if self.has_zero && record.raw.contains(&0) {
            return Err(Fault::zero_character());
        }
        self.check_count(cells)?;
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
        if !row.deleted {
            row.parts = self.columns.as_ref().map(|columns| columns.parts(row));
        }
        Ok(())
    }

    fn check_count(&self, cells: Cells<'_>) -> Result<(), Fault> {
        let (expected, found) = (self.header.columns.len(), cells.len());
        if self.has_columns(found) {
            return Ok(());
        }
        let is_flexible =
            self.dialect.flexible && (expected..found).all(|index| cells.get(index).is_empty());
        if is_flexible {
            return Ok(());
        }
        let hint = if self.dialect.flexible {
            ""
        } else {
            "; csv.flexible accepts missing trailing cells, and surplus empty ones"
        };
        let message = format!("expected {expected} cells, found {found}{hint}");
        Err(Fault::in_record(RejectCode::ColumnCount, message))
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

/// Appends a cell to the text of an object without its closing bracket.
fn push_cell(text: &mut String, json_name: &str, cell: &str) {
    text.push(if text.is_empty() { '{' } else { ',' });
    *text += json_name;
    text.push(':');
    *text += &serde_json::Value::from(cell).to_string();
}
