//! What JSON can be: nested properties, extended JSON, deep nesting.

use landfall_domain::{Dataset, Field, FieldType, Format, RejectCode, Value};
use landfall_formats::{Decoded, decode};

use crate::{dataset, text};

pub(crate) fn json(dataset: &Dataset, format: Format, chunk: &str) -> Decoded {
    decode(dataset, &format.into(), None, chunk.as_bytes(), 0, 1)
}

/// Returns the values beside the key, and the unknown properties, of the only record.
pub(crate) fn row(decoded: Decoded) -> (Vec<Value>, Option<String>) {
    assert_eq!((decoded.rejects, decoded.records), (Vec::new(), 1));
    let row = decoded.rows.into_iter().next().unwrap();
    (row.values[1..].to_vec(), row.extra)
}

fn row_of(settings: &str, fields: &str, line: &str) -> (Vec<Value>, Option<String>) {
    row(json(&dataset(settings, fields), Format::Ndjson, line))
}

/// Returns code, column and message of the only reject.
pub(crate) fn reject_of(decoded: Decoded) -> (RejectCode, String, String) {
    assert_eq!((decoded.rows.len(), decoded.rejects.len()), (0, 1));
    let reject = decoded.rejects.into_iter().next().unwrap();
    let column = reject.column.unwrap_or_default();
    (reject.code, column, reject.message)
}

const NESTED: &str = r#"
    { name = "id", type = "integer", column = "properties.id" },
    { name = "city", type = "text", column = "properties.address.city" },
"#;

#[test]
fn a_column_leads_to_a_nested_property() {
    let (seven, berlin) = (Value::Integer(7), text("Berlin"));
    for (line, values, extra) in [
        (
            r#"{"sku":"A","properties":{"id":7,"address":{"city":"Berlin"}}}"#,
            [seven.clone(), berlin.clone()],
            None,
        ),
        (
            r#"{"properties":{"x":1,"id":7,"address":{"zip":[1], "city":"Berlin"}},"sku":"A","a":2}"#,
            [seven.clone(), berlin],
            Some(r#"{"a":2,"properties":{"address":{"zip":[1]},"x":1}}"#),
        ),
        // The whole name comes first, and what it replaces is not lost.
        (
            r#"{"sku":"A","properties":{"id":8},"properties.id":7}"#,
            [seven.clone(), Value::Null],
            Some(r#"{"properties":{"id":8}}"#),
        ),
        // The same value twice, and others of which the last one is kept.
        (
            r#"{"properties":{"id":7,"id":7},"sku":"A","properties":{"id":7,"id":7}}"#,
            [seven.clone(), Value::Null],
            None,
        ),
        (
            r#"{"sku":"A","properties":{"x":1,"id":7,"x":2}}"#,
            [seven, Value::Null],
            Some(r#"{"properties":{"x":2}}"#),
        ),
        (
            r#"{"sku":"A","properties":[1]}"#,
            [Value::Null, Value::Null],
            Some(r#"{"properties":[1]}"#),
        ),
        (
            r#"{"sku":"A","properties":null}"#,
            [Value::Null, Value::Null],
            Some(r#"{"properties":null}"#),
        ),
    ] {
        let found = row_of("", NESTED, line);
        assert_eq!(found, (values.to_vec(), extra.map(str::to_owned)), "{line}");
    }
}

#[test]
fn properties_that_occur_with_different_values_are_rejected_by_their_path() {
    for (line, column) in [
        (r#"{"sku":"A","sku":"B"}"#, "sku"),
        (r#"{"sku":"A","sku":null}"#, "sku"),
        (
            r#"{"sku":"A","properties":{"id":8},"properties":{"id":7}}"#,
            "properties",
        ),
        (
            r#"{"sku":"A","properties":{"id":8,"x":1,"id":7}}"#,
            "properties.id",
        ),
        (
            r#"{"sku":"A","properties":{"address":{"city":"a"},"address":{}}}"#,
            "properties.address",
        ),
    ] {
        let decoded = json(&dataset("", NESTED), Format::Ndjson, line);
        let (code, found, message) = reject_of(decoded);
        assert_eq!((code, found.as_str()), (RejectCode::Json, column), "{line}");
        assert!(message.contains("occurs more than once"), "{message}");
    }
}

#[test]
fn an_object_can_be_a_field_whose_properties_are_fields_too() {
    let fields = format!(r#"{NESTED} {{ name = "properties", type = "json" }},"#);
    let line = r#"{"sku":"A","properties":{"id":7,"x":1}}"#;
    let all = Value::Json(r#"{"id":7,"x":1}"#.to_owned());
    let expected = vec![Value::Integer(7), Value::Null, all];
    assert_eq!(row_of("", &fields, line), (expected, None));
}

#[test]
fn unknown_properties_beside_nested_ones_are_dropped_or_rejected() {
    let line = r#"{"sku":"A","properties":{"id":7,"x":1}}"#;
    let dropped = row_of("unknown_columns = \"drop\"", NESTED, line);
    assert_eq!(dropped, (vec![Value::Integer(7), Value::Null], None));
    let strict = dataset("unknown_columns = \"reject\"", NESTED);
    let (code, column, _) = reject_of(json(&strict, Format::Ndjson, line));
    assert_eq!(
        (code, column.as_str()),
        (RejectCode::UnknownColumn, "properties.x")
    );
    for (line, rejects) in [
        (r#"{"sku":"A","properties":{"id":7}}"#, 0),
        (r#"{"sku":"A","properties":null}"#, 0),
        (r#"{"sku":"A","properties":[]}"#, 1),
    ] {
        let decoded = json(&strict, Format::Ndjson, line);
        assert_eq!(decoded.rejects.len(), rejects, "{line}");
    }
}

#[test]
fn an_operation_can_be_nested() {
    let settings = "operation = { column = \"meta.op\" }\nunknown_columns = \"reject\"";
    let line = r#"{"sku":"A","meta":{"op":"delete"}}"#;
    let decoded = json(&dataset(settings, ""), Format::Ndjson, line);
    assert!(decoded.rows[0].deleted);
}

#[test]
fn the_reject_of_a_whole_document_mentions_json_path() {
    let fields = NESTED;
    for (document, path) in [
        (r#"{"items":[{"sku":"A"}]}"#, Some("items")),
        (
            r#"{"meta":{"n":1},"data":{"rows":[ {}]}}"#,
            Some("data.rows"),
        ),
        (r#"{"data":{"rows":{"all":[{}]}}}"#, None),
        (r#"{"items":[1]}"#, None),
        (r#"{"properties.id":1,"items":[{}]}"#, None),
    ] {
        let decoded = json(&dataset("", fields), Format::Json, document);
        let (code, column, message) = reject_of(decoded);
        assert_eq!((code, column.as_str()), (RejectCode::Required, "sku"));
        let hint = message.split_once("rows may be at ").map(|(_, path)| path);
        assert_eq!(hint, path, "{message}");
    }
}

#[test]
fn the_reject_of_a_long_document_mentions_json_path() {
    let reject =
        landfall_formats::oversize(b"{\"items\":[", Format::Json, (0, 1), 20_000_000, 1_048_576);
    assert!(
        reject.message.ends_with("set json.path"),
        "{}",
        reject.message
    );
}

#[test]
fn extended_json_is_a_value_of_a_typed_field() {
    let instant = "2026-11-20T08:30:00.123Z";
    for (kind, json, expected) in [
        (
            FieldType::Text,
            r#"{"$oid":"507f1f77bcf86cd799439011"}"#,
            "507f1f77bcf86cd799439011",
        ),
        (
            FieldType::Timestamp,
            r#"{"$date":"2026-11-20T08:30:00.123Z"}"#,
            instant,
        ),
        (
            FieldType::Timestamp,
            r#"{"$date":"2026-11-20T09:30:00.123+0100"}"#,
            instant,
        ),
        (
            FieldType::Timestamp,
            r#"{"$date":{"$numberLong":"1795163400123"}}"#,
            instant,
        ),
        (
            FieldType::Timestamp,
            r#"{ "$date" : 1795163400123 }"#,
            instant,
        ),
        (
            FieldType::Timestamp,
            r#"{"$date":{"$numberLong":"-1"}}"#,
            "1969-12-31T23:59:59.999Z",
        ),
        (
            FieldType::Text,
            r#"{"$date":{"$numberLong":"1795163400123"}}"#,
            instant,
        ),
        (
            FieldType::Date,
            r#"{"$date":"2026-11-20T00:00:00Z"}"#,
            "2026-11-20",
        ),
        (
            FieldType::Integer,
            r#"{"$numberLong":"9223372036854775807"}"#,
            "9223372036854775807",
        ),
        (FieldType::Integer, r#"{"$numberInt":"-5"}"#, "-5"),
        (FieldType::Integer, r#"{"$numberDouble":"5.0"}"#, "5"),
        (FieldType::Decimal, r#"{"$numberDecimal":"12.50"}"#, "12.5"),
        (FieldType::Decimal, r#"{"$numberDecimal":"1.5E+3"}"#, "1500"),
        (FieldType::Decimal, r#"{"$numberDouble":"0.1"}"#, "0.1"),
        (FieldType::Float, r#"{"$numberDouble":"1.5"}"#, "1.5"),
        (FieldType::Float, r#"{"$numberInt":"2"}"#, "2"),
        (FieldType::Text, r#"{"$numberLong":"7"}"#, "7"),
    ] {
        let field = format!("{{ name = \"v\", type = \"{}\" }}", kind.as_str());
        let (values, _) = row_of("", &field, &format!("{{\"sku\":\"A\",\"v\":{json}}}"));
        let expected = Field::new("v", kind).parse(expected).unwrap();
        assert_eq!(values, [expected], "{json}");
    }
    let key = row(json(
        &dataset("", ""),
        Format::Ndjson,
        r#"{"sku":{"$oid":"5f"}}"#,
    ));
    assert_eq!(key, (Vec::new(), None));
    // A pattern is for texts, not for instants.
    let field = r#"{ name = "v", type = "timestamp", format = "%d/%m/%Y" }"#;
    let (values, _) = row_of(
        "",
        field,
        r#"{"sku":"A","v":{"$date":"2026-11-20T00:00:00Z"}}"#,
    );
    assert_eq!(
        values,
        [Field::new("v", FieldType::Timestamp)
            .parse("2026-11-20")
            .unwrap()]
    );
    // Neither are the settings of numbers.
    for (kind, json, expected) in [
        (FieldType::Decimal, r#"{"$numberDecimal":"1.500"}"#, "1.5"),
        (FieldType::Float, r#"{"$numberDouble":"-1.500"}"#, "-1.5"),
        (FieldType::Decimal, r#"{"$numberDouble":"1.5E3"}"#, "1500"),
        (FieldType::Integer, r#"{"$numberLong":"1500"}"#, "1500"),
        (FieldType::Decimal, r#"{"$numberInt":1500}"#, "1500"),
    ] {
        for settings in [
            r#"decimal = ",", thousands = ".""#,
            r#"decimal = ",", currency = "€""#,
            "accounting = true",
        ] {
            let field = format!(
                "{{ name = \"v\", type = \"{}\", {settings} }}",
                kind.as_str()
            );
            let (values, _) = row_of("", &field, &format!("{{\"sku\":\"A\",\"v\":{json}}}"));
            let expected = Field::new("v", kind).parse(expected).unwrap();
            assert_eq!(values, [expected], "{json} with {settings}");
        }
    }
    let (values, _) = row_of(
        "",
        r#"{ name = "v", type = "timestamp", format = "epoch_s" }"#,
        r#"{"sku":"A","v":{"$numberLong":"1795163400"}}"#,
    );
    let instant = Field::new("v", FieldType::Timestamp).parse("2026-11-20T08:30:00Z");
    assert_eq!(values, [instant.unwrap()]);
    let (values, _) = row_of(
        "",
        r#"{ name = "v", type = "float", nulls = ["NaN"] }"#,
        r#"{"sku":"A","v":{"$numberDouble":"NaN"}}"#,
    );
    assert_eq!(values, [Value::Null]);
}

#[test]
fn extended_json_of_another_type_is_rejected() {
    for (kind, value) in [
        ("integer", r#"{"$oid":"507f1f77bcf86cd799439011"}"#),
        ("integer", r#"{"$date":{"$numberLong":"1"}}"#),
        ("date", r#"{"$date":"2026-11-20T08:30:00Z"}"#),
        ("timestamp", r#"{"$date":"yesterday"}"#),
        (
            "timestamp",
            r#"{"$date":{"$numberLong":"9223372036854775807"}}"#,
        ),
        ("timestamp", r#"{"$numberLong":"x"}"#),
        ("float", r#"{"$numberDouble":"Infinity"}"#),
        ("integer", r#"{"$numberLong":"1","b":2}"#),
        ("text", r#"{"$regex":"a"}"#),
    ] {
        let field = format!("{{ name = \"v\", type = \"{kind}\" }}");
        let line = format!("{{\"sku\":\"A\",\"v\":{value}}}");
        let decoded = json(&dataset("", &field), Format::Ndjson, &line);
        let (code, column, message) = reject_of(decoded);
        let found = (code, column.as_str());
        assert_eq!(found, (RejectCode::Type, "v"), "{value}: {message}");
    }
}

#[test]
fn extended_json_is_kept_in_json_fields_and_unknown_properties() {
    let field = r#"{ name = "v", type = "json" }"#;
    let line = r#"{"sku":"A","v":{"$oid":"5f"},"x":{"$numberLong":"1"}}"#;
    let (values, extra) = row_of("", field, line);
    assert_eq!(values, [Value::Json(r#"{"$oid":"5f"}"#.to_owned())]);
    assert_eq!(extra.as_deref(), Some(r#"{"x":{"$numberLong":"1"}}"#));
}

#[test]
fn the_text_of_a_json_cell_is_the_value_of_a_json_field() {
    for (json, expected) in [
        (r#""{\"a\": [1]}""#, Some(r#"{"a": [1]}"#)),
        (r#"" [1.50] ""#, Some("[1.50]")),
        (r#""""#, None),
        (r#""N/A""#, None),
        ("null", None),
        // Texts by themselves.
        (r#""7""#, Some(r#""7""#)),
        (r#""null""#, Some(r#""null""#)),
        (r#""{a}""#, Some(r#""{a}""#)),
    ] {
        let field = r#"{ name = "v", type = "json", nulls = ["", "N/A"] }"#;
        let (values, _) = row_of("", field, &format!("{{\"sku\":\"A\",\"v\":{json}}}"));
        let expected = expected.map_or(Value::Null, |text| Value::Json(text.to_owned()));
        assert_eq!(values, [expected], "{json}");
    }
}

/// Returns the record of the first reject.
pub(crate) fn record(decoded: &Decoded) -> serde_json::Value {
    let record = decoded.rejects[0].record.as_ref().unwrap();
    record.get().parse().unwrap()
}

#[test]
fn a_reject_has_json_only_where_it_is_exact() {
    let fields = r#"
        { name = "n", type = "integer" },
        { name = "v", type = "json" },
    "#;
    for (cell, exact) in [
        ("{\"a\": [1, 9.50, -1e3]}", true),
        ("[\"0.12345678901234567890\", 9007199254740993]", true),
        ("\"x\"", false),
        ("null", false),
        ("[0.12345678901234567890]", false),
        ("[18446744073709551616]", false),
        ("[\"\\\"\", 1e-400]", false),
        ("{", false),
    ] {
        let text = serde_json::Value::from(cell);
        let expected = if exact { cell.parse().unwrap() } else { text };
        let chunk = format!("A,x,\"{}\"\n", cell.replace('"', "\"\""));
        let decoded = crate::csv(&dataset("", fields), Some("sku,n,v"), chunk.as_bytes());
        assert_eq!(record(&decoded)["v"], expected, "{cell}");
    }
    let line = r#"{"sku":"A","n":"x","v":[0.12345678901234567890]}"#;
    let decoded = json(&dataset("", fields), Format::Ndjson, line);
    assert_eq!(record(&decoded)["v"], "[0.12345678901234567890]");
}

#[test]
fn deep_nesting_rejects_its_record_only() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let objects = format!(r#"{{"sku":"A"}},{{"sku":"B","x":{deep}}},{{"sku":"C"}}"#);
    let lines = objects.replace("},{", "}\n{");
    for (format, chunk) in [(Format::Json, &objects), (Format::Ndjson, &lines)] {
        let decoded = json(&dataset("", ""), format, chunk);
        assert_eq!((decoded.rows.len(), decoded.records), (2, 3));
        let (code, message) = (decoded.rejects[0].code, &decoded.rejects[0].message);
        assert_eq!(code, RejectCode::Type);
        assert!(message.contains("deeper than 90 levels"), "{message}");
    }
}

#[test]
fn what_stands_between_records_is_not_part_of_them() {
    let chunk = "\u{1e}{\"sku\":\"A\"}\r\n\u{1e}{\"sku\":\"B\"} \u{1e}\n{\"sku\":\"C\"},\r\n\
                 {\"sku\":\"D\"}{\"sku\":\"E\"},\n";
    let decoded = json(&dataset("", ""), Format::Ndjson, chunk);
    assert_eq!(decoded.rejects, []);
    let keys = decoded.rows.iter().map(|row| row.values[0].clone());
    assert!(keys.eq(["A", "B", "C", "D", "E"].map(text)));
    let decoded = json(
        &dataset("", ""),
        Format::Json,
        "{\"sku\":\"A\"}{\n\"sku\":\"B\"},\u{1e}{\"sku\":\"C\"}",
    );
    assert_eq!((decoded.rows.len(), decoded.records), (3, 3));
}
