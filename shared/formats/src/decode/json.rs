//! Decodes JSON objects, from lines or from the elements of an array, into rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use landfall_domain::{
    Dataset, Field, FieldType, Operation, RejectCode, Row, UnknownColumns, Value, check_json,
    excerpt,
};
use memchr::{memchr, memmem};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field::{Source, check_key, field_value, is_delete, value_fault};
use super::json_syntax as syntax;
use super::sink::{Fault, Record, Sink};
use crate::json_value::JsonValue;
use crate::syntax::is_json_space;

/// Decodes the records of an NDJSON chunk.
pub(super) fn decode_lines(dataset: &Dataset, sink: &mut Sink<'_>) {
    let chunk = sink.chunk;
    let mut decoder = Decoder::new(dataset, chunk);
    let mut at = 0;
    while let Some(skipped) = chunk[at..].iter().position(|byte| !is_json_space(*byte)) {
        let start = at + skipped;
        let end = memchr(b'\n', &chunk[start..]).map_or(chunk.len(), |found| start + found);
        decoder.record(start, trim_json_end(&chunk[start..end]), sink);
        at = end;
    }
}

/// Decodes the records of a chunk of a JSON array.
pub(super) fn decode_elements(dataset: &Dataset, sink: &mut Sink<'_>) {
    let chunk = sink.chunk;
    let mut decoder = Decoder::new(dataset, chunk);
    let mut at = 0;
    let is_separator = |byte: &u8| is_json_space(*byte) || *byte == b',';
    while let Some(skipped) = chunk[at..].iter().position(|byte| !is_separator(byte)) {
        let start = at + skipped;
        let rest = &chunk[start + 1..];
        let length = JsonValue::starting_with(chunk[start])
            .and_then(|mut value| value.feed(rest).ok().flatten())
            // The last element may be a number that ends with the chunk.
            .unwrap_or(rest.len());
        at = start + 1 + length;
        decoder.record(start, &chunk[start..at], sink);
    }
}

/// State shared by all records of a chunk.
struct Decoder<'d, 'c> {
    dataset: &'d Dataset,
    /// Whether any record may contain U+0000.
    any_zero: bool,
    /// Indexes of the fields by property name.
    columns: HashMap<&'d str, usize>,
    /// The properties of the current record: one for each field, the operation, and the others.
    values: Vec<Option<&'c RawValue>>,
    operation: Option<&'c RawValue>,
    unknown: Vec<(Cow<'c, str>, &'c RawValue)>,
}

impl<'d, 'c> Decoder<'d, 'c> {
    fn new(dataset: &'d Dataset, chunk: &[u8]) -> Self {
        Self {
            dataset,
            any_zero: has_zero(chunk),
            columns: dataset
                .fields
                .iter()
                .enumerate()
                .map(|(index, field)| (field.column.as_str(), index))
                .collect(),
            values: vec![None; dataset.fields.len()],
            operation: None,
            unknown: Vec::new(),
        }
    }

    fn record(&mut self, start: usize, raw: &'c [u8], sink: &mut Sink<'c>) {
        let text = std::str::from_utf8(raw);
        let fill = |row: &mut Row| match text {
            Err(_) => Err(Fault::not_utf8()),
            Ok(text) => self.fill_row(text, row),
        };
        sink.push(start, raw, fill, || reject_record(text.ok()?));
    }

    fn fill_row(&mut self, text: &'c str, row: &mut Row) -> Result<(), Fault> {
        self.values.fill(None);
        self.operation = None;
        self.unknown.clear();
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = Properties(self)
            .deserialize(&mut json)
            .and_then(|()| json.end());
        if self.any_zero && has_zero(text.as_bytes()) {
            return Err(Fault::zero_character());
        }
        parsed.map_err(|error| syntax::fault(text, &error))?;
        let dataset = self.dataset;
        if dataset.unknown_columns == UnknownColumns::Reject
            && let Some((name, _)) = self.unknown.first()
        {
            let message = "no field of the dataset has it, and unknown_columns is \"reject\"";
            return Err(Fault::in_column(name, RejectCode::UnknownColumn, message));
        }
        if let Some(operation) = &dataset.operation {
            row.deleted = json_is_delete(operation, self.operation.map(RawValue::get))?;
        }
        row.values.reserve_exact(dataset.fields.len());
        for (index, (field, value)) in dataset.fields.iter().zip(&self.values).enumerate() {
            row.values.push(match value {
                _ if row.deleted && !dataset.key_indexes().contains(&index) => Value::Null,
                None => field_value(field, &Source::Missing)?,
                Some(value) => json_field_value(field, value.get())?,
            });
        }
        check_key(dataset, &row.values)?;
        if !row.deleted {
            row.extra = self.extra()?;
        }
        Ok(())
    }

    /// Returns the properties that belong to no field, sorted by name. The last property of a name wins.
    fn extra(&mut self) -> Result<Option<String>, Fault> {
        self.unknown.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut text = String::new();
        let same_name = self.unknown.chunk_by(|(a, _), (b, _)| a == b);
        for (name, value) in same_name.filter_map(<[_]>::last) {
            check_json(value.get())
                .map_err(|error| Fault::in_column(name, RejectCode::Type, error.to_string()))?;
            text.push(if text.is_empty() { '{' } else { ',' });
            text += &serde_json::Value::from(&**name).to_string();
            text.push(':');
            text += value.get();
        }
        Ok((!text.is_empty()).then(|| text + "}"))
    }
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

/// Deserializes the properties of one record into a [`Decoder`].
struct Properties<'s, 'd, 'c>(&'s mut Decoder<'d, 'c>);

impl<'c> DeserializeSeed<'c> for Properties<'_, '_, 'c> {
    type Value = ();

    fn deserialize<D: Deserializer<'c>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'c> Visitor<'c> for Properties<'_, '_, 'c> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'c>>(self, mut map: A) -> Result<(), A::Error> {
        let decoder = self.0;
        let keeps = decoder.dataset.unknown_columns != UnknownColumns::Drop;
        while let Some(Text(name)) = map.next_key()? {
            let operation = &decoder.dataset.operation;
            if let Some(index) = decoder.columns.get(&*name) {
                decoder.values[*index] = Some(map.next_value()?);
            } else if operation.as_ref().is_some_and(|known| known.column == name) {
                decoder.operation = Some(map.next_value()?);
            } else if keeps {
                decoder.unknown.push((name, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Returns the value of a field from the text of a JSON value, which is not empty.
fn json_field_value(field: &Field, json: &str) -> Result<Value, Fault> {
    let fault = |code, message| Err(Fault::in_column(&field.column, code, message));
    match (json.as_bytes()[0], field.kind) {
        (b'n', _) => field_value(field, &Source::Null),
        (_, FieldType::Json) => {
            Value::json(json).or_else(|error| fault(RejectCode::Type, error.to_string()))
        }
        (b'"', _) => match serde_json::from_str(json) {
            Ok(Text(text)) => field_value(field, &Source::Text(text)),
            Err(error) => fault(
                RejectCode::Encoding,
                format!("{} is not valid Unicode: {error}", excerpt(json)),
            ),
        },
        (first @ (b'{' | b'['), _) => {
            let found = if first == b'{' {
                "an object"
            } else {
                "an array"
            };
            let (name, kind) = (&field.name, field.kind.as_str());
            let message = format!("{} is {found}, but {name} is of type {kind}", excerpt(json));
            fault(RejectCode::Type, message)
        }
        // Texts that mean null are strings in the file, never numbers.
        _ => field
            .parse_json_scalar(json)
            .map_err(|error| value_fault(field, &error)),
    }
}

fn trim_json_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !is_json_space(*byte));
    end.map_or(&[], |end| &line[..=end])
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

/// Returns the record for its reject. A number that a float cannot represent exactly becomes a string.
fn reject_record(text: &str) -> Option<Record> {
    let properties: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let mut record = Record::new();
    for (name, raw) in properties {
        let mut value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
        if let serde_json::Value::Number(number) = &value
            && number.to_string().as_str() != raw.get()
        {
            value = raw.get().into();
        }
        record.insert(name, value);
    }
    Some(record)
}
