//! Scanners that continue where another one was.

use landfall_domain::{Encoding, Format, Reading};
use landfall_formats::{CUTTING_RULES, Scanner};
use serde_json::{Value, json};

use crate::dataset;

/// Returns the state after these bytes.
fn state(settings: &str, reading: &Reading, bytes: &[u8]) -> Value {
    let mut scanner = Scanner::new(&dataset(settings, ""), reading, 1_000);
    scanner.feed(bytes, &mut Vec::new()).unwrap();
    serde_json::to_value(scanner.state()).unwrap()
}

#[test]
fn a_state_that_does_not_fit_the_definition_is_refused() {
    let wide = state(
        r#"csv.delimiter = "||||""#,
        &Format::Csv.into(),
        b"sku\na|||",
    );
    let deep = r#"{"a":{"b":{"#;
    let deep = state(
        r#"json.path = "a.b.c""#,
        &Format::Json.into(),
        deep.as_bytes(),
    );
    for (state, settings, format, fits) in [
        (&wide, r#"csv.delimiter = "||||""#, Format::Csv, true),
        (&wide, r#"csv.delimiter = "||""#, Format::Csv, false),
        (&wide, "", Format::Ndjson, false),
        (&deep, r#"json.path = "a.b.c""#, Format::Json, true),
        (&deep, r#"json.path = "a""#, Format::Json, false),
    ] {
        let state = serde_json::from_value(state.clone()).unwrap();
        let resumed = Scanner::resume(&dataset(settings, ""), &format.into(), 1_000, state);
        assert_eq!(resumed.is_some(), fits, "{settings} {format:?}");
    }
}

#[test]
fn another_form_of_states_needs_other_cutting_rules() {
    let utf_16 = Reading {
        encoding: Encoding::for_label("utf-16le").unwrap(),
        ..Format::Csv.into()
    };
    let planner = |line, offset, records, open: Value| {
        json!({
            "position": { "offset": offset, "line": line }, "header": null, "open_quote": null,
            "saw_quoted": false, "after_return": false, "records": records, "open": open,
        })
    };
    let value = json!({ "open": [1, 0, 0, 0, 0, 0, 0, 0], "depth": 1, "state": "Between" });
    let states = [
        (
            state("", &utf_16, b"s\0k"),
            json!({ "bom": null, "half": 107, "grammar": { "Csv": [{
                "skip_lines": 0, "header_records": 1, "header_start": null, "state": { "Unquoted": 0 },
                "record": { "offset": 0, "line": 1 },
            }, { "header": [], "head": [115] }] }, "planner": planner(1, 1, 0, Value::Null) }),
        ),
        (
            state("", &Format::Ndjson.into(), b"{}\n {} {"),
            json!({ "bom": null, "half": null, "grammar": { "Ndjson": { "open": {
                "start": { "offset": 7, "line": 2 }, "record": { "Object": value },
            } } }, "planner": planner(2, 8, 2, json!({
                "range": { "start": 0, "end": 6 }, "first_line": 1, "records": 2, "kind": "records",
            })) }),
        ),
        (
            state("", &Format::Json.into(), b"[{"),
            json!({ "bom": null, "half": null, "grammar": { "Json": {
                "level": 0, "matched": 0, "found": true, "is_sequence": false,
                "state": { "InElement": value }, "key": [], "element": { "offset": 1, "line": 1 },
            } }, "planner": planner(1, 2, 0, Value::Null) }),
        ),
    ];
    for (found, expected) in states {
        assert_eq!(found, expected, "raise CUTTING_RULES");
    }
    assert_eq!(CUTTING_RULES, 6, "and adapt this test");
}
