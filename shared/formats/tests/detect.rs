//! Detection of the format from dataset, name and first bytes.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use landfall_domain::{Dataset, Format, ProblemCode};
use landfall_formats::detect;

fn dataset(extra: &str) -> Dataset {
    let text = format!(
        "name = \"d\"\nkey = [\"k\"]\n{extra}\n[[fields]]\nname = \"k\"\ntype = \"text\"\n"
    );
    Dataset::from_toml("d.toml", &text).unwrap()
}

fn format_of(key: &str, head: impl AsRef<[u8]>) -> Format {
    detect(key, head.as_ref(), &dataset("")).unwrap()
}

fn refusal(key: &str, head: impl AsRef<[u8]>) -> String {
    let problem = detect(key, head.as_ref(), &dataset("")).unwrap_err();
    assert_eq!(problem.code, ProblemCode::FormatMismatch);
    problem.message
}

#[test]
fn the_extension_decides_the_format() {
    for (key, head, format) in [
        ("d/a.csv", "k,v\n1,2\n", Format::Csv),
        ("d/A.CSV", "k\n1\n", Format::Csv),
        ("d/a.tsv", "k\tv\n", Format::Tsv),
        ("d/a.tab", "k\tv\n", Format::Tsv),
        ("d/a.ndjson", "{\"k\":1}\n", Format::Ndjson),
        ("d/a.jsonl", "{\"k\":1}\n{\"k\":2}\n", Format::Ndjson),
        ("d/a.json", "[{\"k\":1}]", Format::Json),
        ("d/a.json", "[null]", Format::Json),
        (
            "d/a.json",
            " {\n \"data\": [\n{\"k\": 1},\n{\"k\": 2}\n]}",
            Format::Json,
        ),
        ("d/v1.0/a.csv", "", Format::Csv),
    ] {
        assert_eq!(format_of(key, head), format, "{key}: {head}");
    }
}

#[test]
fn without_an_extension_the_content_decides() {
    for (head, format) in [
        ("k,v\n1,2\n", Format::Csv),
        ("[k],v\n1,2\n", Format::Csv),
        ("k\tv, or w\tx\n", Format::Tsv),
        ("{\"k\":1}\n{\"k\":2}\n", Format::Ndjson),
        ("{\"k\":1}", Format::Ndjson),
        ("[\n {\"k\":1}\n]", Format::Json),
        ("{\n \"data\": []\n}", Format::Json),
        (" \n", Format::Csv),
    ] {
        assert_eq!(format_of("d/export", head), format, "{head}");
        assert_eq!(format_of("d/export.v2/b.2026", head), format, "{head}");
    }
    let nested = dataset("json.path = \"data\"");
    assert_eq!(
        detect("d/a", b"{\"data\":[]}", &nested).unwrap(),
        Format::Json
    );
    assert_eq!(detect("d/a", b"", &nested).unwrap(), Format::Json);
    let semicolons = dataset("csv.delimiter = \";\"");
    assert_eq!(
        detect("d/a", b"k\tx;v\n", &semicolons).unwrap(),
        Format::Csv
    );
}

#[test]
fn the_dataset_takes_precedence_over_the_extension() {
    let lines = dataset("format = \"ndjson\"");
    assert_eq!(
        detect("d/a.txt", b"{\"k\":1}\n", &lines).unwrap(),
        Format::Ndjson
    );
    assert_eq!(
        detect("d/a.csv", b"{\"k\":1}\n", &lines).unwrap(),
        Format::Ndjson
    );
    let problem = detect("d/a.ndjson", b"k,v\n1,2\n", &lines).unwrap_err();
    assert!(
        problem
            .message
            .contains("not ndjson as the definition of the dataset says"),
        "{}",
        problem.message
    );
}

#[test]
fn a_json_file_with_one_object_per_line_is_ndjson() {
    assert_eq!(
        format_of("d/a.json", "{\"k\":1}\n{\"k\":2}\n"),
        Format::Ndjson
    );
    assert_eq!(
        format_of("d/a.json", "\u{feff}{\"k\":1}\r\n\r\n{\"k\":2"),
        Format::Ndjson
    );
    assert_eq!(format_of("d/a.json", "{\"k\":1}\n"), Format::Json);
}

#[test]
fn a_byte_order_mark_is_ignored() {
    assert_eq!(format_of("d/a.csv", "\u{feff}k,v\n"), Format::Csv);
    assert_eq!(format_of("d/a", "\u{feff}[{\"k\":1}]"), Format::Json);
    assert!(refusal("d/a.csv", "\u{feff}[{\"k\":1}]").contains("a JSON array"));
}

#[test]
fn a_malformed_line_does_not_change_the_format() {
    assert_eq!(format_of("d/a.ndjson", "oops\n{\"k\":1}\n"), Format::Ndjson);
    assert_eq!(
        format_of("d/a.ndjson", "{\"k\":\n{\"k\":1}\n"),
        Format::Ndjson
    );
    assert!(refusal("d/a.ndjson", "{\n  \"k\": 1\n}\n").contains("name it .json"));
}

#[test]
fn content_of_another_format_is_refused_and_named() {
    for (key, head, found) in [
        ("d/a.csv", &b"\x89PNG\r\n\x1a\n"[..], "a PNG image"),
        (
            "d/a.csv",
            b"PK\x03\x04\x14",
            "zip archive or an Excel workbook",
        ),
        ("d/a.csv.gz", b"\x1f\x8b\x08", "gzip: unpack it"),
        ("d/a.csv", b"PAR1\x15", "Parquet: export it as"),
        (
            "d/a.csv",
            b"\xff\xfek\0,\0",
            "UTF-16 text: save it as UTF-8",
        ),
        ("d/a.csv", b"k\0,\0v\0\n\0", "zero bytes"),
        (
            "d/a.csv",
            b"{\"k\": 1}\n{\"k\": 2}\n",
            "JSON objects, one per line",
        ),
        ("d/a.csv", b"[{\"k\": 1}]", "a JSON array, not csv"),
        ("d/a.tsv", b"[\n{\"k\": 1}]", "name it .json"),
        (
            "d/a.json",
            b"k,v\n1,2\n",
            "text that is not JSON, not json as the name of the object says",
        ),
        ("d/a.ndjson", b"[{\"k\":1},\n{\"k\":2}]", "a JSON array"),
        ("d/a.ndjson", b"k,v\n1,2\n", "text that is not JSON"),
        ("d/a.csv", b"\n<!DOCTYPE html><html>", "HTML"),
    ] {
        let message = refusal(key, head);
        assert!(message.contains(found), "{key}: {message}");
    }
}

#[test]
fn a_single_zero_byte_does_not_make_a_file_binary() {
    let mut text = "k,v\n".repeat(100).into_bytes();
    text[50] = 0;
    assert_eq!(format_of("d/a.csv", text), Format::Csv);
}
