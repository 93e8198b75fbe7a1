//! Records that are not JSON, or no objects.

use landfall_domain::{Format, RejectCode};
use landfall_formats::decode;

use crate::cases_values::{assert_rejects, assert_rows};

#[test]
fn words_that_are_not_json_are_named_with_their_property() {
    let fields = r#"{ name = "a", type = "float", nulls = ["", "NaN"] }"#;
    let dataset = crate::dataset("", fields);
    let decoded = |line: &str| {
        let reading = Format::Ndjson.into();
        decode(&dataset, &reading, None, line.as_bytes(), 0, 1)
    };
    for (line, parts) in [
        (
            "{\"sku\":\"x\",\"a\":NaN}",
            ["NaN is not JSON", "write null"],
        ),
        (
            "{\"a\": -Infinity}",
            ["-Infinity is not JSON", "name it in nulls"],
        ),
        ("{\"a\":{\"b\":[nan]}}", ["nan is not JSON", "write null"]),
        ("{\"a\":None}", ["None is not JSON", "write null"]),
        ("{\"a\":True}", ["True is not JSON", "write true"]),
    ] {
        assert_rejects(&decoded(line), RejectCode::Json, &[(1, "a", &parts)]);
    }
    assert_rows(&decoded("{\"sku\":\"x\",\"a\":\"NaN\"}"), &["x|null"]);
    let infinity = decoded("{\"sku\":\"x\",\"a\":\"Infinity\"}");
    let parts: &[&str] = &["\"Infinity\" is not a finite number", "name it in nulls"];
    assert_rejects(&infinity, RejectCode::Type, &[(1, "a", parts)]);
}

#[test]
fn the_message_of_a_record_that_is_no_object_does_not_repeat_it() {
    let dataset = crate::dataset("", "");
    for (line, expected) in [
        (
            "\"a secret text\"",
            "the record is a string, not a JSON object",
        ),
        (
            "[\"secret\"]",
            "the record is an array; set position for each field if rows are arrays",
        ),
        ("12", "the record is a number, not a JSON object"),
        ("null", "the record is null, not a JSON object"),
        ("true", "the record is a boolean, not a JSON object"),
        (
            "{\"sku\":\"secret\" \"a\":1}",
            "the record is not a JSON object: expected `,` or `}` at byte 17 of the record",
        ),
    ] {
        let decoded = decode(
            &dataset,
            &Format::Ndjson.into(),
            None,
            line.as_bytes(),
            0,
            1,
        );
        assert_eq!(decoded.rejects[0].message, expected);
    }
}

#[test]
fn names_in_another_case_and_positions_in_the_record_are_named() {
    let dataset = crate::dataset(
        "json.path = \"data.items\"",
        r#"{ name = "size", type = "text" }"#,
    );
    for (line, expected) in [
        (r#"{"SKU":"A"}"#, "is \"SKU\" meant to be \"sku\"?"),
        (r#"{"sku":"A",}"#, "trailing comma at byte 12 of the record"),
        (r#"{"sku":["A"]}"#, "type = \"json\" accepts it"),
        (
            r#"{"data":{"items":[{"sku":"A"}]}}"#,
            "json.path applies only to a file that is one document",
        ),
    ] {
        let decoded = decode(
            &dataset,
            &Format::Ndjson.into(),
            None,
            line.as_bytes(),
            0,
            1,
        );
        let message = &decoded.rejects[0].message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn joined_lines_and_a_comma_after_the_last_element_are_read() {
    let dataset = crate::dataset("", r#"{ name = "size", type = "text" }"#);
    for (file, content) in [
        (
            "x.ndjson",
            "\u{feff}{\"sku\":\"A\"}\n\u{feff}{\"sku\":\"B\"}\n",
        ),
        ("x.json", "[{\"sku\":\"A\"},\n{\"sku\":\"B\"},\n]\n"),
    ] {
        let decoded = crate::ingest::ingest(&dataset, file, content.as_bytes()).decoded;
        assert_eq!(
            (decoded.rows.len(), decoded.rejects.len()),
            (2, 0),
            "{file}"
        );
        let marks = u64::from(file == "x.ndjson");
        assert_eq!(decoded.skipped.byte_order_marks, marks, "{file}");
    }
}
