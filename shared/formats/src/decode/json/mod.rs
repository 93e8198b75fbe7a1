//! Decodes JSON records, from lines or from the elements of an array, into rows.

mod columns;
mod fixed;
mod reject;
mod syntax;
mod value;

use std::borrow::Cow;
use std::sync::Arc;

use landfall_domain::{
    ColumnSet, Dataset, Field, Mode, Operation, Parts, RejectCode, Row, UnknownColumns, Value,
    check_json,
};
use memchr::{memchr, memmem};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::RowColumns;
use super::exported;
use super::field::{Source, check_key, field_value, is_delete};
use super::sink::{Fault, Sink};
use crate::json_line::{LineRecord, may_have_several};
use crate::json_value::JsonValue;
use crate::syntax::is_between_json;
use columns::{Columns, Found};

pub(super) use fixed::decode_fixed;
pub(super) use reject::has_exact_numbers;

/// Decodes the records of an NDJSON chunk.
pub(super) fn decode_lines(dataset: &Dataset, is_exported: bool, sink: &mut Sink<'_>) {
    let columns = Columns::new(dataset);
    let mut decoder = Decoder::new(&columns, sink.chunk);
    decoder.is_exported = is_exported;
    each_record(sink.chunk, |start, raw| decoder.record(start, raw, sink));
}

/// Calls `record` with the start and the bytes of each record of an NDJSON chunk.
pub(crate) fn each_record<'c>(chunk: &'c [u8], mut record: impl FnMut(usize, &'c [u8])) {
    let mut at = 0;
    while let Some(skipped) = chunk[at..].iter().position(|byte| !is_between_json(*byte)) {
        let start = at + skipped;
        let end = memchr(b'\n', &chunk[start..]).map_or(chunk.len(), |found| start + found);
        let last = if may_have_several(&chunk[start..end]) {
            all_but_last(chunk, start, end, &mut record)
        } else {
            start
        };
        record(last, trim_line_end(&chunk[last..end]));
        at = end;
    }
}

/// Calls `record` for the objects on a line that precede another one. Returns the start of the last record.
fn all_but_last<'c>(
    chunk: &'c [u8],
    start: usize,
    end: usize,
    record: &mut impl FnMut(usize, &'c [u8]),
) -> usize {
    let mut start = start;
    loop {
        let after = start + 1;
        let split = LineRecord::starting_with(chunk[start]).feed(&chunk[after..end]);
        let Some(split) = split else {
            return start;
        };
        let next = after + split.next;
        record(start, &chunk[start..next - split.gap]);
        start = next;
    }
}

/// Decodes the records of a chunk of a JSON document.
pub(super) fn decode_elements(dataset: &Dataset, is_exported: bool, sink: &mut Sink<'_>) {
    let columns = Columns::new(dataset);
    let mut decoder = Decoder::new(&columns, sink.chunk);
    decoder.is_exported = is_exported;
    each_element(sink.chunk, |start, raw| decoder.record(start, raw, sink));
}

/// Calls `record` with the start and the bytes of each record of a chunk of a JSON document.
pub(crate) fn each_element<'c>(chunk: &'c [u8], mut record: impl FnMut(usize, &'c [u8])) {
    let mut at = 0;
    let is_separator = |byte: &u8| is_between_json(*byte) || *byte == b',';
    while let Some(skipped) = chunk[at..].iter().position(|byte| !is_separator(byte)) {
        let start = at + skipped;
        let rest = &chunk[start + 1..];
        let length = JsonValue::starting_with(chunk[start])
            .and_then(|mut value| value.feed(rest).ok().flatten())
            // The last element may be a number that ends with the chunk.
            .unwrap_or(rest.len());
        at = start + 1 + length;
        record(start, &chunk[start..at]);
    }
}

/// State shared by all records of a chunk.
struct Decoder<'d, 'c> {
    columns: &'d Columns<'d>,
    /// Whether any record may contain U+0000.
    any_zero: bool,
    /// The properties of the current record.
    found: Found<'d, 'c>,
    /// The columns of the last row, if the dataset is merged by column. Most rows have the same ones.
    last_columns: Option<RowColumns>,
    /// Whether strings are cells of CSV or TSV.
    has_cells: bool,
    /// Whether the API has written the record.
    is_exported: bool,
}

impl<'d, 'c> Decoder<'d, 'c> {
    fn new(columns: &'d Columns<'d>, chunk: &[u8]) -> Self {
        Self {
            columns,
            any_zero: has_zero(chunk),
            found: Found::new(columns.dataset),
            last_columns: None,
            has_cells: false,
            is_exported: false,
        }
    }

    fn record(&mut self, start: usize, raw: &'c [u8], sink: &mut Sink<'c>) {
        let mut text = std::str::from_utf8(raw);
        if let Ok(Some(after_mark)) = text.map(|text| text.strip_prefix('\u{feff}')) {
            sink.decoded.skipped.byte_order_marks += 1;
            text = Ok(after_mark);
        }
        let dataset = self.columns.dataset;
        let fill = |row: &mut Row, truncated: &mut Vec<usize>| match text {
            Err(_) => Err(Fault::not_utf8()),
            Ok(text) => self.fill_row(text, row, truncated),
        };
        sink.push(start, raw, fill, || reject::record(text.ok()?, dataset));
    }

    fn fill_row(
        &mut self,
        text: &'c str,
        row: &mut Row,
        truncated: &mut Vec<usize>,
    ) -> Result<(), Fault> {
        self.found.clear();
        let mut json = serde_json::Deserializer::from_str(text);
        let record = columns::Record {
            columns: self.columns,
            found: &mut self.found,
        };
        let parsed = record.deserialize(&mut json).and_then(|()| json.end());
        if self.any_zero && has_zero(text.as_bytes()) {
            return Err(Fault::zero_character());
        }
        parsed.map_err(|error| syntax::fault(text, &error))?;
        self.columns.open_containers(&mut self.found);
        if let Some(name) = &self.found.repeated {
            let message =
                "the property occurs more than once, with different values; remove all but one";
            return Err(Fault::in_column(name, RejectCode::Json, message));
        }
        let dataset = self.columns.dataset;
        if dataset.unknown_columns == UnknownColumns::Reject
            && let Some((name, _)) = self.found.unknown.first()
        {
            let message = "no field of the dataset has it, and unknown_columns is \"reject\"";
            return Err(Fault::in_column(name, RejectCode::UnknownColumn, message));
        }
        if let Some(operation) = &dataset.operation {
            row.deleted = json_is_delete(operation, self.found.operation().map(RawValue::get))?;
        }
        row.values.reserve_exact(dataset.fields.len());
        for (index, (field, value)) in dataset.fields.iter().zip(&self.found.values).enumerate() {
            let mut is_truncated = false;
            row.values.push(match value {
                _ if row.deleted && !dataset.is_in_deletes(index) => Value::Null,
                None if dataset.may_lack(index) => Value::Null,
                None => {
                    let value = field_value(field, &Source::Missing, &mut false);
                    value.map_err(|fault| self.found.with_hint(fault, text, dataset))?
                }
                Some(found) => self.value(field, found.get(), &mut is_truncated)?,
            });
            if is_truncated {
                truncated.push(index);
            }
        }
        check_key(dataset, &row.values)?;
        if self.is_exported {
            exported::finish(dataset, row)?;
        } else if !row.deleted {
            row.extra = self.extra()?;
        }
        if !row.deleted && dataset.mode == Mode::Merge {
            row.parts = self.parts(row);
        }
        Ok(())
    }

    /// Returns the columns of the current record, from which the row was filled.
    fn parts(&mut self, row: &Row) -> Option<Arc<Parts>> {
        let fields = self.columns.dataset.fields.len();
        let values = self.found.values.iter().take(fields).enumerate();
        let found = values.filter_map(|(field, value)| value.map(|_| field));
        let columns: ColumnSet = found.collect();
        let last = self.last_columns.take();
        let last = last.filter(|last| last.fields == columns);
        self.last_columns = last.or_else(|| Some(RowColumns::new(columns, fields)));
        self.last_columns.as_ref().map(|last| last.parts(row))
    }

    /// Returns the value of a field from JSON that is not empty.
    fn value(&self, field: &Field, json: &str, truncated: &mut bool) -> Result<Value, Fault> {
        match (self.has_cells, self.is_exported) {
            (false, false) => value::field_value_of(field, json, truncated),
            (true, false) => value::cell_value_of(self.columns.dataset, field, json, truncated),
            (false, true) => value::exported_value_of(field, json),
            (true, true) => value::exported_cell_of(field, json),
        }
    }

    /// Returns the properties that belong to no field, sorted by name. The last property of a name wins.
    fn extra(&mut self) -> Result<Option<String>, Fault> {
        let unknown = &mut self.found.unknown;
        unknown.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut text = String::new();
        let same_name = unknown.chunk_by(|(a, _), (b, _)| a == b);
        for (name, value) in same_name.filter_map(<[_]>::last) {
            check_json(value)
                .map_err(|error| Fault::in_column(name, RejectCode::Type, error.to_string()))?;
            push_property(&mut text, name, value);
        }
        Ok((!text.is_empty()).then(|| text + "}"))
    }
}

/// Appends a property to the text of an object without its closing bracket.
pub(super) fn push_property(text: &mut String, name: &str, value: &str) {
    text.push(if text.is_empty() { '{' } else { ',' });
    *text += &serde_json::Value::from(name).to_string();
    text.push(':');
    *text += value;
}

/// Returns whether the JSON value of the operation means a delete. A missing one and null are the empty text.
fn json_is_delete(operation: &Operation, json: Option<&str>) -> Result<bool, Fault> {
    match json {
        None | Some("null") => is_delete(operation, ""),
        Some(json) => match serde_json::from_str(json) {
            Ok(Text(text)) => is_delete(operation, &text),
            Err(_) => is_delete(operation, json),
        },
    }
}

/// A property name or string, borrowed unless it contains escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// All properties of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Returns the properties of an object, or `None` of another value.
    fn of(json: &'a str) -> Option<Vec<(Cow<'a, str>, &'a RawValue)>> {
        let is_object = json.starts_with('{');
        let parsed = is_object.then(|| serde_json::from_str(json).ok());
        parsed.flatten().map(|Self(members)| members)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Returns a line without what follows its last record. Some writers put commas there, as in an array.
fn trim_line_end(line: &[u8]) -> &[u8] {
    let trimmed = |line: &[u8]| {
        let last = line.iter().rposition(|byte| !is_between_json(*byte));
        last.map_or(0, |last| last + 1)
    };
    let line = &line[..trimmed(line)];
    match line.strip_suffix(b",") {
        Some(before) if before.first() == Some(&b'{') => &before[..trimmed(before)],
        _ => line,
    }
}

/// Returns whether the bytes contain U+0000, escaped or not.
fn has_zero(bytes: &[u8]) -> bool {
    memchr(0, bytes).is_some()
        || memmem::find_iter(bytes, b"\\u0000").any(|at| {
            // After an odd number of backslashes, this one is escaped.
            let before = bytes[..at]
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            before % 2 == 0
        })
}
