//! Detection of the format from dataset, name and first bytes.

use landfall_domain::{Format, Problem, ProblemCode};

fn detect(settings: &str, key: &str, head: impl AsRef<[u8]>) -> Result<Format, Problem> {
    let reading = landfall_formats::detect(key, head.as_ref(), &crate::dataset(settings, ""))?;
    Ok(reading.format)
}

fn format_of(key: &str, head: impl AsRef<[u8]>) -> Format {
    detect("", key, head).unwrap()
}

fn refusal(key: &str, head: impl AsRef<[u8]>) -> String {
    let problem = detect("", key, head).unwrap_err();
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
            " {\n \"d\": [\n{},\n{\"k\": 2}\n]}",
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
        ("{\"k\":1}{\"k\":2}", Format::Ndjson),
        ("\u{1e}{\"k\":1}\n\u{1e}{\"k\":2}\n", Format::Ndjson),
        ("{\"k\":1},\n{\"k\":2},\n", Format::Ndjson),
        ("{\"k\":1},{\"k\":2}\n", Format::Json),
        ("{\"k\":1}\n,{\"k\":2}\n", Format::Json),
        ("{\n \"data\": []\n}", Format::Json),
        (" \n", Format::Csv),
    ] {
        assert_eq!(format_of("d/export", head), format, "{head}");
        assert_eq!(format_of("d/export.v2/b.2026", head), format, "{head}");
    }
    for (settings, head, format) in [
        ("json.path = \"data\"", "{\"data\":[]}", Format::Json),
        ("json.path = \"data\"", "{\"data\":[\n1]}", Format::Json),
        (
            "json.path = \"data\"",
            "{\"k\":1}\n{\"k\":2}",
            Format::Ndjson,
        ),
        ("json.path = \"data\"", "", Format::Json),
        ("csv.delimiter = \";\"", "k\tx;v\n", Format::Csv),
    ] {
        assert_eq!(detect(settings, "d/a", head).unwrap(), format, "{head}");
    }
}

#[test]
fn the_dataset_takes_precedence_over_the_extension() {
    let settings = "format = \"ndjson\"";
    for key in ["d/a.txt", "d/a.csv"] {
        let format = detect(settings, key, "{\"k\":1}\n").unwrap();
        assert_eq!(format, Format::Ndjson, "{key}");
    }
    let problem = detect(settings, "d/a.ndjson", "k,v\n1,2\n").unwrap_err();
    let expected = "not ndjson as the definition of the dataset says";
    assert!(problem.message.contains(expected), "{}", problem.message);
}

#[test]
fn objects_are_read_as_they_are_written_in_any_json_file() {
    let long = format!("{{\"k\":\"{}\"}}\n{{\"k\":2}}\n", "x".repeat(70_000));
    let spread = format!("{{\n\"k\":\"{}\"\n}}\n{{\"k\":2}}\n", "x".repeat(70_000));
    for (head, format) in [
        ("{\"k\":1}\n{\"k\":2}\n", Format::Ndjson),
        ("\u{feff}{\"k\":1}\r\n\r\n{\"k\":2", Format::Ndjson),
        ("{\"k\":1}\n", Format::Ndjson),
        ("{\"k\":1}", Format::Ndjson),
        ("{\"k\":1} {\"k\":2}", Format::Ndjson),
        ("{\"k\":tru}\n{\"k\":2}\n", Format::Ndjson),
        (&long, Format::Ndjson),
        (&spread, Format::Json),
        ("{\n  \"k\": 1\n}\n", Format::Json),
        ("{\n  \"k\": {\"a\":1}}{\n \"k\": 1}\n", Format::Json),
    ] {
        for (settings, key) in [
            ("", "d/a.json"),
            ("", "d/a.jsonl"),
            ("", "d/a"),
            ("format = \"json\"", "d/a.txt"),
            ("format = \"ndjson\"", "d/a.json"),
        ] {
            let found = detect(settings, key, head).unwrap();
            assert_eq!(found, format, "{settings} {key}: {head}");
        }
    }
}

#[test]
fn rows_can_be_arrays() {
    let detect = |fields: &str, key: &str, head: &str| {
        let dataset = crate::dataset("", fields);
        let found = landfall_formats::detect(key, head.as_bytes(), &dataset);
        found.map(|reading| reading.format)
    };
    let positions = r#"{ name = "v", type = "text", position = 2 }"#;
    let long = format!("[1,\"{}\"]\n[2]\n", "x".repeat(70_000));
    for (head, format) in [
        ("[\"a\",1]\n[\"b\",2]\n", Format::Ndjson),
        ("[1,\"a\"]\n", Format::Ndjson),
        ("[[1],2]\n[[3],4]\n", Format::Ndjson),
        (&long, Format::Ndjson),
        ("[[1,2],[3,4]]\n", Format::Json),
        ("[\n[1,2],\n[3,4]]\n", Format::Json),
        ("[{\"k\":1}]", Format::Json),
    ] {
        for key in ["d/a.json", "d/a"] {
            let found = detect(positions, key, head).unwrap();
            assert_eq!(found, format, "{key} {head}");
        }
    }
    let problem = detect("", "d/a.json", "[\"a\",1]\n[\"b\",2]\n").unwrap_err();
    assert!(problem.message.contains("set position for each field"));
    assert_eq!(detect("", "d/a.csv", "[1]\n[2]\n").unwrap(), Format::Csv);
}

#[test]
fn a_byte_order_mark_is_ignored() {
    assert_eq!(format_of("d/a.csv", "\u{feff}k,v\n"), Format::Csv);
    assert_eq!(format_of("d/a", "\u{feff}[{\"k\":1}]"), Format::Json);
    assert!(refusal("d/a.csv", "\u{feff}[{\"k\":1}]").contains("a JSON array"));
}

#[test]
fn a_malformed_line_does_not_change_the_format() {
    for head in ["oops\n{\"k\":1}\n", "{\"k\":\n{\"k\":1}\n"] {
        assert_eq!(format_of("d/a.ndjson", head), Format::Ndjson, "{head}");
    }
}

#[test]
fn content_of_another_format_is_refused_and_named() {
    let mut tar = vec![0; 1024];
    tar[..5].copy_from_slice(b"a.csv");
    tar[257..262].copy_from_slice(b"ustar");
    for (key, head, found) in [
        ("d/a.csv", &b"\x89PNG\r\n\x1a\n"[..], "a PNG image"),
        (
            "d/a.csv",
            b"PK\x03\x04\x14",
            "zip archive or an Excel workbook in a compressed file",
        ),
        (
            "d/a.csv.gz",
            b"\x1f\x8b\x08\0",
            "gzip in a compressed file: compress the file only once",
        ),
        ("d/a.csv", b"\xfd7zXZ\0", "xz: unpack it, or compress"),
        (
            "d/a.tar.gz",
            &tar,
            "a tar archive: upload each of its files",
        ),
        (
            "d/a.csv.gz",
            b"{\"k\": 1}\n{}\n",
            "JSON objects, one per line",
        ),
        ("d/a.csv", b"PAR1\x15", "Parquet: export it as"),
        ("d/a.csv", b"k\0,\0v\0\n\0", "zero bytes"),
        ("d/a.csv", b"{\"k\": 1}\n{}\n", "JSON objects, one per line"),
        ("d/a.csv", b"[{\"k\": 1}]", "a JSON array, not csv"),
        ("d/a.tsv", b"[\n{\"k\": 1}]", "name it .json"),
        ("d/a.json", b"k,v\n", "is text that is not JSON, not json"),
        ("d/a.json", b"k,v\n", "json as the name of the object says"),
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
