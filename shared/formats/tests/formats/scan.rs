//! Planned chunks, and the problems of objects that violate their format.

use landfall_domain::{ByteRange, ChunkKind, Dataset, Format, PlannedChunk, Problem, ProblemCode};
use landfall_formats::{MAX_CHUNK_RECORDS, Scanner, Summary};

fn dataset(settings: &str) -> Dataset {
    crate::dataset(settings, "")
}

struct Scan {
    chunks: Vec<PlannedChunk>,
    header: Option<ByteRange>,
    end: Result<Summary, Problem>,
}

fn scan(settings: &str, format: Format, chunk_bytes: u64, text: &str) -> Scan {
    let mut scanner = Scanner::new(&dataset(settings), &format.into(), chunk_bytes);
    let mut chunks = Vec::new();
    let fed = scanner.feed(text.as_bytes(), &mut chunks);
    let header = scanner.header();
    let end = fed.and_then(|()| scanner.finish(&mut chunks));
    Scan {
        chunks,
        header,
        end,
    }
}

/// Returns the text of each chunk.
fn texts<'a>(found: &Scan, text: &'a str) -> Vec<&'a str> {
    let index = |offset| usize::try_from(offset).unwrap();
    let ranges = found.chunks.iter().map(|chunk| chunk.range);
    let texts = ranges.map(|range| &text[index(range.start)..index(range.end)]);
    texts.collect()
}

fn records(found: &Scan) -> Vec<u64> {
    found.chunks.iter().map(|chunk| chunk.records).collect()
}

/// Checks the problem of a JSON document without an array of rows at a path, which may be empty.
fn check_problem(path: &str, text: &str, code: ProblemCode, message: &str) {
    let settings = match path {
        "" => String::new(),
        _ => format!("json.path = \"{path}\""),
    };
    let problem = scan(&settings, Format::Json, 1, text).end.unwrap_err();
    assert_eq!(problem.code, code, "{text}: {}", problem.message);
    assert!(problem.message.contains(message), "{}", problem.message);
}

#[test]
fn a_scan_that_is_abandoned_leaves_out_the_record_that_has_begun() {
    for (format, text, expected) in [
        (Format::Csv, "k,v\n1,a\n2,\"b\nc\"\n3,d", "1,a\n2,\"b\nc\""),
        (
            Format::Csv,
            "k,v\n1,a\n2,\"b\nc\"\n3,\"d\n",
            "1,a\n2,\"b\nc\"",
        ),
        (
            Format::Ndjson,
            "{\"k\":1}\n{\"k\":2}\n{\"k\"",
            "{\"k\":1}\n{\"k\":2}",
        ),
        (
            Format::Json,
            "[{\"k\":1},{\"k\":2},{\"k\"",
            "{\"k\":1},{\"k\":2}",
        ),
    ] {
        let mut scanner = Scanner::new(&dataset(""), &format.into(), 1_000);
        let mut chunks = Vec::new();
        scanner.feed(text.as_bytes(), &mut chunks).unwrap();
        scanner.abandon(&mut chunks);
        let [chunk] = &chunks[..] else {
            panic!("{chunks:?}");
        };
        let index = |offset| usize::try_from(offset).unwrap();
        assert_eq!(
            &text[index(chunk.range.start)..index(chunk.range.end)],
            expected
        );
        assert_eq!(chunk.records, 2, "{text}");
    }
}

#[test]
fn csv_chunks_contain_complete_records() {
    let text = "\u{feff}k,v\r\n1,\"a\r\n\r\nb\"\r\n\r\n2,\"say \"\"x\"\"\"\n3,not \"open\n4,d";
    let found = scan("", Format::Csv, 1, text);
    let expected = "1,\"a\r\n\r\nb\" | 2,\"say \"\"x\"\"\" | 3,not \"open | 4,d";
    assert_eq!(texts(&found, text).join(" | "), expected);
    let lines = found.chunks.iter().map(|chunk| chunk.first_line);
    assert!(lines.eq([2, 6, 7, 8]));
    assert_eq!(found.header, Some(ByteRange { start: 3, end: 6 }));
    let summary = found.end.unwrap();
    assert_eq!((summary.records, summary.header), (4, found.header));
}

#[test]
fn a_chunk_is_closed_once_it_has_enough_bytes() {
    let text = "k\naaaa\nbbbb\ncccc\ndddd\ne\n";
    let found = scan("", Format::Csv, 8, text);
    assert_eq!(texts(&found, text), ["aaaa\nbbbb", "cccc\ndddd", "e"]);
    assert_eq!(records(&found), [2, 2, 1]);
}

#[test]
fn blank_lines_are_not_part_of_a_chunk() {
    let text = format!("k\na\n{}b\n", "\n".repeat(1000));
    let found = scan("", Format::Csv, 100, &text);
    assert_eq!(texts(&found, &text), ["a", "b"]);
}

#[test]
fn the_records_of_a_chunk_are_limited() {
    let text = "a\n".repeat(100_001);
    let found = scan("csv.header = false", Format::Csv, u64::MAX, &text);
    assert_eq!(records(&found), [MAX_CHUNK_RECORDS, 1]);
}

#[test]
fn an_oversize_record_is_a_separate_chunk() {
    let settings = "limits.record_bytes = 16";
    for (format, text) in [
        (Format::Csv, "k\na\n\"bbbbb\nbbbbbbbbbb\"\nc\n"),
        (Format::Ndjson, "\n1\n[2222,2222,222222]\n3\n"),
        (Format::Json, "[1, [2222,2222,222222], 3]"),
    ] {
        let found = scan(settings, format, 100, text);
        let kinds = found.chunks.iter().map(|chunk| chunk.kind);
        assert!(kinds.eq([ChunkKind::Records, ChunkKind::Oversize, ChunkKind::Records]));
        assert_eq!(found.chunks[1].range.len(), 18, "{text}");
        assert_eq!(found.end.unwrap().records, 3);
    }
}

#[test]
fn a_header_over_the_limit_is_refused_before_the_object_ends() {
    let mut scanner = Scanner::new(&dataset("limits.record_bytes = 16"), &Format::Csv.into(), 1);
    let mut chunks = Vec::new();
    scanner.feed(b"k,\"v\n1,2\n3,4", &mut chunks).unwrap();
    let problem = scanner.feed(b"\n5,6\n7,8\n", &mut chunks).unwrap_err();
    assert_eq!(problem.code, ProblemCode::HeaderMismatch);
    assert!(chunks.is_empty());
}

#[test]
fn an_open_quote_extends_a_record_to_the_end() {
    let text = "k\n1\n2,\"b\n3,c\n";
    let found = scan("", Format::Csv, 1, text);
    assert_eq!(texts(&found, text), ["1", "2,\"b\n3,c\n"]);
}

#[test]
fn objects_without_records_have_no_chunks() {
    for (format, text) in [
        (Format::Csv, ""),
        (Format::Csv, "k,v\n"),
        (Format::Ndjson, " \n\t\r\n"),
        (Format::Json, "\u{feff}\n"),
        (Format::Json, "[ ]"),
    ] {
        let found = scan("", format, 1, text);
        assert_eq!(found.end.unwrap().records, 0, "{text:?}");
        assert!(found.chunks.is_empty());
    }
}

#[test]
fn elements_of_an_array_at_a_path_are_records() {
    let text =
        r#"{"v": "1", "\u0064ata": {"rows ": [0], "rows": [{"k": "]"} , [1,[2]],3 ], "x": [[]]}}"#;
    let found = scan("json.path = \"data.rows\"", Format::Json, 1, text);
    assert_eq!(texts(&found, text), [r#"{"k": "]"}"#, "[1,[2]]", "3"]);
    assert!(found.end.is_ok());
}

#[test]
fn a_document_without_the_array_is_a_format_mismatch() {
    for (path, text, expected) in [
        ("", "12", "a single value, not an array"),
        ("r", "[1]", "is an array, so it has no property r"),
        ("rows", r#"{"row": []}"#, "no property rows"),
        ("a.rows", r#"{"a": []}"#, "a is an array, not an object"),
        ("r", r#"{"r": {"k": 1}}"#, "is an object, not an array"),
        ("rows", r#"{"rows": null}"#, "not an array"),
    ] {
        check_problem(path, text, ProblemCode::FormatMismatch, expected);
    }
}

#[test]
fn the_problem_of_a_malformed_document_names_the_position() {
    for (text, expected) in [
        (
            "[1 2]",
            "',' or ']' after a record, found '2' (byte 3, line 1)",
        ),
        ("[1,,\n]", "expected a value, found ','"),
        (
            "[1]\n[2]",
            "found '['; upload documents that were joined one by one (byte 4, line 2)",
        ),
        ("[,1]", "expected a value, found ','"),
        (
            "[1]\n\nx",
            "end of the document, found 'x' (byte 5, line 3)",
        ),
        (
            "[{},\n{\"b\":[1}]",
            "'[' is closed by '}' (byte 12, line 2)",
        ),
        ("[1}", "expected ',' or ']' after a record, found '}'"),
        (
            "[1,2 ",
            "before the array of rows is closed (byte 5, line 1)",
        ),
        ("[1,{\"a\":", "ends in the record that starts at byte 3"),
        ("[1,\"a", "ends in the record that starts at byte 3"),
        ("]", "expected a value, found ']' (byte 0"),
        ("[\x01", "the document ends"),
        (&"[".repeat(514), "ends in the record that starts at byte 1"),
        (
            "{\"a\":1}\n{\"b\":",
            "ends in the record that starts at byte 8",
        ),
        ("{\"a\":1}]", "expected a value, found ']' (byte 7, line 1)"),
    ] {
        check_problem("", text, ProblemCode::Malformed, expected);
    }
    for (text, expected) in [
        (r#"{"r":[1],}"#, "expected a property, found '}'"),
        (r#"{"r" [1]}"#, "expected ':', found '['"),
        ("{r:[1]}", "expected a property or '}', found 'r'"),
        (
            r#"{"r":[1] "s":1}"#,
            "',' or '}' after a property, found '\"'",
        ),
        (r#"{"r":[1]"#, "ends before the document is complete"),
        (r#"{"r":[1],"r":[2]}"#, "the property r occurs twice"),
    ] {
        check_problem("r", text, ProblemCode::Malformed, expected);
    }
    let twice = r#"{"r":{"s":[1]},"r":1}"#;
    check_problem(
        "r.s",
        twice,
        ProblemCode::Malformed,
        "property r occurs twice",
    );
}

#[test]
fn records_before_a_malformed_one_are_planned() {
    let text = "[1, {\"k\": \"x\"}, 3, \"cut";
    for chunk_bytes in [1, 1000] {
        let found = scan("", Format::Json, chunk_bytes, text);
        assert_eq!(records(&found).iter().sum::<u64>(), 3);
        assert_eq!(found.end.unwrap_err().code, ProblemCode::Malformed);
    }
    let found = scan("", Format::Json, 1000, "[1, 2 3]");
    assert_eq!(records(&found), [2]);
}

#[test]
fn an_invalid_record_does_not_affect_the_others() {
    let text = "[{\"k\" 1}, {k:2}, tru, {\"k\":3}]";
    let found = scan("", Format::Json, 1, text);
    assert_eq!(texts(&found, text).join(", "), text[1..text.len() - 1]);
    assert!(found.end.is_ok());
}

#[test]
fn deep_nesting_does_not_affect_other_records() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for (format, text) in [
        (Format::Json, format!("[{{\"k\":{deep}}},1]")),
        (Format::Json, format!("{{\"k\":\n{deep}}}1")),
        (Format::Ndjson, format!("{{\"k\":{deep}}}{{}}")),
    ] {
        let found = scan("", format, 1, &text);
        assert_eq!(records(&found), [1, 1]);
        assert!(found.end.is_ok());
    }
}

#[test]
fn an_object_after_another_one_is_a_record() {
    let line = r#"{"a":"}{"} {"b":[{},{}]}{"c":1}  x {"d":1}{"e":1}"#;
    let text = format!("{line}\n{{\"f\":}}\u{1e}{{}}  \r\n");
    let expected = [
        r#"{"a":"}{"}"#,
        r#"{"b":[{},{}]}"#,
        r#"{"c":1}  x {"d":1}{"e":1}"#,
        "{\"f\":}",
        "{}  \r",
    ];
    let found = scan("", Format::Ndjson, 1, &text);
    assert_eq!(texts(&found, &text), expected);
    let lines = found.chunks.iter().map(|chunk| chunk.first_line);
    assert!(lines.eq([1, 1, 1, 2, 2]));

    let text = "\u{1e}{\"a\":\n1}{\"b\":[2]}\n,{} 7 \"x\"\u{1e}8";
    let found = scan("", Format::Json, 1, text);
    let expected = ["{\"a\":\n1}", "{\"b\":[2]}", "{}", "7", "\"x\"", "8"];
    assert_eq!(texts(&found, text), expected);
    assert_eq!(found.end.unwrap().records, 6);
}
