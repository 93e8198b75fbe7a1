//! Columns and values that are found by their position.

use landfall_domain::{Dataset, Format, RejectCode, Value};
use landfall_formats::Header;

use crate::dataset;
use crate::json::{json, record, reject_of, row};

const POSITIONS: &str = r#"
    { name = "count", type = "integer", position = 4 },
    { name = "more", type = "json", position = 2 },
"#;

fn positions(settings: &str) -> Dataset {
    let sku = r#"{ name = "sku", type = "text", position = 1 }"#;
    let text = format!("name = \"d\"\nkey = [\"sku\"]\n{settings}\nfields = [{sku}, {POSITIONS}]");
    Dataset::from_toml("d.toml", &text).unwrap()
}

#[test]
fn rows_that_are_arrays_are_read_by_position() {
    let values = |count: i64, more: &str| vec![Value::Integer(count), Value::Json(more.to_owned())];
    for (line, expected, extra) in [
        (r#"["A",[1],null,7]"#, values(7, "[1]"), None),
        (
            r#"["A",[1],true,"7",null,{"x":1}]"#,
            values(7, "[1]"),
            Some(r#"{"column_3":true,"column_6":{"x":1}}"#),
        ),
        (
            r#"{"sku":"A","more":[1],"count":7}"#,
            values(7, "[1]"),
            None,
        ),
    ] {
        let found = row(json(&positions(""), Format::Ndjson, line));
        assert_eq!(found, (expected, extra.map(str::to_owned)), "{line}");
    }
    let short = row(json(&positions(""), Format::Json, r#"["A"]"#));
    assert_eq!(short.0, [Value::Null, Value::Null]);
    let rows = json(&positions(""), Format::Json, r#"["A"], ["B"]"#);
    assert_eq!(rows.rows.len(), 2);

    let strict = positions("unknown_columns = \"reject\"");
    let (code, column, _) = reject_of(json(&strict, Format::Ndjson, r#"["A",1,2]"#));
    assert_eq!(
        (code, column.as_str()),
        (RejectCode::UnknownColumn, "column_3")
    );
    let decoded = json(&dataset("", ""), Format::Ndjson, r#"["A"]"#);
    let (code, _, message) = reject_of(decoded);
    assert_eq!(code, RejectCode::Json);
    assert!(message.contains("set position for each field"), "{message}");

    let decoded = json(&positions(""), Format::Ndjson, r#"["A",{"a":1},0,"x"]"#);
    let expected = serde_json::json!({"sku": "A", "more": {"a": 1}, "column_3": 0, "count": "x"});
    assert_eq!(record(&decoded), expected);
}

#[test]
fn csv_columns_are_read_by_position() {
    let header = "id,note,,n,sku";
    let decoded = crate::csv(&positions(""), Some(header), b"A,{},x,7,B\n");
    let (values, extra) = row(decoded);
    assert_eq!(values, [Value::Integer(7), Value::Json("{}".to_owned())]);
    assert_eq!(extra.as_deref(), Some(r#"{"column_3":"x","sku":"B"}"#));
    let header = |text: &str| Header::parse(text.as_bytes(), &positions(""), &Format::Csv.into());
    assert!(header("a,b,c").is_ok());
    let mut required = positions("");
    required.fields[1].required = true;
    let problem = Header::parse(b"a,b,c", &required, &Format::Csv.into()).unwrap_err();
    assert!(
        problem.message.contains("lacks \"count (column 4)\""),
        "{}",
        problem.message
    );
}

#[test]
fn csv_without_header_is_read_by_position() {
    let dataset = positions("csv.header = false");
    let decoded = crate::csv(
        &dataset,
        None,
        b"A,{},,7\nB,[],x,8,,y\nC,,\nD,\"{\"\"a\"\":1}\",x,z,y\n",
    );
    let rows = decoded
        .rows
        .iter()
        .map(|row| (row.values[1].clone(), row.extra.as_deref()));
    assert!(rows.eq([
        (Value::Integer(7), None),
        (
            Value::Integer(8),
            Some(r#"{"column_3":"x","column_6":"y"}"#)
        ),
    ]));
    let codes = decoded.rejects.iter().map(|reject| reject.code);
    assert!(codes.eq([RejectCode::ColumnCount, RejectCode::Type]));
    let record = decoded.rejects[1].record.clone().unwrap();
    let record: serde_json::Value = record.get().parse().unwrap();
    let expected = serde_json::json!({
        "sku": "D", "more": {"a": 1}, "column_3": "x", "count": "z", "column_5": "y"
    });
    assert_eq!(record, expected);

    let strict = positions("csv.header = false\nunknown_columns = \"reject\"");
    let decoded = crate::csv(&strict, None, b"A,{},,7,\nB,[],,8,,y\n");
    assert_eq!((decoded.rows.len(), decoded.rejects.len()), (1, 1));
    assert_eq!(decoded.rejects[0].code, RejectCode::UnknownColumn);
}

#[test]
fn the_operation_can_have_a_position() {
    let settings = "operation = { column = \"op\", position = 3 }\ncsv.header = false";
    let decoded = crate::csv(&positions(settings), None, b"A,,D,\nB,,,1\n");
    assert!(decoded.rows.iter().map(|row| row.deleted).eq([true, false]));
    let decoded = json(&positions(settings), Format::Ndjson, r#"["A",null,"D"]"#);
    assert!(decoded.rows[0].deleted);
}
