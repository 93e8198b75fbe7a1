//! Headers: columns in any order, and the problems of headers that do not match.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use landfall_domain::{Dataset, Format, ProblemCode, Value};
use landfall_formats::{Header, decode};

fn dataset(settings: &str) -> Dataset {
    let fields = r#"
[[fields]]
name = "sku"
type = "text"
column = "Artikel"
[[fields]]
name = "stock"
type = "integer"
required = true
default = 0
[[fields]]
name = "note"
type = "text"
"#;
    let text = format!("name = \"d\"\nkey = [\"sku\"]\n{settings}{fields}");
    Dataset::from_toml("d.toml", &text).unwrap()
}

fn refusal(settings: &str, bytes: &[u8]) -> String {
    let problem = Header::parse(bytes, &dataset(settings), Format::Csv).unwrap_err();
    assert_eq!(problem.code, ProblemCode::HeaderMismatch);
    problem.message
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let dataset = dataset("");
    let header = Header::parse(
        "\u{feff}note,\"Artikel\"\r\n".as_bytes(),
        &dataset,
        Format::Csv,
    )
    .unwrap();
    let decoded = decode(&dataset, Format::Csv, Some(&header), b"new,A-1", 0, 2);
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        decoded.rows[0].values[..],
        [text("A-1"), Value::Integer(0), text("new")]
    );
}

#[test]
fn without_a_header_the_columns_are_the_fields_in_order() {
    let dataset = dataset("csv.header = false\n");
    let header = Header::without(&dataset);
    let decoded = decode(&dataset, Format::Tsv, Some(&header), b"A-1\t7\t", 0, 1);
    assert_eq!(
        decoded.rows[0].values[..],
        [Value::Text("A-1".into()), Value::Integer(7), Value::Null]
    );
    assert_eq!(
        decode(&dataset, Format::Tsv, None, b"A-1\t7\t", 0, 1),
        decoded
    );
}

#[test]
fn a_header_that_does_not_match_is_refused() {
    for (bytes, expected) in [
        (
            &b"note,stock"[..],
            "lacks \"Artikel\"; it has \"note\", \"stock\"",
        ),
        (
            b"Artikel;stock;note",
            "if ';' is the delimiter, set csv.delimiter",
        ),
        (
            b"Artikel,note,note",
            "columns 2 and 3 are both named \"note\"",
        ),
        (b"Artikel,\xff", "not UTF-8"),
        (b"Artikel,\"note", "never closed"),
        (b"Artikel,a\0b", "column 2 contains U+0000"),
        (b"\r\n", "blank"),
        (b"", "blank"),
    ] {
        let message = refusal("", bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn unknown_columns_are_kept_dropped_or_refused() {
    let message = refusal("unknown_columns = \"reject\"\n", b"Artikel,size,colour");
    assert!(
        message.contains("has \"colour\", \"size\", which belong to no field"),
        "{message}"
    );
    for (setting, extra) in [
        ("", Some(r#"{"b":"say \"x\"","c":""}"#.to_owned())),
        ("unknown_columns = \"drop\"\n", None),
    ] {
        let dataset = dataset(setting);
        let header = Header::parse(b"c,b,Artikel", &dataset, Format::Csv).unwrap();
        let chunk = b",\"say \"\"x\"\"\",A-1";
        let decoded = decode(&dataset, Format::Csv, Some(&header), chunk, 0, 2);
        assert_eq!(decoded.rows[0].extra, extra);
    }
}
