//! Checks NDJSON and JSON documents against `serde_json`.

use std::sync::LazyLock;

use landfall_domain::{Dataset, ProblemCode, RejectCode, Value as Typed};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Outcome, Setup, outcomes, scan, template};

static FIELDS: LazyLock<Dataset> =
    LazyLock::new(|| template(r#", default = "d""#, r#"{ name = "v", type = "json" }"#));

/// What can stand between records: white space, and the record separator of RFC 7464.
const BETWEEN: [u8; 5] = *b" \t\r\n\x1e";

pub(super) fn check_lines(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&FIELDS);
    let found = scan(setup, &dataset, data);
    assert!(found.end.is_ok());
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut outcomes = outcomes.iter();
    for line in text.split(|byte| *byte == b'\n') {
        let mut rest = trim_start(line);
        while !rest.is_empty() {
            let record = record_of(rest);
            let outcome = outcomes.next().expect("as many records");
            check_record(setup, data, outcome, record);
            rest = trim_start(&rest[record.len()..]);
        }
    }
    assert!(outcomes.next().is_none());
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !BETWEEN.contains(byte));
    start.map_or(&[], |start| &text[start..])
}

fn trim_end(text: &[u8]) -> &[u8] {
    let last = text.iter().rposition(|byte| !BETWEEN.contains(byte));
    last.map_or(&[], |last| &text[..=last])
}

/// Returns the first record of the rest of a line: an object before another one, or all of it.
fn record_of(rest: &[u8]) -> &[u8] {
    match balanced(rest) {
        Some(end) if trim_start(&rest[end..]).first() == Some(&b'{') => &rest[..end],
        _ => rest,
    }
}

/// Returns the length of the object at the start of the text, by its brackets and strings alone.
fn balanced(text: &[u8]) -> Option<usize> {
    let mut open = Vec::new();
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => open.push(byte),
            // An opening bracket precedes the closing one by 2 in ASCII.
            b'}' | b']' if open.pop()? != byte - 2 => return None,
            _ => {}
        }
        if open.is_empty() {
            return (text[0] == b'{').then_some(at);
        }
    }
    None
}

pub(super) fn check_document(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&FIELDS);
    let found = scan(setup, &dataset, data);
    // Planned records can be decoded even if the document is invalid.
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let text = trim_start(text);
    if text.is_empty() {
        assert_eq!(found.end.unwrap().records, 0);
        return;
    }
    if text[0] == b'{' && setup.path.is_empty() {
        let Some(records) = sequence(text) else {
            return;
        };
        assert!(found.end.is_ok(), "{:?}", found.end);
        assert_eq!(outcomes.len(), records.len());
        for (outcome, record) in outcomes.iter().zip(records) {
            check_record(setup, data, outcome, record.get().as_bytes());
        }
        return;
    }
    if serde_json::from_slice::<Value>(text).is_err() {
        return;
    }
    match elements(text, &setup.path) {
        Found::Nowhere => {
            assert_eq!(found.end.unwrap_err().code, ProblemCode::FormatMismatch);
        }
        // Ingesting one of the two would lose the rows of the other.
        Found::Twice => assert!(found.end.is_err()),
        Found::At(elements) => {
            assert!(found.end.is_ok(), "{:?}", found.end);
            assert_eq!(outcomes.len(), elements.len());
            for (outcome, element) in outcomes.iter().zip(elements) {
                check_record(setup, data, outcome, element.get().as_bytes());
            }
        }
    }
}

/// Returns the values of a sequence, or `None` if it is invalid.
fn sequence(text: &[u8]) -> Option<Vec<&RawValue>> {
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter();
        values.push(stream.next()?.ok()?);
        rest = trim_start(&rest[stream.byte_offset()..]);
        while let Some(after) = rest.strip_prefix(b",") {
            rest = trim_start(after);
        }
    }
    Some(values)
}

/// The result of following a path.
enum Found<'a> {
    Nowhere,
    Twice,
    At(Vec<&'a RawValue>),
}

fn elements<'a>(document: &'a [u8], path: &[String]) -> Found<'a> {
    let Some((name, rest)) = path.split_first() else {
        return serde_json::from_slice(document).map_or(Found::Nowhere, Found::At);
    };
    let Ok(Properties(properties)) = serde_json::from_slice(document) else {
        return Found::Nowhere;
    };
    let mut named = properties.iter().filter(|(key, _)| key == name);
    match (named.next(), named.next()) {
        (None, _) => Found::Nowhere,
        (Some((_, value)), None) => elements(value.get().as_bytes(), rest),
        (Some(_), Some(_)) => Found::Twice,
    }
}

/// All properties of an object, including duplicates.
struct Properties<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Properties<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Properties<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut properties = Vec::new();
                while let Some(property) = map.next_entry()? {
                    properties.push(property);
                }
                Ok(Properties(properties))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Checks one record. `raw` may include white space after it.
fn check_record(setup: &Setup, data: &[u8], outcome: &Outcome, raw: &[u8]) {
    let start = raw.as_ptr().addr() - data.as_ptr().addr();
    assert_eq!(outcome.offset(), start as u64);
    if raw.len() as u64 > setup.record_bytes {
        assert!(
            matches!(outcome, Outcome::Oversize(from, to) if to - from == raw.len() as u64 && *from == start as u64)
        );
        return;
    }
    // A comma, or white space, that follows the record does not belong to it.
    let raw = trim_end(raw);
    let raw = match raw.strip_suffix(b",") {
        Some(before) if before.first() == Some(&b'{') => before,
        _ => raw,
    };
    let escaped_zero = raw.windows(6).any(|bytes| bytes == b"\\u0000");
    let outcome = match outcome {
        Outcome::Reject(reject) if reject.code == RejectCode::Encoding && escaped_zero => return,
        Outcome::Reject(reject) => Err(reject.code),
        Outcome::Row(row) => Ok(row),
        Outcome::Oversize(..) => panic!("not oversize: {outcome:?}"),
    };
    let Ok(text) = std::str::from_utf8(raw) else {
        assert_eq!(outcome, Err(RejectCode::Encoding));
        return;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        let code = outcome.unwrap_err();
        assert!(code == RejectCode::Json || code == RejectCode::Encoding && raw.contains(&0));
        return;
    }
    let Ok(mut properties) = serde_json::from_str::<Map<String, Value>>(text) else {
        return;
    };
    let Properties(all) = serde_json::from_str(text).unwrap();
    let is_ambiguous = |name: &str| {
        let mut values = all.iter().filter(|(other, _)| other == name);
        let first = values.next().map(|(_, value)| value.get());
        values.any(|(_, value)| Some(value.get()) != first)
    };
    if is_ambiguous("k") || is_ambiguous("v") {
        assert_eq!(outcome, Err(RejectCode::Json));
        return;
    }
    let key = match properties.remove("k") {
        None | Some(Value::Null) => Value::from("d"),
        Some(Value::Array(_) | Value::Object(_)) => {
            assert_eq!(outcome, Err(RejectCode::Type));
            return;
        }
        Some(key) => key,
    };
    if outcome == Err(RejectCode::KeyLength) {
        assert!(raw.len() > landfall_domain::MAX_KEY_BYTES);
        return;
    }
    let row = outcome.unwrap_or_else(|code| panic!("{code:?}: {text}"));
    let Typed::Text(text) = &row.values[0] else {
        panic!("{row:?}");
    };
    match key {
        Value::String(key) => assert_eq!(text.as_str(), key),
        key => assert_eq!(serde_json::from_str::<Value>(text).unwrap(), key),
    }
    let value = match &row.values[1] {
        Typed::Null => Value::Null,
        Typed::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    };
    let expected = match properties.remove("v").unwrap_or_default() {
        // The text of an object or array, as in a cell of CSV.
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        value => value,
    };
    assert_eq!(value, expected);
    let extra: Map<String, Value> = row
        .extra
        .as_deref()
        .map(|extra| serde_json::from_str(extra).unwrap())
        .unwrap_or_default();
    assert_eq!(extra, properties);
}
