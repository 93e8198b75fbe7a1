//! Checks NDJSON and JSON documents against `serde_json`.

use std::sync::LazyLock;

use landfall_domain::{Dataset, ProblemCode, RejectCode, Value as Typed};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Outcome, Setup, outcomes, scan, template};

static FIELDS: LazyLock<Dataset> =
    LazyLock::new(|| template(r#", default = "d""#, r#"{ name = "v", type = "json" }"#));

const SPACE: [u8; 4] = *b" \t\r\n";

pub(super) fn check_lines(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&FIELDS);
    let found = scan(setup, &dataset, data);
    assert!(found.end.is_ok());
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut outcomes = outcomes.iter();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(start) = line.iter().position(|byte| !SPACE.contains(byte)) else {
            continue;
        };
        let outcome = outcomes.next().expect("as many records as lines");
        check_record(setup, data, outcome, &line[start..]);
    }
    assert!(outcomes.next().is_none());
}

pub(super) fn check_document(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&FIELDS);
    let found = scan(setup, &dataset, data);
    // Planned records can be decoded even if the document is invalid.
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    if text.iter().all(|byte| SPACE.contains(byte)) {
        assert_eq!(found.end.unwrap().records, 0);
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
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        let code = outcome.unwrap_err();
        assert!(code == RejectCode::Json || code == RejectCode::Encoding && raw.contains(&0));
        return;
    }
    let Ok(mut properties) = serde_json::from_str::<Map<String, Value>>(text) else {
        return;
    };
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
    assert_eq!(value, properties.remove("v").unwrap_or_default());
    let extra: Map<String, Value> = row
        .extra
        .as_deref()
        .map(|extra| serde_json::from_str(extra).unwrap())
        .unwrap_or_default();
    assert_eq!(extra, properties);
}
