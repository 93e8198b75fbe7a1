//! Encodes rows and totals as JSON, NDJSON and CSV.

use std::borrow::Cow;

use landfall_domain::{FieldType, Value};
use serde_json::value::RawValue;

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
    pub(crate) columns: &'a [&'a str],
    /// Name of the column that holds unknown columns, if there is one.
    pub(crate) rest: Option<&'a str>,
}

/// A record: a value for each column, and unknown columns as JSON.
pub(crate) type Record<'a> = (&'a [Value], Option<&'a str>);

impl Table<'_> {
    /// Writes records until the response is full. Returns the response without its end, and the number of records
    /// written.
    pub(crate) fn write<'r>(
        &self,
        encoding: Encoding,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> (Vec<u8>, usize) {
        let mut body = match encoding {
            Encoding::Json => format!("{{\"{}\":[", self.name).into_bytes(),
            Encoding::Ndjson => Vec::new(),
            Encoding::Csv => {
                let mut header = Vec::new();
                let names = self.columns.iter().copied().chain(self.rest);
                csv_line(&mut header, names.map(Cow::from));
                header
            }
        };
        let mut bytes = escaped_len(&body);
        let mut written = 0;
        for (values, rest) in records {
            let before = body.len();
            match encoding {
                Encoding::Json => {
                    if written > 0 {
                        body.push(b',');
                    }
                    self.object(&mut body, values, rest);
                }
                Encoding::Ndjson => {
                    self.object(&mut body, values, rest);
                    body.push(b'\n');
                }
                Encoding::Csv => {
                    let cells = values.iter().map(cell);
                    let rest = self
                        .rest
                        .map(|_| escape_formula(rest.unwrap_or_default().into()));
                    csv_line(&mut body, cells.chain(rest));
                }
            }
            bytes += escaped_len(&body[before..]);
            if bytes > MAX_RESPONSE_BYTES {
                body.truncate(before);
                break;
            }
            written += 1;
        }
        (body, written)
    }

    /// Ends a list. In JSON, adds the cursor of the next page.
    pub(crate) fn finish(encoding: Encoding, body: &mut Vec<u8>, next: Option<&str>) {
        if encoding == Encoding::Json {
            body.extend_from_slice(b"],\"next\":");
            match next {
                Some(next) => write_text(body, next),
                None => body.extend_from_slice(b"null"),
            }
            body.push(b'}');
        }
    }

    /// Writes a record as a JSON object.
    pub(crate) fn object(&self, body: &mut Vec<u8>, values: &[Value], rest: Option<&str>) {
        body.push(b'{');
        for (index, (name, value)) in self.columns.iter().zip(values).enumerate() {
            if index > 0 {
                body.push(b',');
            }
            write_text(body, name);
            body.push(b':');
            write_value(body, value);
        }
        if let (Some(name), Some(rest)) = (self.rest, rest) {
            body.push(b',');
            write_text(body, name);
            body.push(b':');
            write_json(body, rest);
        }
        body.push(b'}');
    }
}

fn write_value(body: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => body.extend_from_slice(b"null"),
        Value::Integer(number) => body.extend_from_slice(number.to_string().as_bytes()),
        Value::Boolean(boolean) => body.extend_from_slice(boolean.to_string().as_bytes()),
        Value::Float(number) => {
            // Writes null for NaN and infinity, which only another program can have stored.
            encode(body, number);
        }
        Value::Json(text) => write_json(body, text),
        // Decimals too: as numbers they would lose digits in most clients.
        Value::Text(_) | Value::Decimal(_) | Value::Date(_) | Value::Timestamp(_) => {
            let text = value.to_text();
            debug_assert!(text.is_some(), "only null has no text");
            write_text(body, &text.unwrap_or_default());
        }
    }
}

/// Writes JSON text unchanged. Text that is not JSON, which another program must have stored, is written as a
/// string.
fn write_json(body: &mut Vec<u8>, text: &str) {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => body.extend_from_slice(raw.get().as_bytes()),
        Err(_) => write_text(body, text),
    }
}

fn write_text(body: &mut Vec<u8>, text: &str) {
    encode(body, text);
}

/// Writes a string or number as JSON.
fn encode(body: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let written = serde_json::to_writer(body, value);
    debug_assert!(written.is_ok(), "{written:?}");
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

fn cell(value: &Value) -> Cow<'_, str> {
    let text = value.to_text().unwrap_or_default();
    match value.kind() {
        Some(FieldType::Text | FieldType::Json) => escape_formula(text),
        // A leading minus is part of a number.
        _ => text,
    }
}

/// Adds an apostrophe before a text that a spreadsheet could interpret as a formula.
fn escape_formula(text: Cow<'_, str>) -> Cow<'_, str> {
    const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    // A sign and digits are a number, not a formula; sums are such texts.
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or_default();
    let is_number = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if text.starts_with(STARTS) && !is_number {
        format!("'{text}").into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table<'static> = Table {
        name: "rows",
        columns: &["a", "b"],
        rest: Some("_extra"),
    };

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn write(encoding: Encoding, values: &[Value], rest: Option<&str>) -> String {
        let (mut body, written) = TABLE.write(encoding, [(values, rest)]);
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
            write(Encoding::Json, &values, Some("{\"more\":1}")),
            r#"{"rows":[{"a":"0.10","b":{"x": [1, 1e400]},"_extra":{"more":1}}],"next":null}"#
        );
        let broken = [Value::Null, Value::Json("{".to_owned())];
        assert_eq!(
            write(Encoding::Ndjson, &broken, None),
            "{\"a\":null,\"b\":\"{\"}\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "\r", "\n", "＝"] {
            let formula = format!("{start}1+1");
            let csv = write(Encoding::Csv, &[text(&formula), text("x")], None);
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(record[0], format!("'{formula}"));
        }
        let values = [Value::Integer(-1), text("a,\"b\"\n")];
        let csv = write(Encoding::Csv, &values, Some("-1+1"));
        assert_eq!(csv, "a,b,_extra\r\n-1,\"a,\"\"b\"\"\n\",'-1+1\r\n");
        let sum = write(Encoding::Csv, &[text("-3.50"), text("-")], None);
        assert_eq!(sum, "a,b,_extra\r\n-3.50,'-,\r\n");
    }

    #[test]
    fn the_size_of_a_response_is_bounded() {
        // Each encoding expands different characters.
        for (part, fit) in [("x", 29), ("\"\\", 7), ("\u{1}", 4), ("é\n", 14)] {
            let long = part.repeat(MAX_RESPONSE_BYTES / 30 / part.len());
            let long = [text(&long), Value::Null];
            for encoding in Encoding::ALL {
                let records = (0..40).map(|_| (&long[..], None));
                let (body, written) = TABLE.write(encoding, records);
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
