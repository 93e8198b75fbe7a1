//! Decodes CSV and TSV records to rows.
//!
//! Records are read in blocks of up to 1,000, whose cells share one text. The text is validated as UTF-8 at once;
//! records are checked one by one only if that fails. Allocating, checking and freeing a text per cell took more
//! CPU time.

use landfall_domain::{Dataset, Format, RejectCode, Row, Value};
use memchr::memchr;

use super::field::{Source, check_key, field_value};
use super::sink::{Fault, Sink};
use crate::csv_records::{Cells, Records};
use crate::header::Header;

pub(super) fn decode(dataset: &Dataset, format: Format, header: &Header, sink: &mut Sink<'_>) {
    let mut records = Records::new(
        sink.chunk,
        dataset.csv.delimiter_for(format),
        dataset.csv.quote,
    );
    let has_zero = memchr(0, sink.chunk).is_some();
    while let Some(block) = records.next_block() {
        for record in block.records {
            let cells = block.cells(record);
            let fill = |row: &mut Row| match cells {
                _ if record.unclosed => Err(Fault::in_record(
                    RejectCode::UnclosedQuote,
                    "a quoted cell is still open at the end of the object; close it, or double a quote that is data",
                )),
                None => Err(Fault::not_utf8()),
                Some(_) if has_zero && record.raw.contains(&0) => Err(Fault::zero_character()),
                Some(cells) => fill_row(dataset, header, cells, row),
            };
            let named =
                cells.filter(|cells| !record.unclosed && cells.len() == header.columns.len());
            sink.push(record.start, record.raw, fill, || {
                let cells = named?.iter().map(serde_json::Value::from);
                Some(header.columns.iter().cloned().zip(cells).collect())
            });
        }
    }
}

fn fill_row(
    dataset: &Dataset,
    header: &Header,
    cells: Cells<'_>,
    row: &mut Row,
) -> Result<(), Fault> {
    let (expected, found) = (header.columns.len(), cells.len());
    if expected != found {
        let message = format!("expected {expected} cells, found {found}");
        return Err(Fault::in_record(RejectCode::ColumnCount, message));
    }
    row.deleted = match (&dataset.operation, header.operation) {
        (Some(operation), Some(column)) => operation.is_delete(cells.get(column)),
        _ => false,
    };
    row.values.reserve_exact(dataset.fields.len());
    for (index, (field, column)) in dataset.fields.iter().zip(&header.fields).enumerate() {
        if row.deleted && !dataset.key_indexes().contains(&index) {
            row.values.push(Value::Null);
            continue;
        }
        let source = match column {
            None => Source::Missing,
            Some(column) => Source::Part(cells.get(*column), cells.text),
        };
        row.values.push(field_value(field, &source)?);
    }
    check_key(dataset, &row.values)?;
    if !row.deleted {
        row.extra = extra(header, cells);
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
