//! Files as people have them: CSV and TSV. Definitions and data are in `tests/cases`.

use landfall_domain::{Dataset, Encoding, Reject, RejectCode, Row, WarningCode};
use landfall_formats::{Header, Skipped};

use crate::ingest::read;

/// The content of a file.
struct Ingested {
    rows: Vec<Row>,
    rejects: Vec<Reject>,
    skipped: Skipped,
    warnings: Vec<WarningCode>,
}

impl Ingested {
    /// Returns the values of each row as texts, separated by bars.
    fn texts(&self) -> Vec<String> {
        let text = |row: &Row| {
            let values = row.values.iter();
            let texts = values.map(|value| value.to_text().unwrap_or("null".into()).into_owned());
            texts.collect::<Vec<_>>().join("|")
        };
        self.rows.iter().map(text).collect()
    }

    fn extras(&self) -> Vec<Option<&str>> {
        self.rows.iter().map(|row| row.extra.as_deref()).collect()
    }
}

/// Ingests a file with the definition of its case and further settings.
fn ingest(case: &str, definition: &str, settings: &str, file: &str) -> Ingested {
    let definition_text = String::from_utf8(read(case, definition)).unwrap();
    let definition_text = format!("{settings}\n{definition_text}");
    let dataset = Dataset::from_toml(definition, &definition_text).unwrap();
    let crate::ingest::Ingested { decoded, warnings } =
        crate::ingest::ingest(&dataset, file, &read(case, file));
    Ingested {
        rows: decoded.rows,
        rejects: decoded.rejects,
        skipped: decoded.skipped,
        warnings,
    }
}

#[test]
fn case_02_text_after_a_closing_quote_rejects_all_that_was_swallowed() {
    let notes = ingest(
        "02-unbalanced-quote-merges-rows",
        "notes.toml",
        "",
        "notes.csv",
    );
    assert_eq!(notes.texts(), ["A-4|ok"]);
    let [reject] = &notes.rejects[..] else {
        panic!("{:?}", notes.rejects);
    };
    assert_eq!((reject.code, reject.line), (RejectCode::TextAfterQuote, 2));
    assert_eq!(
        reject.raw,
        "A-1,\"oversized crate\nA-2,ok\nA-3,\"fragile\" handle"
    );
}

#[test]
fn case_03_quotes_of_a_tsv_file_that_enclose_no_cells_are_data() {
    let titles = ingest("03-tsv-without-quoting", "titles.toml", "", "titles.tsv");
    let expected = [
        "tt01|\"Swing it\" teacher|1940",
        "tt02|\"Unfinished|1951",
        "tt03|Plain|1952",
        "tt04|\"Quoted\" once more|1953",
        "tt05|Last|null",
    ];
    assert_eq!(titles.texts(), expected);
    assert_eq!(titles.warnings, [WarningCode::Quoting]);
    let set = ingest(
        "03-tsv-without-quoting",
        "titles.toml",
        "csv.quote = \"\"",
        "titles.tsv",
    );
    assert_eq!((set.texts(), set.warnings), (titles.texts(), Vec::new()));
}

#[test]
fn case_04_escapes_are_rejected_unless_they_are_declared() {
    let case = "04-backslash-escapes";
    let parts = ingest(case, "parts.toml", "", "parts.csv");
    let rejected: Vec<_> = parts.rejects.iter().map(|it| (it.code, it.line)).collect();
    assert!(
        rejected.contains(&(RejectCode::TextAfterQuote, 2)),
        "{rejected:?}"
    );
    assert!(
        rejected.contains(&(RejectCode::TextAfterQuote, 3)),
        "{rejected:?}"
    );
    assert!(parts.rejects[0].message.contains("csv.escape"));
    let settings = "csv.escape = \"\\\\\"\nnulls = [\"\", \"\\\\N\"]";
    let parts = ingest(case, "parts.toml", settings, "parts.csv");
    let expected = [
        "B-1|19\" rack, black|12.5",
        "B-2|say \"hi\"|3",
        "B-3|null|null",
        "B-4|plain, quoted|1",
    ];
    assert_eq!(parts.texts(), expected);
}

#[test]
fn case_08_names_match_after_trimming_and_case_folding() {
    let case = "08-header-spaces-and-case";
    let goods = ingest(case, "goods.toml", "", "2-other-header.csv");
    assert_eq!(goods.texts(), ["G-1|Lamp|9.75|round", "G-2|Desk|82|oak"]);
    assert_eq!(goods.extras(), [None, None]);
    assert_eq!(goods.warnings, []);
}

#[test]
fn case_13_repeated_headers_and_byte_order_marks_are_skipped_and_counted() {
    let case = "13-concatenated-exports";
    let merged = ingest(case, "merged.toml", "", "merged.csv");
    assert_eq!(merged.texts(), ["M-1|Lamp", "M-2|Desk", "M-3|Rug"]);
    assert_eq!(merged.skipped.repeated_headers, 1);
    let headerless = ingest(case, "headerless.toml", "", "headerless.csv");
    assert_eq!(headerless.texts(), ["M-4|Vase", "M-5|Bowl"]);
}

#[test]
fn case_18_blank_rows_are_skipped_and_counted() {
    let shelf = ingest(
        "18-blank-excel-rows-in-snapshots",
        "shelf.toml",
        "",
        "2-with-blank-rows.csv",
    );
    assert_eq!(shelf.texts(), ["T-1|Lamp|1", "T-2|Desk|2"]);
    assert_eq!((shelf.skipped.blank_rows, shelf.rejects.len()), (2, 0));
}

#[test]
fn case_20_text_in_another_encoding_is_read_once_it_is_declared() {
    let case = "20-windows-1252";
    let cities = ingest(case, "cities.toml", "", "cities.csv");
    assert_eq!(cities.texts(), ["2|Bonn", "4|Ulm"]);
    assert!(
        cities
            .rejects
            .iter()
            .all(|it| it.code == RejectCode::Encoding)
    );
    assert!(cities.rejects[0].message.contains("set encoding"));
    let cities = ingest(
        case,
        "cities.toml",
        "encoding = \"windows-1252\"",
        "cities.csv",
    );
    assert_eq!(
        cities.texts(),
        ["1|Köln", "2|Bonn", "3|Essen – Süd", "4|Ulm"]
    );
    assert_eq!(
        Encoding::for_label("latin1").unwrap().name(),
        "windows-1252"
    );
}

#[test]
fn case_27_columns_without_a_name_and_repeated_ones_matter_only_to_fields() {
    let case = "27-empty-and-double-headers";
    for (file, texts, extra) in [
        ("two-empty.csv", vec!["F-1|AA", "F-2|UA"], None),
        ("one-empty.csv", vec!["F-3|AA", "F-4|UA"], None),
        (
            "twice.csv",
            vec!["F-5|AA"],
            Some(r#"{"note":"x","note_2":"y"}"#),
        ),
    ] {
        let flights = ingest(case, "flights.toml", "", file);
        assert_eq!(flights.texts(), texts);
        assert!(
            flights.extras().iter().all(|it| *it == extra),
            "{:?}",
            flights.extras()
        );
    }
}

#[test]
fn case_28_ragged_rows_are_accepted_on_request() {
    let case = "28-ragged-rows";
    let contacts = ingest(case, "contacts.toml", "", "contacts.csv");
    assert_eq!(contacts.texts(), ["H-1|a@example.com|vip"]);
    assert!(
        contacts
            .rejects
            .iter()
            .all(|it| it.message.contains("csv.flexible"))
    );
    let settings = "csv.flexible = true";
    let contacts = ingest(case, "contacts.toml", settings, "contacts.csv");
    let expected = [
        "H-1|a@example.com|vip",
        "H-2|b@example.com|null",
        "H-3|c@example.com|x",
    ];
    assert_eq!(contacts.texts(), expected);
    let trailing = ingest(case, "contacts.toml", settings, "trailing.csv");
    assert_eq!(
        trailing.texts(),
        ["H-4|d@example.com|x", "H-5|e@example.com|y"]
    );
}

#[test]
fn delimiters_lines_to_skip_and_headers_of_several_lines_are_understood() {
    let dataset = |settings: &str| {
        crate::dataset(
            settings,
            r#"{ name = "net_price", type = "text", column = "net price" }"#,
        )
    };
    let read = |settings: &str, text: &str| {
        let found = crate::ingest::ingest(&dataset(settings), "a.csv", text.as_bytes()).decoded;
        assert_eq!(found.rejects, []);
        let values = found.rows[0].values.iter();
        let texts = values.map(|value| value.to_text().unwrap().into_owned());
        texts.collect::<Vec<_>>()
    };
    for (settings, text) in [
        ("", "sep=;\r\nsku;net price\r\nA;7\r\n"),
        ("csv.delimiter = \"||\"", "sku||net price\nA||7\n"),
        (
            "csv.skip_lines = 2",
            "Report\nof today\nsku,net price\nA,7\n",
        ),
        (
            "csv.comment = \"#\"",
            "# made today\nsku,net price\n#\nA,7\n",
        ),
        ("csv.trim = true", "sku , \"net price\"\n A , \"7\" \n"),
        ("csv.header_lines = 2", "sku,net\n,price\nA,7\n"),
    ] {
        assert_eq!(read(settings, text), ["A", "7"], "{settings}");
    }
}

#[test]
fn each_line_of_a_repeated_header_is_skipped() {
    let price = r#"{ name = "net_price", type = "text", column = "net price" }"#;
    let dataset = crate::dataset("csv.header_lines = 2", price);
    let text = "sku,net\n,price\nA,7\nsku,net\n,price\nB,net\n";
    let found = crate::ingest::ingest(&dataset, "a.csv", text.as_bytes()).decoded;
    let skus: Vec<_> = found.rows.iter().map(|row| &row.values[0]).collect();
    assert_eq!(skus, [&crate::text("A"), &crate::text("B")]);
    assert_eq!(
        (found.skipped.repeated_headers, found.rejects.len()),
        (2, 0)
    );
}

#[test]
fn unused_columns_that_look_like_absent_fields_are_warnings() {
    let dataset = crate::dataset("", r#"{ name = "description", type = "text" }"#);
    let header = Header::parse(
        b"sku,descripton",
        &dataset,
        &landfall_domain::Format::Csv.into(),
    );
    let codes: Vec<_> = header
        .unwrap()
        .warnings()
        .iter()
        .map(|it| it.code)
        .collect();
    assert_eq!(
        codes,
        [WarningCode::UnmatchedColumn, WarningCode::AbsentColumns]
    );
}
