//! What absent columns, empty cells, empty cells in quotes, JSON nulls and empty JSON strings become.

use landfall_domain::{Dataset, Format, ProblemCode, Value};
use landfall_formats::{Header, decode};

/// What a file has for the field `v`.
const CSV: [(&str, Option<&str>); 4] = [
    ("absent", None),
    ("empty", Some("")),
    ("quoted", Some("\"\"")),
    ("listed", Some("-")),
];
const JSON: [(&str, &str); 4] = [
    ("absent", "{\"sku\":\"a\"}"),
    ("null", "{\"sku\":\"a\",\"v\":null}"),
    ("empty", "{\"sku\":\"a\",\"v\":\"\"}"),
    ("listed", "{\"sku\":\"a\",\"v\":\"-\"}"),
];

fn dataset(kind: &str, settings: &str, options: &str) -> Dataset {
    let field = format!("{{ name = \"v\", type = \"{kind}\", nulls = [\"\", \"-\"]{settings} }}");
    crate::dataset(options, &field)
}

/// Returns the text of the value, `null`, or `reject`. A refused header is `refused`.
fn from_csv(dataset: &Dataset, cell: Option<&str>) -> String {
    let (header, record) = match cell {
        None => ("sku", "a".to_owned()),
        Some(cell) => ("sku,v", format!("a,{cell}")),
    };
    let reading = Format::Csv.into();
    match Header::parse(header.as_bytes(), dataset, &reading) {
        Ok(header) => outcome(&decode(
            dataset,
            &reading,
            Some(&header),
            record.as_bytes(),
            0,
            1,
        )),
        Err(problem) => {
            assert_eq!(problem.code, ProblemCode::HeaderMismatch);
            "refused".to_owned()
        }
    }
}

fn from_json(dataset: &Dataset, line: &str) -> String {
    outcome(&decode(
        dataset,
        &Format::Ndjson.into(),
        None,
        line.as_bytes(),
        0,
        1,
    ))
}

fn outcome(decoded: &landfall_formats::Decoded) -> String {
    match decoded.rows.first() {
        None => "reject".to_owned(),
        Some(row) => row.values[1]
            .to_text()
            .unwrap_or("null".into())
            .into_owned(),
    }
}

#[test]
fn null_is_null_the_default_or_a_reject() {
    for (kind, default) in [
        ("integer", "7"),
        ("text", "x"),
        ("boolean", "true"),
        ("json", "[1]"),
    ] {
        let with_default = format!(", default = '{default}'");
        for (settings, expected, of_header) in [
            (String::new(), "null", "null"),
            (with_default.clone(), default, default),
            (", required = true".to_owned(), "reject", "refused"),
            (format!(", required = true{with_default}"), default, default),
        ] {
            let dataset = dataset(kind, &settings, "");
            for (what, cell) in CSV {
                let expected = if cell.is_none() { of_header } else { expected };
                assert_eq!(
                    from_csv(&dataset, cell),
                    expected,
                    "{kind}{settings}, CSV, {what}"
                );
            }
            for (what, line) in JSON {
                // Strings of JSON fields are values.
                if kind == "json" && matches!(what, "empty" | "listed") {
                    continue;
                }
                assert_eq!(
                    from_json(&dataset, line),
                    expected,
                    "{kind}{settings}, JSON, {what}"
                );
            }
        }
    }
}

#[test]
fn an_empty_cell_in_quotes_can_be_an_empty_text() {
    for settings in ["", ", required = true", ", default = \"x\""] {
        let dataset = dataset("text", settings, "csv.quoted_empty = true");
        assert_eq!(from_csv(&dataset, Some("\"\"")), "", "{settings}");
    }
    let numbers = dataset("integer", "", "csv.quoted_empty = true");
    assert_eq!(from_csv(&numbers, Some("\"\"")), "null");
}

#[test]
fn without_the_empty_text_in_nulls_it_is_a_text_and_no_number() {
    for (kind, expected) in [("text", ""), ("integer", "reject")] {
        let field = format!("{{ name = \"v\", type = \"{kind}\", nulls = [\"-\"] }}");
        let dataset = crate::dataset("", &field);
        assert_eq!(from_csv(&dataset, Some("")), expected);
        assert_eq!(from_json(&dataset, JSON[2].1), expected);
    }
    let texts = decode(
        &dataset("text", "", ""),
        &Format::Ndjson.into(),
        None,
        br#"{"sku":"a","v":" "}"#,
        0,
        1,
    );
    assert_eq!(texts.rows[0].values[1], Value::Text(" ".into()));
}
