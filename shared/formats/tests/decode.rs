//! Decoded rows, and the rejects of all other records.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use landfall_domain::{Dataset, FieldType, Format, MAX_RAW_BYTES, Reject, RejectCode, Row, Value};
use landfall_formats::{Decoded, Header, decode, oversize};

const FIELDS: &str = r#"
[[fields]]
name = "sku"
type = "text"
[[fields]]
name = "stock"
type = "integer"
nulls = ["", "N/A"]
[[fields]]
name = "price"
type = "decimal"
column = "Price"
[[fields]]
name = "seen"
type = "timestamp"
[[fields]]
name = "more"
type = "json"
[[fields]]
name = "kind"
type = "text"
required = true
default = "plain"
"#;

fn dataset(settings: &str) -> Dataset {
    let text = format!("name = \"d\"\nkey = [\"sku\"]\n{settings}{FIELDS}");
    Dataset::from_toml("d.toml", &text).unwrap()
}

fn csv(chunk: impl AsRef<[u8]>) -> Decoded {
    let dataset = dataset("");
    let header = Header::parse(b"sku,stock,Price,seen,more,colour", &dataset, Format::Csv).unwrap();
    decode(
        &dataset,
        Format::Csv,
        Some(&header),
        chunk.as_ref(),
        1000,
        10,
    )
}

fn ndjson(chunk: impl AsRef<[u8]>) -> Decoded {
    decode(&dataset(""), Format::Ndjson, None, chunk.as_ref(), 1000, 10)
}

fn row(decoded: &Decoded) -> &Row {
    assert_eq!((decoded.rejects.as_slice(), decoded.records), (&[][..], 1));
    &decoded.rows[0]
}

fn reject(decoded: Decoded) -> Reject {
    assert_eq!((decoded.rows.as_slice(), decoded.records), (&[][..], 1));
    decoded.rejects.into_iter().next().unwrap()
}

/// Parses a value of the field with this index.
fn value(field: usize, text: &str) -> Value {
    dataset("").fields[field].parse(text).unwrap()
}

#[test]
fn csv_cells_become_values() {
    let decoded = csv("A-1,7,12.50,2026-11-20T08:30:00Z,\"{\"\"a\"\": 1}\",red");
    let row = row(&decoded);
    assert_eq!(
        row.values[..],
        [
            value(0, "A-1"),
            Value::Integer(7),
            value(2, "12.5"),
            value(3, "2026-11-20T08:30:00Z"),
            Value::Json("{\"a\": 1}".to_owned()),
            value(5, "plain"),
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
    assert_eq!(row(&decoded).values[5], value(5, "plain"));
}

#[test]
fn rows_and_rejects_have_their_position() {
    let decoded = csv("A-1,1,,,,\r\n\r\n\"A\n2\",2,,,,\nA-3,x,,,,\n\nA-4,y,,,,\n");
    let offsets: Vec<u64> = decoded.rows.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [1000, 1013]);
    let positions: Vec<(u64, u64)> = decoded
        .rejects
        .iter()
        .map(|reject| (reject.offset, reject.line))
        .collect();
    assert_eq!(positions, [(1025, 14), (1036, 16)]);
    assert_eq!(decoded.records, 4);
}

#[test]
fn a_record_with_the_wrong_number_of_cells_is_rejected() {
    for (text, found) in [("A-1,1", 2), ("A-1,1,,,,,,", 8)] {
        let reject = reject(csv(text));
        assert_eq!(reject.code, RejectCode::ColumnCount);
        assert_eq!(reject.message, format!("expected 6 cells, found {found}"));
        assert_eq!(
            (reject.raw.as_str(), reject.raw_bytes),
            (text, text.len() as u64)
        );
        assert_eq!(reject.record, None);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_quoted_with_its_column() {
    let found = reject(csv("A-1,7,cheap,,,"));
    assert_eq!(
        (found.code, found.column.as_deref()),
        (RejectCode::Type, Some("Price"))
    );
    assert!(
        found.message.starts_with("\"cheap\" is not a decimal"),
        "{}",
        found.message
    );
    let record = found.record.unwrap();
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
        let reject = reject(decoded);
        assert_eq!(
            (reject.code, reject.column.as_deref()),
            (RejectCode::Required, Some("sku"))
        );
        assert!(
            reject.message.contains("sku is required"),
            "{}",
            reject.message
        );
    }
}

#[test]
fn a_default_replaces_a_missing_value_but_not_null() {
    assert_eq!(row(&ndjson("{\"sku\":\"A\"}")).values[5], value(5, "plain"));
    let reject = reject(ndjson("{\"sku\":\"A\",\"kind\":null}"));
    assert_eq!(
        (reject.code, reject.column.as_deref()),
        (RejectCode::Required, Some("kind"))
    );
}

#[test]
fn a_key_longer_than_stores_can_index_is_rejected() {
    let longest = "é".repeat(256);
    assert_eq!(csv(format!("{longest},,,,,")).rows.len(), 1);
    let reject = reject(csv(format!("{longest}x,,,,,")));
    assert_eq!(
        (reject.code, reject.column.as_deref()),
        (RejectCode::KeyLength, Some("sku"))
    );
    assert!(
        reject
            .message
            .starts_with("the key has 513 bytes, more than the maximum of 512: \"éé")
    );
}

#[test]
fn records_that_are_not_text_are_rejected() {
    for decoded in [
        csv(b"A-\xff,1,,,,"),
        csv(b"A-1,1,,,,a\0"),
        csv(b"A\xc3,\xa9,,,,"),
        ndjson(b"{\"sku\":\"A-\xff\"}"),
        ndjson(b"{\"sku\":\"A-\0\"}"),
        ndjson(r#"{"sku":"A","other":["\u0000"]}"#),
        ndjson(r#"{"sku":"\ud800"}"#),
    ] {
        assert_eq!(reject(decoded).code, RejectCode::Encoding);
    }
    assert_eq!(
        row(&ndjson(r#"{"sku":"\\u0000"}"#)).values[0],
        value(0, "\\u0000")
    );
    assert_eq!(reject(csv(b"A-\xff,1,,,,")).raw, "A-\u{fffd},1,,,,");
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
fn a_byte_order_mark_within_an_object_is_data() {
    assert_eq!(
        row(&csv("\u{feff}A-1,1,,,,")).values[0],
        value(0, "\u{feff}A-1")
    );
}

#[test]
fn json_values_become_values() {
    let decoded = ndjson(
        r#"{"sku":12.0,"stock":"7","Price":1234567890.123456789012345678,"more":{"a":[1]},"seen":"2026-11-20T08:30:00Z"}"#,
    );
    assert_eq!(
        row(&decoded).values[..5],
        [
            value(0, "12.0"),
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
    for (property, found) in [
        (r#""stock":1.5"#, "1.5"),
        (r#""stock":true"#, "true"),
        (
            r#""stock":[1]"#,
            "[1] is an array, but stock is of type integer",
        ),
        (
            r#""kind":{"a":1}"#,
            "is an object, but kind is of type text",
        ),
        (
            r#""seen":1763627400"#,
            "1763627400 is a number, but seen is of type timestamp",
        ),
        (r#""Price":"dear""#, "\"dear\" is not a decimal"),
        (r#""more":1e999"#, "number out of range"),
        (r#""more":"\ud800""#, "is not JSON that databases accept"),
        (r#""other":["\ud800"]"#, "is not JSON that databases accept"),
    ] {
        let reject = reject(ndjson(format!("{{\"sku\":\"A\",{property}}}")));
        assert_eq!(reject.code, RejectCode::Type, "{property}");
        assert!(reject.message.contains(found), "{}", reject.message);
    }
}

#[test]
fn the_last_of_duplicate_properties_wins() {
    let decoded = ndjson(r#"{"sku":"A","x":1,"stock":1,"\u0078":2,"b":{},"stock":2}"#);
    assert_eq!(row(&decoded).values[1], Value::Integer(2));
    assert_eq!(row(&decoded).extra.as_deref(), Some(r#"{"b":{},"x":2}"#));
}

#[test]
fn unknown_properties_are_dropped_or_rejected() {
    let line = b"{\"sku\":\"A\",\"colour\":\"red\"}";
    let decoded = decode(
        &dataset("unknown_columns = \"drop\"\n"),
        Format::Ndjson,
        None,
        line,
        0,
        1,
    );
    assert_eq!(row(&decoded).extra, None);
    let decoded = decode(
        &dataset("unknown_columns = \"reject\"\n"),
        Format::Ndjson,
        None,
        line,
        0,
        1,
    );
    let reject = reject(decoded);
    assert_eq!(
        (reject.code, reject.column.as_deref()),
        (RejectCode::UnknownColumn, Some("colour"))
    );
}

#[test]
fn lines_that_are_not_objects_are_rejected() {
    for line in [
        "oops",
        "[1]",
        "12",
        "{\"sku\":\"A\"",
        "{\"sku\":\"A\"} {}",
        "{\"sku\" 1}",
    ] {
        let reject = reject(ndjson(line));
        assert_eq!((reject.code, reject.raw.as_str()), (RejectCode::Json, line));
        assert_eq!(reject.record, None);
    }
}

#[test]
fn elements_of_a_json_chunk_are_decoded() {
    let chunk = "{\"sku\":\"A\"}\n,\n [1], {\"sku\":\"B\"}";
    let decoded = decode(&dataset(""), Format::Json, None, chunk.as_bytes(), 1000, 10);
    let offsets: Vec<u64> = decoded.rows.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [1000, 1020]);
    let reject = &decoded.rejects[0];
    assert_eq!(
        (reject.offset, reject.line, reject.raw.as_str()),
        (1015, 12, "[1]")
    );
}

#[test]
fn a_reject_preserves_numbers_exactly() {
    let reject = reject(ndjson(
        r#"{"stock":"x","Price":0.12345678901234567890,"more":1}"#,
    ));
    let record = reject.record.unwrap();
    assert_eq!(record["Price"], "0.12345678901234567890");
    assert_eq!(record["more"], 1);
}

#[test]
fn a_reject_of_a_long_record_is_cut() {
    let long = format!("{},x,,,,", "é".repeat(MAX_RAW_BYTES / 2));
    let found = reject(csv(&long));
    assert_eq!(found.raw.len(), MAX_RAW_BYTES);
    assert_eq!(found.raw_bytes, long.len() as u64);
    assert_eq!(found.record, None);
    assert!(found.message.len() < 200);
}

#[test]
fn the_reject_of_an_oversize_record_contains_its_beginning() {
    let reject = oversize(b"A-1,\xe2\x82", 500, 7, 2_000_000, 1_048_576);
    assert_eq!(
        (reject.code, reject.offset, reject.line),
        (RejectCode::RecordLength, 500, 7)
    );
    assert_eq!((reject.raw.as_str(), reject.raw_bytes), ("A-1,", 2_000_000));
    assert!(
        reject
            .message
            .contains("2000000 bytes, more than the 1048576")
    );
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
        let definition = format!(
            "name = \"d\"\nkey = [\"k\"]\n[[fields]]\nname = \"k\"\ntype = \"text\"\n[[fields]]\nname = \"v\"\ntype = \"{}\"\n",
            kind.as_str()
        );
        let dataset = Dataset::from_toml("d.toml", &definition).unwrap();
        let line = format!("{{\"k\":\"K\",\"v\":{json}}}");
        let from_json = decode(&dataset, Format::Ndjson, None, line.as_bytes(), 0, 1);
        let from_csv = decode(
            &dataset,
            Format::Csv,
            None,
            format!("K,{text}").as_bytes(),
            0,
            1,
        );
        assert_eq!(from_json.rows, from_csv.rows, "{text}");
        assert_eq!(from_csv.rows.len(), 1, "{text}");
    }
}

#[test]
fn a_delete_needs_only_its_key() {
    let operation = "operation = { column = \"op\" }\nunknown_columns = \"reject\"\n";
    let dataset = dataset(operation);
    let header = Header::parse(b"op,sku,stock", &dataset, Format::Csv).unwrap();
    let chunk = b"delete,a,many\n,b,1\ninsert,c,2\ndelete,,3\n";
    let decoded = decode(&dataset, Format::Csv, Some(&header), chunk, 0, 2);
    let found: Vec<_> = decoded
        .rows
        .iter()
        .map(|row| (row.deleted, row.values[0].clone(), row.values[1].clone()))
        .collect();
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        found,
        [
            (true, text("a"), Value::Null),
            (false, text("b"), Value::Integer(1)),
            (false, text("c"), Value::Integer(2)),
        ]
    );
    assert_eq!(decoded.rejects[0].code, RejectCode::Required);

    let lines = "{\"sku\":\"a\",\"op\":\"d\",\"stock\":[]}\n{\"sku\":\"b\",\"op\":null}\n";
    let decoded = decode(&dataset, Format::Ndjson, None, lines.as_bytes(), 0, 1);
    assert_eq!(decoded.rejects, []);
    assert!(decoded.rows[0].deleted && !decoded.rows[1].deleted);
}

#[test]
fn without_a_header_the_operation_follows_the_fields() {
    let dataset = dataset("operation = { column = \"op\" }\ncsv = { header = false }\n");
    let chunk = b"a,1,,,,x,\nb,2,,,,x,D\n";
    let decoded = decode(&dataset, Format::Csv, None, chunk, 0, 1);
    assert_eq!(decoded.rejects, []);
    let deleted: Vec<_> = decoded.rows.iter().map(|row| row.deleted).collect();
    assert_eq!(deleted, [false, true]);
}
