//! Encodes rows and totals as JSON, NDJSON and CSV.

use std::borrow::Cow;
use std::collections::BTreeMap;

use landfall_domain::{
    EXPORT_MARKER, FieldType, JsonOf, JsonText, Search, Value, escapes_text, highlight, is_formula,
};
use landfall_stores::StoredRow;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::encoding::Encoding;

/// The maximum size of a response, as escaped in the JSON result of a Lambda function. That has at most 6 MB, with
/// headers, and NDJSON is encoded in base64 there, with four bytes for three.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// Returns the size of a body as a JSON string.
pub(crate) fn escaped_len(body: &[u8]) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        ..b' ' => 6,
        _ => 1,
    };
    body.iter().map(escaped).sum()
}

/// A list of records with the same columns.
pub(crate) struct Table<'a> {
    /// Name of the list in JSON.
    pub(crate) name: &'static str,
    /// Names of the columns.
    pub(crate) columns: Vec<&'a str>,
    /// Name of the column that holds unknown columns, if there is one.
    pub(crate) rest: Option<&'a str>,
    /// Whether files are marked, so that they can be edited and uploaded again.
    pub(crate) is_marked: bool,
    /// What is highlighted in JSON.
    pub(crate) highlights: Option<Highlights<'a>>,
}

/// Name of the property with the matches of a search.
const HIGHLIGHT: &str = "_highlight";

/// The matches of a search.
pub(crate) struct Highlights<'a> {
    pub(crate) search: &'a Search,
    /// Indexes of the searched columns.
    pub(crate) columns: &'a [usize],
}

impl Table<'_> {
    /// Writes records until the response is full. Returns the response without its end, and the number of records
    /// written.
    pub(crate) fn write(&self, encoding: Encoding, records: &[StoredRow]) -> (Vec<u8>, usize) {
        let mut body = Vec::new();
        match encoding {
            Encoding::Json => body.extend(format!("{{\"{}\":[", self.name).into_bytes()),
            Encoding::Ndjson => {}
            Encoding::Csv => {
                let marker = self.is_marked.then_some(EXPORT_MARKER);
                let names = self.columns.iter().copied().chain(self.rest).chain(marker);
                csv_line(&mut body, names.map(Cow::from));
            }
        }
        let mut bytes = escaped_len(&body);
        for (written, record) in records.iter().enumerate() {
            let before = body.len();
            match encoding {
                Encoding::Json => {
                    if written > 0 {
                        body.push(b',');
                    }
                    self.object(&mut body, record);
                }
                Encoding::Ndjson => {
                    write_json(&mut body, &Object(self, record, self.is_marked));
                    body.push(b'\n');
                }
                Encoding::Csv => {
                    let rest = record.extra.as_deref().unwrap_or_default();
                    let rest = self.rest.map(|_| escaped(rest.into(), false));
                    let marker = self.is_marked.then_some("1".into());
                    let cells = record
                        .values
                        .iter()
                        .map(|value| cell(value, self.is_marked));
                    csv_line(&mut body, cells.chain(rest).chain(marker));
                }
            }
            bytes += escaped_len(&body[before..]);
            if bytes > MAX_RESPONSE_BYTES {
                body.truncate(before);
                return (body, written);
            }
        }
        (body, records.len())
    }

    /// Ends a list. In JSON, adds the cursor of the next page.
    pub(crate) fn finish(encoding: Encoding, body: &mut Vec<u8>, next: Option<&str>) {
        if encoding == Encoding::Json {
            body.extend_from_slice(b"],\"next\":");
            write_json(body, &next);
            body.push(b'}');
        }
    }

    /// Writes a record as a JSON object.
    pub(crate) fn object(&self, body: &mut Vec<u8>, record: &StoredRow) {
        write_json(body, &Object(self, record, false));
    }
}

/// Appends a value as JSON.
fn write_json(body: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(body, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// A record as a JSON object, with or without the marker.
struct Object<'a>(&'a Table<'a>, &'a StoredRow, bool);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table, record, is_marked) = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in table.columns.iter().zip(&record.values) {
            map.serialize_entry(name, &JsonOf(value))?;
        }
        if let (Some(name), Some(rest)) = (table.rest, &record.extra) {
            map.serialize_entry(name, &JsonText(rest))?;
        }
        if *is_marked {
            map.serialize_entry(EXPORT_MARKER, &1)?;
        } else if let Some(highlights) = &table.highlights {
            map.serialize_entry(HIGHLIGHT, &highlights.of(table, record))?;
        }
        map.end()
    }
}

impl Highlights<'_> {
    /// Returns the parts of the searched texts that match, by column.
    fn of<'r>(
        &self,
        table: &'r Table<'_>,
        record: &'r StoredRow,
    ) -> BTreeMap<&'r str, Vec<HighlightedText<'r>>> {
        let columns = self.columns.iter().filter_map(|column| {
            let Value::Text(text) = &record.values[*column] else {
                return None;
            };
            let segments = highlight(text.as_str(), self.search).into_iter();
            let segments = segments.map(|segment| HighlightedText {
                text: segment.text,
                is_match: segment.is_match,
            });
            Some((table.columns[*column], segments.collect()))
        });
        columns
            .filter(|(_, segments): &(_, Vec<_>)| !segments.is_empty())
            .collect()
    }
}

/// A part of a text that was searched.
#[derive(serde::Serialize)]
struct HighlightedText<'r> {
    text: &'r str,
    /// Whether it matches the search.
    #[serde(rename = "match")]
    is_match: bool,
}

fn csv_line<'a>(body: &mut Vec<u8>, cells: impl Iterator<Item = Cow<'a, str>>) {
    let cells: Vec<_> = cells.collect();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        // Quoting at most doubles a cell, and adds quotes and a comma.
        .buffer_capacity(cells.iter().map(|cell| 2 * cell.len() + 3).sum())
        .from_writer(&mut *body);
    // Writing to memory does not fail, and a single record cannot differ in length from others.
    let written = writer.write_record(cells.iter().map(|cell| cell.as_bytes()));
    debug_assert!(written.is_ok(), "{written:?}");
    let flushed = writer.flush();
    debug_assert!(flushed.is_ok(), "{flushed:?}");
}

/// Returns a value as a cell, where null is empty.
fn cell(value: &Value, is_marked: bool) -> Cow<'_, str> {
    match (value.to_text(), value.kind()) {
        (None, _) => Cow::Borrowed(""),
        (Some(text), Some(FieldType::Text | FieldType::Json)) => escaped(text, is_marked),
        // A leading minus is part of a number.
        (Some(text), _) => text,
    }
}

/// Adds an apostrophe before a text that a spreadsheet could interpret as a formula, and in marked files before all
/// that must not be confused with null or with such a text.
fn escaped(text: Cow<'_, str>, is_marked: bool) -> Cow<'_, str> {
    if is_formula(&text) || (is_marked && escapes_text(&text)) {
        format!("'{text}").into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<'static> {
        Table {
            name: "rows",
            columns: vec!["a", "b"],
            rest: Some("_extra"),
            is_marked: false,
            highlights: None,
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn write(encoding: Encoding, values: [Value; 2], rest: Option<&str>) -> String {
        let row = StoredRow {
            values: values.into(),
            extra: rest.map(str::to_owned),
        };
        let (mut body, written) = table().write(encoding, &[row]);
        assert_eq!(written, 1);
        Table::finish(encoding, &mut body, None);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn json_keeps_every_digit_and_nested_json_unchanged() {
        let values = [
            Value::Decimal("0.10".parse().unwrap()),
            Value::Json("{\"x\": [1, 1e400]}".to_owned()),
        ];
        assert_eq!(
            write(Encoding::Json, values, Some("{\"more\":1}")),
            r#"{"rows":[{"a":"0.10","b":{"x": [1, 1e400]},"_extra":{"more":1}}],"next":null}"#
        );
        let broken = [Value::Null, Value::Json("{".to_owned())];
        assert_eq!(
            write(Encoding::Ndjson, broken, None),
            "{\"a\":null,\"b\":\"{\"}\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "\r", "\n", "＝"] {
            let formula = format!("{start}1+1");
            let csv = write(Encoding::Csv, [text(&formula), text("x")], None);
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(record[0], format!("'{formula}"));
        }
        let values = [Value::Integer(-1), text("a,\"b\"\n")];
        let csv = write(Encoding::Csv, values, Some("-1+1"));
        assert_eq!(csv, "a,b,_extra\r\n-1,\"a,\"\"b\"\"\n\",'-1+1\r\n");
        let sum = write(Encoding::Csv, [text("-3.50"), text("-")], None);
        assert_eq!(sum, "a,b,_extra\r\n-3.50,'-,\r\n");
    }

    #[test]
    fn the_size_of_a_response_is_bounded() {
        // Each encoding expands different characters.
        for (part, fit) in [("x", 29), ("\"\\", 7), ("\u{1}", 4), ("é\n", 14)] {
            let long = part.repeat(MAX_RESPONSE_BYTES / 30 / part.len());
            let row = StoredRow {
                values: vec![text(&long), Value::Null],
                extra: None,
            };
            let rows = vec![row; 40];
            for encoding in Encoding::ALL {
                let (body, written) = table().write(encoding, &rows);
                assert!(written >= fit, "{part:?} {encoding:?} {written}");
                let body = String::from_utf8(body).unwrap();
                let result = serde_json::to_string(&body).unwrap();
                assert!(
                    result.len() <= MAX_RESPONSE_BYTES + 2,
                    "{part:?} {encoding:?}"
                );
            }
        }
    }
}
