//! Headers: columns in any order, and the problems of headers that do not match.

use landfall_domain::{Dataset, Format, ProblemCode, Value};
use landfall_formats::Header;

use crate::{csv, dataset, text};

fn articles(settings: &str) -> Dataset {
    let fields = r#"
        { name = "size", type = "text", column = "Size", required = true },
        { name = "stock", type = "integer", required = true, default = 0 },
        { name = "note", type = "text" },
    "#;
    dataset(settings, fields)
}

fn refusal(settings: &str, bytes: &[u8]) -> String {
    let problem = Header::parse(bytes, &articles(settings), &Format::Csv.into()).unwrap_err();
    assert_eq!(problem.code, ProblemCode::HeaderMismatch);
    problem.message
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let header = Some("\u{feff}note,\"Size\",sku\r\n");
    let decoded = csv(&articles(""), header, b"new,XL,A-1");
    let expected = [text("A-1"), text("XL"), Value::Integer(0), text("new")];
    assert_eq!(decoded.rows[0].values[..], expected);
}

#[test]
fn without_a_header_the_columns_are_the_fields_in_order() {
    let dataset = articles("csv = { header = false, delimiter = \"\\t\" }");
    let decoded = csv(&dataset, None, b"A-1\tXL\t7\t");
    let expected = [text("A-1"), text("XL"), Value::Integer(7), Value::Null];
    assert_eq!(decoded.rows[0].values[..], expected);
}

#[test]
fn a_header_that_does_not_match_is_refused() {
    for (bytes, expected) in [
        (&b"note,sku"[..], "lacks \"Size\"; it has \"note\", \"sku\""),
        (
            b"sku;Size;note",
            "if ';' is the delimiter, set csv.delimiter",
        ),
        (
            b"sku,Size,note,note",
            "columns 3 and 4 are both named \"note\"",
        ),
        (b"sku,\xff", "not UTF-8"),
        (b"sku,\"note", "never closed"),
        (b"sku,a\0b", "column 2 contains U+0000"),
        (b"\r\n", "blank"),
        (b"", "blank"),
    ] {
        let message = refusal("", bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn unknown_columns_are_kept_dropped_or_refused() {
    let message = refusal("unknown_columns = \"reject\"", b"sku,Size,width,colour");
    let expected = "has \"width\", \"colour\", which belong to no field";
    assert!(message.contains(expected), "{message}");
    for (settings, extra) in [
        ("", Some(r#"{"b":"say \"x\"","c":""}"#)),
        ("unknown_columns = \"drop\"", None),
    ] {
        let header = Some("c,b,sku,Size");
        let decoded = csv(&articles(settings), header, b",\"say \"\"x\"\"\",A-1,XL");
        assert_eq!(decoded.rows[0].extra.as_deref(), extra);
    }
}
