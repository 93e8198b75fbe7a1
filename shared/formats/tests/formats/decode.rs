//! Decoded rows, and the rejects of all other records.

use landfall_domain::{Dataset, FieldType, Format, MAX_RAW_BYTES, Reject, RejectCode, Row, Value};
use landfall_formats::{Decoded, decode, oversize};

use crate::{dataset, text};

fn products(settings: &str) -> Dataset {
    let fields = r#"
        { name = "stock", type = "integer", nulls = ["", "N/A"] },
        { name = "price", type = "decimal", column = "Price" },
        { name = "seen", type = "timestamp" },
        { name = "more", type = "json" },
        { name = "kind", type = "text", required = true, default = "plain" },
    "#;
    dataset(settings, fields)
}

fn csv(chunk: impl AsRef<[u8]>) -> Decoded {
    let header = Some("sku,stock,Price,seen,more,colour");
    crate::csv(&products(""), header, chunk.as_ref())
}

fn ndjson(chunk: impl AsRef<[u8]>) -> Decoded {
    ndjson_with("", chunk)
}

fn ndjson_with(settings: &str, chunk: impl AsRef<[u8]>) -> Decoded {
    let dataset = products(settings);
    decode(
        &dataset,
        &Format::Ndjson.into(),
        None,
        chunk.as_ref(),
        1000,
        10,
    )
}

fn row(decoded: &Decoded) -> &Row {
    assert_eq!((decoded.rejects.as_slice(), decoded.records), (&[][..], 1));
    &decoded.rows[0]
}

/// Checks why the only record is rejected. An empty column means that it is not a single one.
fn reject(decoded: Decoded, code: RejectCode, column: &str, message: &str) -> Reject {
    assert_eq!((decoded.rows.as_slice(), decoded.records), (&[][..], 1));
    let reject = decoded.rejects.into_iter().next().unwrap();
    let found = reject.column.as_deref().unwrap_or_default();
    assert_eq!((reject.code, found), (code, column), "{}", reject.message);
    assert!(reject.message.contains(message), "{}", reject.message);
    reject
}

/// Parses a value of the field with this index.
fn value(field: usize, text: &str) -> Value {
    products("").fields[field].parse(text).unwrap()
}

#[test]
fn csv_cells_become_values() {
    let decoded = csv("A-1,7,12.50,2026-11-20T08:30:00Z,\"{\"\"a\"\": 1}\",red");
    let row = row(&decoded);
    assert_eq!(
        row.values[..],
        [
            text("A-1"),
            Value::Integer(7),
            value(2, "12.5"),
            value(3, "2026-11-20T08:30:00Z"),
            Value::Json("{\"a\": 1}".to_owned()),
            text("plain"),
        ]
    );
    assert_eq!(row.extra.as_deref(), Some("{\"colour\":\"red\"}"));
}

#[test]
fn null_texts_become_null_or_the_default() {
    let decoded = csv("A-1,N/A,,,,");
    let nulls = &row(&decoded).values[1..5];
    assert!(nulls.iter().all(Value::is_null), "{nulls:?}");
    let decoded = ndjson(r#"{"sku":"A-1","stock":"N/A","Price":"","kind":""}"#);
    assert_eq!(row(&decoded).values[1..3], [Value::Null, Value::Null]);
    assert_eq!(row(&decoded).values[5], text("plain"));
}

#[test]
fn rows_and_rejects_have_their_position() {
    let decoded = csv("A-1,1,,,,\r\n\r\n\"A\n2\",2,,,,\nA-3,x,,,,\n\nA-4,y,,,,\n");
    assert!(decoded.rows.iter().map(|row| row.offset).eq([1000, 1013]));
    let rejects = decoded.rejects.iter();
    let positions = rejects.map(|reject| (reject.offset, reject.line));
    assert!(positions.eq([(1025, 14), (1036, 16)]));
    assert_eq!(decoded.records, 4);
}

#[test]
fn a_record_with_the_wrong_number_of_cells_is_rejected() {
    for (text, found) in [("A-1,1", 2), ("A-1,1,,,,,,", 8)] {
        let message = format!("expected 6 cells, found {found}");
        let reject = reject(csv(text), RejectCode::ColumnCount, "", &message);
        assert_eq!((reject.raw.as_str(), reject.record), (text, None));
        assert_eq!(reject.raw_bytes, text.len() as u64);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_quoted_with_its_column() {
    let message = "\"cheap\" is not a decimal";
    let reject = reject(csv("A-1,7,cheap,,,"), RejectCode::Type, "Price", message);
    let record: serde_json::Value = reject.record.unwrap().get().parse().unwrap();
    assert_eq!(record["sku"], "A-1");
    assert_eq!(record["Price"], "cheap");
    assert_eq!(record["colour"], "");
}

#[test]
fn a_key_is_never_null() {
    for decoded in [
        csv(",1,,,,"),
        ndjson("{\"sku\":\"\"}"),
        ndjson("{\"sku\":null}"),
        ndjson("{}"),
    ] {
        reject(decoded, RejectCode::Required, "sku", "sku is required");
    }
}

#[test]
fn a_default_replaces_a_missing_value_and_null() {
    for line in ["{\"sku\":\"A\"}", "{\"sku\":\"A\",\"kind\":null}"] {
        assert_eq!(row(&ndjson(line)).values[5], text("plain"));
    }
}

#[test]
fn a_key_longer_than_stores_can_index_is_rejected() {
    let longest = "é".repeat(256);
    assert_eq!(csv(format!("{longest},,,,,")).rows.len(), 1);
    let message = "the key has 513 bytes, more than the maximum of 512: \"éé";
    let decoded = csv(format!("{longest}x,,,,,"));
    reject(decoded, RejectCode::KeyLength, "sku", message);
}

#[test]
fn a_text_too_long_beside_others_in_a_key_is_rejected() {
    let field = |n| format!("{{ name = \"f{n}\", type = \"text\" }},");
    let fields: String = (0..8).map(field).collect();
    let key: Vec<String> = (0..8).map(|n| format!("\"f{n}\"")).collect();
    let definition = format!(
        "name = \"d\"\nkey = [{}]\nfields = [{fields}]",
        key.join(",")
    );
    let dataset = Dataset::from_toml("d.toml", &definition).unwrap();
    let decoded = |length: usize| {
        let line = format!("a,b,c,d,{},f,g,h", "e".repeat(length));
        crate::csv(&dataset, Some("f0,f1,f2,f3,f4,f5,f6,f7"), line.as_bytes())
    };
    assert_eq!(decoded(352).rows.len(), 1);
    let message = "the text has 353 bytes, more than the maximum of 352 in a key of 8 texts";
    reject(decoded(353), RejectCode::KeyLength, "f4", message);
}

#[test]
fn records_that_are_not_text_are_rejected() {
    for (decoded, column) in [
        (csv(b"A-\xff,1,,,,"), ""),
        (csv(b"A-1,1,,,,a\0"), ""),
        (csv(b"A\xc3,\xa9,,,,"), ""),
        (ndjson(b"{\"sku\":\"A-\xff\"}"), ""),
        (ndjson(b"{\"sku\":\"A-\0\"}"), ""),
        (ndjson(r#"{"sku":"A","other":["\u0000"]}"#), ""),
        (ndjson(r#"{"sku":"\ud800"}"#), "sku"),
    ] {
        reject(decoded, RejectCode::Encoding, column, "");
    }
    let escaped = ndjson(r#"{"sku":"\\u0000"}"#);
    assert_eq!(row(&escaped).values[0], text("\\u0000"));
    let reject = reject(csv(b"A-\xff,1,,,,"), RejectCode::Encoding, "", "UTF-8");
    assert_eq!(reject.raw, "A-\u{fffd},1,,,,");
}

#[test]
fn an_unclosed_quote_is_rejected() {
    let decoded = csv("A-1,1,,,,\nA-2,1,,,,\"red\nA-3,1,,,,blue\n");
    assert_eq!((decoded.rows.len(), decoded.records), (1, 2));
    let reject = &decoded.rejects[0];
    assert_eq!((reject.code, reject.line), (RejectCode::UnclosedQuote, 11));
    assert_eq!(reject.raw, "A-2,1,,,,\"red\nA-3,1,,,,blue\n");
}

#[test]
fn a_byte_order_mark_within_an_object_is_skipped_and_counted() {
    let decoded = csv("A-1,1,,,,\n\u{feff}A-2,1,,,,");
    assert_eq!(decoded.rows[1].values[0], text("A-2"));
    assert_eq!(decoded.skipped.byte_order_marks, 1);
}

#[test]
fn json_values_become_values() {
    let decoded = ndjson(
        r#"{"sku":12.0,"stock":"7","Price":1234567890.123456789012345678,"more":{"a":[1]},"seen":"2026-11-20T08:30:00Z"}"#,
    );
    assert_eq!(
        row(&decoded).values[..5],
        [
            text("12.0"),
            Value::Integer(7),
            value(2, "1234567890.123456789012345678"),
            value(3, "2026-11-20T08:30:00Z"),
            Value::Json("{\"a\":[1]}".to_owned()),
        ]
    );
    assert_eq!(row(&decoded).extra, None);
}

#[test]
fn json_values_of_the_wrong_type_are_rejected() {
    for (column, json, message) in [
        ("stock", "1.5", "1.5"),
        ("stock", "true", "true"),
        (
            "stock",
            "[1]",
            "[1] is an array, but stock is of type integer",
        ),
        (
            "kind",
            "{\"a\":1}",
            "is an object, but kind is of type text",
        ),
        (
            "seen",
            "1763627400",
            "\"1763627400\" is a number, not a timestamp in quotes; set format = \"epoch_s\"",
        ),
        ("Price", "\"dear\"", "\"dear\" is not a decimal"),
        ("more", "1e999", "number out of range"),
        ("more", "\"\\ud800\"", "is not JSON that databases accept"),
        (
            "other",
            "[\"\\ud800\"]",
            "is not JSON that databases accept",
        ),
    ] {
        let decoded = ndjson(format!("{{\"sku\":\"A\",\"{column}\":{json}}}"));
        reject(decoded, RejectCode::Type, column, message);
    }
}

#[test]
fn duplicate_properties_of_fields_are_rejected_unless_they_are_equal() {
    let decoded = ndjson(r#"{"sku":"A","x":1,"stock":2,"\u0078":2,"b":{},"stock":2}"#);
    assert_eq!(row(&decoded).values[1], Value::Integer(2));
    assert_eq!(row(&decoded).extra.as_deref(), Some(r#"{"b":{},"x":2}"#));
    let decoded = ndjson(r#"{"sku":"A","stock":1,"stock":2}"#);
    reject(decoded, RejectCode::Json, "stock", "occurs more than once");
}

#[test]
fn unknown_properties_are_dropped_or_rejected() {
    let line = "{\"sku\":\"A\",\"colour\":\"red\"}";
    let dropped = ndjson_with("unknown_columns = \"drop\"", line);
    assert_eq!(row(&dropped).extra, None);
    let decoded = ndjson_with("unknown_columns = \"reject\"", line);
    reject(decoded, RejectCode::UnknownColumn, "colour", "");
}

#[test]
fn lines_that_are_not_objects_are_rejected() {
    for line in [
        "oops",
        "[1]",
        "12",
        "{\"sku\":\"A\"",
        "{\"sku\":\"A\"} x",
        "{\"sku\":\"A\"},[]",
        "{\"sku\" 1}",
    ] {
        let reject = reject(ndjson(line), RejectCode::Json, "", "");
        assert_eq!((reject.raw.as_str(), reject.record), (line, None));
    }
}

#[test]
fn elements_of_a_json_chunk_are_decoded() {
    let chunk = b"{\"sku\":\"A\"}\n,\n [1], {\"sku\":\"B\"}";
    let decoded = decode(&products(""), &Format::Json.into(), None, chunk, 1000, 10);
    assert!(decoded.rows.iter().map(|row| row.offset).eq([1000, 1020]));
    let reject = &decoded.rejects[0];
    let position = (reject.offset, reject.line);
    assert_eq!((position, reject.raw.as_str()), ((1015, 12), "[1]"));
}

#[test]
fn a_reject_preserves_numbers_exactly() {
    let decoded = ndjson(r#"{"stock":"x","Price":0.12345678901234567890,"more":1}"#);
    // A program may read numbers as floats, so they are strings where a string has the same meaning.
    assert_eq!(
        decoded.rejects[0].record.as_ref().unwrap().get(),
        r#"{"stock":"x","Price":"0.12345678901234567890","more":1}"#
    );
    let decoded = ndjson(r#"{"stock":"x","more":0.12345678901234567890}"#);
    assert_eq!(
        decoded.rejects[0].record.as_ref().unwrap().get(),
        r#"{"stock":"x","more":0.12345678901234567890}"#
    );
}

#[test]
fn a_reject_of_a_long_record_is_cut() {
    let long = format!("{},x,,,,", "é".repeat(MAX_RAW_BYTES / 2));
    let found = &csv(&long).rejects[0];
    assert_eq!(found.raw.len(), MAX_RAW_BYTES);
    assert_eq!(found.raw_bytes, long.len() as u64);
    assert_eq!(found.record, None);
    assert!(found.message.len() < 200);
}

#[test]
fn the_reject_of_an_oversize_record_contains_its_beginning() {
    let reject = oversize(b"A-1,\xe2\x82", Format::Csv, (500, 7), 2_000_000, 1_048_576);
    assert_eq!(reject.code, RejectCode::RecordLength);
    assert_eq!((reject.offset, reject.line), (500, 7));
    assert_eq!((reject.raw.as_str(), reject.raw_bytes), ("A-1,", 2_000_000));
    let message = "2000000 bytes, more than the 1048576";
    assert!(reject.message.contains(message), "{}", reject.message);
}

#[test]
fn csv_and_json_values_of_every_type_are_equal() {
    for (kind, text, json) in [
        (FieldType::Text, "x", "\"x\""),
        (FieldType::Integer, "12", "12"),
        (FieldType::Decimal, "1.10", "1.10"),
        (FieldType::Float, "1e-3", "1e-3"),
        (FieldType::Boolean, "true", "true"),
        (FieldType::Date, "2026-11-20", "\"2026-11-20\""),
        (FieldType::Timestamp, "2026-11-20", "\"2026-11-20\""),
        (FieldType::Json, "[1]", "[1]"),
    ] {
        let field = format!("{{ name = \"v\", type = \"{}\" }}", kind.as_str());
        let decode = |format: Format, chunk: String| {
            decode(
                &dataset("", &field),
                &format.into(),
                None,
                chunk.as_bytes(),
                0,
                1,
            )
            .rows
        };
        let from_csv = decode(Format::Csv, format!("A,{text}"));
        let line = format!("{{\"sku\":\"A\",\"v\":{json}}}");
        assert_eq!(decode(Format::Ndjson, line), from_csv, "{text}");
        assert_eq!(from_csv.len(), 1, "{text}");
    }
}

#[test]
fn a_delete_needs_only_its_key() {
    let settings = "operation = { column = \"op\" }\nunknown_columns = \"reject\"";
    let chunk = b"delete,a,many\n,b,1\ninsert,c,2\ndelete,,3\n";
    let decoded = crate::csv(&products(settings), Some("op,sku,stock"), chunk);
    let rows = decoded.rows.iter();
    let found = rows.map(|row| (row.deleted, row.values[0].clone(), row.values[1].clone()));
    assert!(found.eq([
        (true, text("a"), Value::Null),
        (false, text("b"), Value::Integer(1)),
        (false, text("c"), Value::Integer(2)),
    ]));
    assert_eq!(decoded.rejects[0].code, RejectCode::Required);

    let lines = "{\"sku\":\"a\",\"op\":\"d\",\"stock\":[]}\n{\"sku\":\"b\",\"op\":null}\n";
    let decoded = ndjson_with(settings, lines);
    assert_eq!(decoded.rejects, []);
    assert!(decoded.rows[0].deleted && !decoded.rows[1].deleted);
}

#[test]
fn without_a_header_the_operation_follows_the_fields() {
    let settings = "operation = { column = \"op\" }\ncsv.header = false";
    let decoded = crate::csv(&products(settings), None, b"a,1,,,,x,\nb,2,,,,x,D\n");
    assert_eq!(decoded.rejects, []);
    assert!(decoded.rows.iter().map(|row| row.deleted).eq([false, true]));
}

#[test]
fn a_delete_needs_the_value_that_decides_which_row_is_newer() {
    let fields = r#"{ name = "changed", type = "timestamp", column = "Changed", required = true },
        { name = "stock", type = "integer", required = true },"#;
    let dataset = dataset(
        "order = \"changed\"\noperation = { column = \"op\" }",
        fields,
    );
    let rows = "delete,a,2026-11-20T08:00:00Z,many\ndelete,b,,1\ndelete,c,soon,1\n,d,,1\n";
    let lines = r#"{"op":"delete","sku":"a","Changed":"2026-11-20T08:00:00Z","stock":[]}
{"op":"delete","sku":"b","Changed":null}
{"op":"delete","sku":"c","Changed":"soon"}
{"sku":"d","stock":1}
"#;
    let ndjson = Format::Ndjson.into();
    for decoded in [
        crate::csv(&dataset, Some("op,sku,Changed,stock"), rows.as_bytes()),
        decode(&dataset, &ndjson, None, lines.as_bytes(), 0, 1),
    ] {
        let [row] = decoded.rows.as_slice() else {
            panic!("{decoded:?}");
        };
        let changed = dataset.fields[1].parse("2026-11-20T08:00:00Z").unwrap();
        assert!(row.deleted);
        assert_eq!(row.values.as_slice(), [text("a"), changed, Value::Null]);
        let rejects = decoded.rejects.iter();
        let rejects = rejects.map(|reject| (reject.code, reject.column.as_deref()));
        assert!(rejects.eq([
            (RejectCode::Required, Some("Changed")),
            (RejectCode::Type, Some("Changed")),
            (RejectCode::Required, Some("Changed")),
        ]));
    }
}
