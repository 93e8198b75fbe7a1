//! The records of JSON and NDJSON as a table.

use std::collections::HashMap;
use std::fmt;

use landfall_domain::Format;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::Setting;
use super::sample::SampleText;
use super::table::{Cell, Column, MAX_COLUMNS, Table};

/// The most rows that are looked at.
const MAX_ROWS: usize = 100_000;

/// Reads records of JSON. Also returns the format, as a single object may be a document with the rows.
pub(super) fn table(text: &SampleText, format: Format) -> (Table, Format) {
    let mut table = Table::default();
    let mut records = Vec::new();
    let first = text.parts.first().map_or("", String::as_str);
    let rows = if is_document(first) {
        path_to_rows(first)
    } else {
        None
    };
    if let Some((path, _)) = rows.as_ref().filter(|(path, _)| !path.is_empty()) {
        table.settings.push(Setting::text("json.path", path, ""));
    }
    let format = if rows.is_some() { Format::Json } else { format };
    for (index, part) in text.parts.iter().enumerate() {
        let start = match &rows {
            Some((_, start)) if index == 0 => *start,
            _ => 0,
        };
        let is_in_array = index == 0 && rows.is_some();
        objects(&part[start..], is_in_array, &mut records);
        if records.len() >= MAX_ROWS {
            records.truncate(MAX_ROWS);
            table
                .notes
                .push(format!("only the first {MAX_ROWS} rows were looked at"));
            break;
        }
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for Record(properties) in records {
        let mut row = vec![Cell::Null; places.len()];
        for (name, value) in properties {
            let next = places.len();
            if !places.contains_key(&name) {
                if next == MAX_COLUMNS {
                    continue;
                }
                places.insert(name.clone(), next);
                table.columns.push(Column::Property(name.clone()));
                row.push(Cell::Null);
            }
            if let Some(place) = places.get(&name) {
                row[*place] = cell(value);
            }
        }
        table.rows.push(row);
    }
    // Properties that only later records have.
    for row in &mut table.rows {
        row.resize(places.len(), Cell::Null);
    }
    (table, format)
}

/// Returns whether a text is one JSON value, as far as it goes, and not several.
fn is_document(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => !text[values.byte_offset()..].contains('{'),
        Some(Err(error)) => error.is_eof(),
        None => false,
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text),
        value => Cell::Json(value),
    }
}

/// The properties of an object, in the order of the file.
struct Record(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Properties;
        impl<'de> Visitor<'de> for Properties {
            type Value = Record;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut properties = Vec::new();
                while let Some(property) = map.next_entry()? {
                    properties.push(property);
                }
                Ok(Record(properties))
            }
        }
        deserializer.deserialize_map(Properties)
    }
}

/// Adds the objects of a text, as far as it is JSON. What is between them does not matter, but the array that contains
/// them may end.
fn objects(mut text: &str, is_in_array: bool, records: &mut Vec<Record>) {
    while records.len() < MAX_ROWS
        && let Some(start) = text.find('{')
    {
        text = &text[start..];
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Record>();
        match values.next() {
            Some(Ok(record)) => {
                text = &text[values.byte_offset()..];
                records.push(record);
                if is_in_array && text.trim_start().starts_with(']') {
                    return;
                }
            }
            // The end of the sample, or a line that is broken.
            _ => match text.find('\n') {
                Some(end) => text = &text[end..],
                None => return,
            },
        }
    }
}

/// Returns the path to the first array of objects in a document, and where it starts.
fn path_to_rows(text: &str) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let mut path: Vec<String> = Vec::new();
    let mut name = String::new();
    let mut at = 0;
    // Whether each open bracket is that of an object.
    let mut open: Vec<bool> = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter();
                let Some(Ok(Value::String(string))) = values.next() else {
                    return None;
                };
                at += values.byte_offset();
                let is_name = text[at..].trim_start().starts_with(':');
                if is_name && open.last() == Some(&true) {
                    name = string;
                }
                continue;
            }
            b'[' => {
                let is_rows = text[at + 1..].trim_start().starts_with('{');
                if is_rows && open.iter().all(|is_object| *is_object) {
                    if !open.is_empty() {
                        path.push(name);
                    }
                    return Some((path.join("."), at));
                }
                open.push(false);
            }
            b'{' => {
                if !open.is_empty() {
                    path.push(std::mem::take(&mut name));
                }
                open.push(true);
            }
            b']' => {
                open.pop();
            }
            b'}' => {
                open.pop();
                if !open.is_empty() {
                    path.pop();
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}
