//! CSV and TSV as people and programs get it wrong.

use landfall_domain::{Dataset, Format, ProblemCode, RejectCode, Row, Value, WarningCode};
use landfall_formats::{Decoded, Header, Scanner};

use crate::{csv, dataset, ingest, text};

fn articles(settings: &str) -> Dataset {
    let fields = r#"
        { name = "size", type = "text" },
        { name = "note", type = "text" },
    "#;
    dataset(settings, fields)
}

/// Decodes records of articles that follow the usual header.
fn decoded(settings: &str, records: &str) -> Decoded {
    csv(
        &articles(settings),
        Some("sku,size,note"),
        records.as_bytes(),
    )
}

/// Returns the values of each row as texts, separated by bars.
fn texts(rows: &[Row]) -> Vec<String> {
    let text = |value: &Value| value.to_text().unwrap_or("null".into()).into_owned();
    let row = |row: &Row| row.values.iter().map(text).collect::<Vec<_>>().join("|");
    rows.iter().map(row).collect()
}

fn warned(dataset: &Dataset, decoded: &Decoded, code: WarningCode) -> Option<u64> {
    decoded.counts(dataset, None).warnings.get(&code).copied()
}

#[test]
fn rows_that_a_stray_quote_may_have_swallowed_are_counted() {
    for (settings, records, count) in [
        ("", "A,\"big crate\nB,ok\nC,19\"\n", None),
        ("", "A,x,\"big crate\nB,y,ok\nC,z,19\"\n", Some(1)),
        (
            "",
            "A,x,\"big crate\r\nB,y,ok\r\nC,z,19\"\r\nD,,\r\n",
            Some(1),
        ),
        ("", "A,x,\"big crate\rB,y,ok\rC,z,19\"\r", Some(1)),
        ("csv.flexible = true", "A,\"x,big\nB,y,ok\"\n", Some(1)),
        // Cells with line ends.
        ("", "A,x,\"Dear all,\nhello.\n\nYours, me\"\n", None),
        ("", "A,\"x\ny\",z\n", None),
        ("", "A,\"x,y\",z\n", None),
    ] {
        let decoded = decoded(settings, records);
        let warned = warned(&articles(""), &decoded, WarningCode::SwallowedRows);
        assert_eq!(warned, count, "{records}");
    }
}

#[test]
fn a_header_in_another_order_rejects_what_follows_it_and_fails_the_job() {
    let joined = "A,1,x\nnote,sku,size\ny,B,2\nSKU, size ,note\nC,3,z\n";
    let joined = decoded("", joined);
    assert_eq!(texts(&joined.rows), ["A|1|x", "C|3|z"]);
    let rejects = joined
        .rejects
        .iter()
        .map(|reject| (reject.code, reject.line));
    let expected = [(RejectCode::Header, 11), (RejectCode::Header, 12)];
    assert_eq!(rejects.collect::<Vec<_>>(), expected);
    let dataset = articles("");
    assert_eq!(
        warned(&dataset, &joined, WarningCode::OtherHeaders),
        Some(1)
    );
    assert_eq!(
        warned(&dataset, &joined, WarningCode::RepeatedHeaders),
        Some(1)
    );
    // So is one with fewer columns, whose rows would fit.
    let flexible = decoded("csv.flexible = true", "A,1,x\nsku,note\nB,y\n");
    assert_eq!((flexible.rows.len(), flexible.other_headers), (1, 1));
    // Data may contain the name of a column.
    let data = decoded("", "size,,\nsku,sku,sku\nsize,note,x\n");
    assert_eq!((data.rows.len(), data.other_headers), (3, 0));
}

#[test]
fn nothing_after_a_header_in_another_order_is_read_in_any_chunk() {
    let dataset = articles("");
    let rows = "A,1,x\nB,2,y\n".repeat(20);
    for (header, other, is_found) in [
        ("sku,size,note", "note,sku,size", true),
        (
            "\"sku\",\"size\",\"note\"",
            "\"note\",\"sku\",\"size\"",
            true,
        ),
        ("sku,size,note", "\u{feff}size,sku,note", true),
        ("sku,size,note", "sku,size,note", false),
        ("sku,size,note", "skus,ize,note", false),
        ("sku,size,note", "note,note,sku", false),
    ] {
        let file = format!("{header}\n{rows}{other}\nnote,A,1\n{rows}");
        for piece in [1, 7, file.len()] {
            let reading = Format::Csv.into();
            let mut scanner = Scanner::new(&dataset, &reading, 16);
            let mut chunks = Vec::new();
            let mut pieces = file.as_bytes().chunks(piece);
            let fed = pieces.try_for_each(|piece| scanner.feed(piece, &mut chunks));
            let ended = fed.and_then(|()| scanner.finish(&mut chunks).map(drop));
            let planned: u64 = chunks.iter().map(|chunk| chunk.records).sum();
            assert_eq!(
                (planned == 40, ended.is_err()),
                (is_found, is_found),
                "{other}"
            );
            if let Err(problem) = ended {
                assert_eq!(problem.code, ProblemCode::HeaderMismatch);
                assert!(
                    problem.message.starts_with("line 42 "),
                    "{}",
                    problem.message
                );
            }
        }
    }
}

#[test]
fn a_header_that_the_definition_denies_is_no_row() {
    let settings = "csv.header = false";
    let decoded = csv(&articles(settings), None, b"SKU,size,note\nA,1,x\n");
    assert_eq!(texts(&decoded.rows), ["A|1|x"]);
    assert_eq!(decoded.skipped.repeated_headers, 1);
}

#[test]
fn rows_of_white_space_are_blank() {
    let decoded = decoded("", "A,1,x\n , ,\u{a0}\n\t,,\n   \n");
    assert_eq!((decoded.rows.len(), decoded.skipped.blank_rows), (1, 3));
}

#[test]
fn a_backslash_makes_letters_control_characters() {
    let settings = "csv = { escape = \"\\\\\", quote = \"\" }";
    let line = "A\\tB,l1\\nl2\\r,C:\\\\new\\\\N\n\\N,\\.,\\d\n";
    let escaped = decoded(settings, line);
    assert_eq!(
        texts(&escaped.rows),
        ["A\tB|l1\nl2\r|C:\\new\\N", "\\N|.|d"]
    );
    let quoted = decoded(
        "csv.escape = \"\\\\\"",
        "A,\"say \\\"hi\\\"\\n\",\"\"\"t\"\n",
    );
    assert_eq!(texts(&quoted.rows), ["A|say \"hi\"\n|\"t"]);
    let doubled = decoded("csv.escape = \"\\\"\"", "A,\"x\"\"y\",z\n");
    assert_eq!(texts(&doubled.rows), ["A|x\"y|z"]);
    let other = decoded("csv.escape = \"^\"", "A,^n,^t\n");
    assert_eq!(texts(&other.rows), ["A|n|t"]);
}

#[test]
fn a_wrong_number_of_cells_names_the_setting_that_helps() {
    for (settings, record, expected) in [
        ("", "A,\"1,x\nB,2,y\"\n", "may have swallowed others"),
        ("", "A, \"1, x\",y\n", "csv.trim"),
        ("", "A,'1, x',y\n", "csv.quote = \"'\""),
        ("", "# 3 rows\n", "csv.comment"),
        ("", "\"A,1,x\"\n", "remove them"),
        ("", "A,1\n", "csv.flexible"),
        (
            "csv.flexible = true",
            "A,1,x,y\n",
            "expected 3 cells, found 4",
        ),
    ] {
        let decoded = decoded(settings, record);
        let reject = &decoded.rejects[0];
        assert_eq!(reject.code, RejectCode::ColumnCount);
        assert!(reject.message.contains(expected), "{}", reject.message);
    }
}

#[test]
fn a_header_without_the_columns_names_the_setting_that_helps() {
    for (settings, header, expected) in [
        ("", "Report of May", "csv.skip_lines"),
        ("", "A-1,7,x", "csv.header = false"),
        ("", "# made by x", "csv.comment"),
        ("", "\"sku,size,note\"", "the whole line is in quotes"),
        (
            "csv.delimiter = \";\"",
            "sku,size,note",
            "if ',' is the delimiter",
        ),
        ("", "sku\u{2028}A-1,size", "column 1 contains U+2028"),
    ] {
        let dataset = articles(settings);
        let parsed = Header::parse(header.as_bytes(), &dataset, &Format::Csv.into());
        let message = parsed.unwrap_err().message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn names_of_columns_may_be_composed_or_not() {
    let dataset = dataset("", r#"{ name = "size", type = "text", column = "Größe" }"#);
    let decoded = csv(&dataset, Some("sku,GRO\u{308}ße"), b"A,1");
    assert_eq!(texts(&decoded.rows), ["A|1"]);
}

#[test]
fn a_file_of_deletes_needs_only_the_key() {
    let fields = r#"{ name = "size", type = "text", required = true }"#;
    let dataset = dataset("operation.column = \"op\"", fields);
    let decoded = csv(&dataset, Some("op,sku"), b"d,A\nu,B\n");
    assert_eq!(texts(&decoded.rows), ["A|null"]);
    assert!(decoded.rows[0].deleted);
    assert_eq!(decoded.rejects[0].code, RejectCode::Required);
    let refused = Header::parse(b"sku", &dataset, &Format::Csv.into()).unwrap_err();
    assert!(
        refused.message.contains("lacks \"size\""),
        "{}",
        refused.message
    );
}

#[test]
fn utf_8_that_is_read_as_another_encoding_is_counted() {
    let dataset = articles("encoding = \"windows-1252\"");
    for (content, count) in [
        ("sku,size,note\nA,Müller,x\n".as_bytes(), 1),
        (b"sku,size,note\nA,M\xfcller,x\n", 0),
        (b"sku,size,note\nA,x,x\n", 0),
    ] {
        let decoded = ingest::ingest(&dataset, "x.csv", content).decoded;
        assert_eq!((decoded.rows.len(), decoded.utf8), (1, count));
    }
}

#[test]
fn only_bytes_are_invalid_text() {
    let dataset = articles("");
    let decoded = csv(&dataset, Some("sku,size,note"), b"A,\0,x\nB,\xff,y\n");
    assert_eq!(decoded.rejects.len(), 2);
    assert_eq!(
        warned(&dataset, &decoded, WarningCode::InvalidText),
        Some(1)
    );
}

#[test]
fn a_first_line_that_sets_the_delimiter_may_be_quoted() {
    for first in ["sep=;", "SEP=;", "\"sep=;\""] {
        let content = format!("{first}\r\nsku;size;note\r\nA;1,5;x\r\n");
        let decoded = ingest::ingest(&articles(""), "x.csv", content.as_bytes()).decoded;
        assert_eq!(texts(&decoded.rows), ["A|1,5|x"], "{first}");
    }
    let line = ingest::ingest(&articles("csv.header = false"), "x.csv", b"sep,=;,x\n").decoded;
    assert_eq!(line.rows[0].values[0], text("sep"));
}

#[test]
fn a_file_that_ends_before_its_header_is_refused() {
    let dataset = articles("csv.skip_lines = 9");
    let content = b"sku,size,note\nA,1,x\n";
    let problem = ingest::problem(&dataset, "x.csv", content);
    assert_eq!(problem.code, ProblemCode::HeaderMismatch);
    assert!(
        problem.message.contains("csv.skip_lines"),
        "{}",
        problem.message
    );
}
