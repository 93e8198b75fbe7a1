//! Files as people have them: the cases of `tests/cases`, all of them on one stack.

use std::path::{Path, PathBuf};

use landfall_domain::{CompletionEvent, Dataset, FieldType, JobState, RejectCode, Value};
use landfall_local::{Sql, Stack};
use mongodb::bson::{Bson, Document};
use serde_json::json;

use crate::support::{completions, documents, rejects, start, upload};

/// Files of one dataset.
struct Case {
    /// The definition, without its extension.
    definition: &'static str,
    /// Further settings. With any, the dataset has another name.
    settings: &'static str,
    files: &'static [File],
    /// The stored rows in the end, with their values separated by bars.
    rows: &'static [&'static str],
}

/// A file, its number of rows, the lines of its rejects, and the codes of its problem and its warnings.
type File = (
    &'static str,
    u64,
    &'static [(u64, RejectCode)],
    &'static [&'static str],
);

const fn case(
    definition: &'static str,
    settings: &'static str,
    files: &'static [File],
    rows: &'static [&'static str],
) -> Case {
    Case {
        definition,
        settings,
        files,
        rows,
    }
}

const ESCAPED: &str = r#"csv.escape = "\\"
nulls = ["", "\\N"]"#;
const EUROPEAN: &str = r#"decimal = ","
thousands = "."
currency = "€"
accounting = true"#;

// A line per file and a few rows are easier to read than a line per value.
#[rustfmt::skip]
const CASES: [Case; 27] = {
    use RejectCode::{ColumnCount, Encoding, Operation, TextAfterQuote, Type};
    [
        case("02-unbalanced-quote-merges-rows/notes", "",
            &[("notes.csv", 2, &[(2, TextAfterQuote)], &[])],
            &["A-4|ok"]),
        case("03-tsv-without-quoting/titles", "",
            &[("titles.tsv", 5, &[], &["quoting"])],
            &["tt01|\"Swing it\" teacher|1940", "tt02|\"Unfinished|1951", "tt03|Plain|1952",
                "tt04|\"Quoted\" once more|1953", "tt05|Last|null"]),
        case("04-backslash-escapes/parts", "",
            &[("parts.csv", 4, &[(2, TextAfterQuote), (3, TextAfterQuote)], &[])],
            &["B-3|\\N|null", "B-4|plain, quoted|1"]),
        case("04-backslash-escapes/parts", ESCAPED,
            &[("parts.csv", 4, &[], &[])],
            &["B-1|19\" rack, black|12.5", "B-2|say \"hi\"|3", "B-3|null|null", "B-4|plain, quoted|1"]),
        case("05-two-digit-years/invoices", "",
            &[("invoices.csv", 3, &[(3, Type), (4, Type)], &[])],
            &["I-1|2024-12-31|2024-12-31T08:30:00Z|c1"]),
        case("06-rejects-json-column/webshop", "",
            &[("1-orders.csv", 2, &[(3, Type)], &["null_columns"]),
                ("2-mended.ndjson", 1, &[], &["null_columns"])],
            &["1|{\"id\":7}|[{\"sku\":\"A\"}]|null|9.5", "2|{\"id\":8}|[{\"sku\":\"B\"}]|null|19.5"]),
        case("08-header-spaces-and-case/goods", "",
            &[("1-good.csv", 2, &[], &[]), ("2-other-header.csv", 2, &[], &[])],
            &["G-1|Lamp|9.75|round", "G-2|Desk|82|oak"]),
        case("10-operation-codes/customers", "",
            &[("1-load.csv", 6, &[], &[]), ("2-changes.csv", 6, &[(5, Operation)], &[])],
            &["C-4|Name 4|Town", "C-6|Name 6b|Town"]),
        case("11-nanosecond-keys/trades", "",
            &[("trades.csv", 3, &[(2, Type), (3, Type), (4, Type)], &["too_many_rejects"])],
            &[]),
        case("13-concatenated-exports/merged", "",
            &[("merged.csv", 3, &[], &["repeated_headers", "byte_order_marks"])],
            &["M-1|Lamp", "M-2|Desk", "M-3|Rug"]),
        case("13-concatenated-exports/headerless", "",
            &[("headerless.csv", 2, &[], &["byte_order_marks"])],
            &["M-4|Vase", "M-5|Bowl"]),
        case("15-json-file-with-one-record/events", "",
            &[("one.json", 1, &[], &["null_columns"]), ("two.json", 2, &[], &["null_columns"]),
                ("long-first-line.json", 2, &[], &[]), ("pretty.json", 1, &[], &["null_columns"]),
                ("pretty.ndjson", 1, &[], &["null_columns"])],
            &["e1|created|null", "e2|created|null", "e3|deleted|null", "e4|push|(70011 bytes)", "e5|push|null",
                "e6|created|null", "e7|created|null"]),
        case("16-concatenated-json/clicks", "",
            &[("clicks-2026-01-05-10-00", 3, &[], &[]), ("clicks.json", 3, &[], &[])],
            &["c1|/", "c2|/a", "c3|/b", "c4|/", "c5|/a", "c6|/b"]),
        case("17-end-of-time/listprices", "",
            &[("prices.csv", 4, &[], &["truncated_values"])],
            &["L-1|9999-12-30T21:00:00Z|9999-12-31", "L-2|9999-12-31T23:59:59Z|9999-12-31",
                "L-3|9999-12-31T23:59:59.999Z|9999-12-31", "L-4|9999-12-31T00:00:00Z|9999-12-31"]),
        case("18-blank-excel-rows-in-snapshots/shelf", "",
            &[("1.csv", 3, &[], &[]), ("2-with-blank-rows.csv", 2, &[], &["blank_rows"])],
            &["T-1|Lamp|1", "T-2|Desk|2"]),
        case("20-windows-1252/cities", "",
            &[("cities.csv", 4, &[(2, Encoding), (4, Encoding)], &["invalid_text", "invalid_text"])],
            &["2|Bonn", "4|Ulm"]),
        case("20-windows-1252/cities", "encoding = \"windows-1252\"",
            &[("cities.csv", 4, &[], &[])],
            &["1|Köln", "2|Bonn", "3|Essen – Süd", "4|Ulm"]),
        case("21-european-numbers/bookings", "",
            &[("bookings.csv", 5, &[(2, Type), (3, Type), (4, Type), (5, Type)], &[])],
            &["N-5|12.5"]),
        case("21-european-numbers/bookings", EUROPEAN,
            &[("bookings.csv", 5, &[(5, Type), (6, Type)], &[])],
            &["N-1|1234.56", "N-2|-2.4", "N-3|12.5"]),
        case("22-epoch-timestamps/charges", "",
            &[("stripe.ndjson", 3, &[(3, Type)], &[]), ("seconds.csv", 1, &[], &[])],
            &["ch_1|2026-01-05T10:30:00Z", "ch_2|2026-01-05T10:30:00Z", "ch_4|2026-01-05T10:30:00Z"]),
        case("24-json-null-and-default/tickets", "",
            &[("tickets.ndjson", 3, &[], &[])],
            &["J-1|created|false", "J-2|created|false", "J-3|created|false"]),
        case("27-empty-and-double-headers/flights", "",
            &[("two-empty.csv", 2, &[], &[]), ("one-empty.csv", 2, &[], &[]), ("twice.csv", 1, &[], &[])],
            &["F-1|AA", "F-2|UA", "F-3|AA", "F-4|UA", "F-5|AA"]),
        case("28-ragged-rows/contacts", "",
            &[("contacts.csv", 3, &[(3, ColumnCount), (4, ColumnCount)], &[]),
                ("trailing.csv", 2, &[(2, ColumnCount), (3, ColumnCount)], &["too_many_rejects"])],
            &["H-1|a@example.com|vip"]),
        case("28-ragged-rows/contacts", "csv.flexible = true",
            &[("contacts.csv", 3, &[], &[]), ("trailing.csv", 2, &[], &[])],
            &["H-1|a@example.com|vip", "H-2|b@example.com|null", "H-3|c@example.com|x", "H-4|d@example.com|x",
                "H-5|e@example.com|y"]),
        case("30-local-times/beaches", "timezone = \"America/Chicago\"",
            &[("beaches.csv", 2, &[], &[])],
            &["W-1|2019-06-15T00:00:00Z", "W-2|2018-04-07T05:30:00Z"]),
        case("30-local-times/zoned", "",
            &[("zoned.csv", 3, &[], &[])],
            &["W-3|2026-06-15T14:00:00Z", "W-4|2026-06-15T14:00:00Z", "W-5|2026-06-15T10:00:00Z"]),
        case("34-gzip/packed", "",
            &[("packed.csv.gz", 2, &[], &[])],
            &["1|Lamp", "2|Desk"]),
    ]
};

impl Case {
    fn path(&self) -> PathBuf {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        cases.join(self.definition).with_extension("toml")
    }

    /// Returns the definition with the further settings.
    fn toml(&self) -> String {
        let text = std::fs::read_to_string(self.path()).unwrap();
        if self.settings.is_empty() {
            return text;
        }
        let text = text.replacen("name = \"", "name = \"other_", 1);
        format!("{}\n{text}", self.settings)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_ends_as_expected() {
    let stack = start(Sql::Sqlite, &[]).await;
    for marker in ["folder/", "folder/sub/", "folder/_SUCCESS"] {
        upload(&stack, marker, Vec::new()).await;
    }
    let (mut datasets, mut jobs) = (Vec::new(), Vec::new());
    for case in &CASES {
        let toml = case.toml();
        let dataset = Dataset::from_toml(case.definition, &toml).unwrap();
        stack.put_dataset(&dataset.name, &toml).await.unwrap();
        for file in case.files {
            let body = std::fs::read(case.path().with_file_name(file.0)).unwrap();
            let job = upload(&stack, &format!("{}/{}", dataset.name, file.0), body).await;
            jobs.push((job, file));
        }
        datasets.push((dataset, case.rows));
    }
    let ids: Vec<_> = jobs.iter().map(|(job, _)| *job).collect();
    let events = completions(&stack, &ids).await;
    assert_eq!(events.len(), jobs.len(), "a marker made a job");
    for (job, file) in jobs {
        assert_job(&stack, &events[&job], file).await;
    }
    for (dataset, expected) in datasets {
        let name = &dataset.name;
        assert_eq!(sql_rows(&stack, &dataset), expected, "{name} in SQL");
        let found = documents(stack.mongodb_uri(), name).await;
        let mut rows: Vec<_> = found
            .iter()
            .map(|row| document_row(&dataset, row))
            .collect();
        rows.sort();
        assert_eq!(rows, expected, "{name} in MongoDB");
    }
    let twice = documents(stack.mongodb_uri(), "flights").await;
    let extra = twice.iter().find_map(|row| row.get_str("_extra").ok());
    assert_eq!(extra, Some(r#"{"note":"x","note_2":"y"}"#));
}

async fn assert_job(stack: &Stack, event: &CompletionEvent, file: &File) {
    let (_, rows, expected_rejects, expected_codes) = *file;
    let key = &event.object.key;
    let rejected = expected_rejects.len() as u64;
    assert_eq!(
        (event.counts.rows, event.counts.rejected),
        (rows, rejected),
        "{key}"
    );
    assert_eq!(event.counts.stores.len(), 2, "{key}");
    for (store, counts) in &event.counts.stores {
        assert_eq!(counts.total(), rows - rejected, "{key} in {store}");
    }
    let state = event
        .problem
        .as_ref()
        .map_or(JobState::Succeeded, |_| JobState::Failed);
    assert_eq!(event.state, state, "{key}");
    let problem = event.problem.iter().map(|problem| json!(problem.code));
    let codes = problem.chain(event.warnings.iter().map(|warning| json!(warning.code)));
    assert_eq!(codes.collect::<Vec<_>>(), expected_codes, "{key}");
    let rejects = rejects(stack, event).await;
    let places: Vec<_> = rejects
        .iter()
        .map(|reject| (reject.line, reject.code))
        .collect();
    assert_eq!(places, expected_rejects, "{key}");
}

/// Reads the rows of a table in the order of their text.
fn sql_rows(stack: &Stack, dataset: &Dataset) -> Vec<String> {
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let columns = dataset
        .fields
        .iter()
        .map(|field| format!("CAST({} AS TEXT)", field.name));
    let columns: Vec<_> = columns.collect();
    let query = format!("SELECT {} FROM {}", columns.join(", "), dataset.name);
    let mut select = connection.prepare(&query).unwrap();
    let rows = select.query_map([], |row| {
        let texts = dataset.fields.iter().enumerate().map(|(index, field)| {
            let text: Option<String> = row.get(index)?;
            Ok(shown(field.kind, text))
        });
        texts.collect::<Result<Vec<_>, _>>()
    });
    let mut rows: Vec<_> = rows.unwrap().map(|row| row.unwrap().join("|")).collect();
    rows.sort();
    rows
}

fn document_row(dataset: &Dataset, document: &Document) -> String {
    let texts = dataset.fields.iter().map(|field| {
        let text = match document.get(&field.name) {
            None | Some(Bson::Null) => None,
            Some(Bson::String(text)) => Some(text.clone()),
            Some(Bson::Int64(number)) => Some(number.to_string()),
            Some(Bson::Boolean(boolean)) => Some(boolean.to_string()),
            Some(Bson::Decimal128(number)) => Some(number.to_string()),
            Some(Bson::DateTime(time)) if field.kind == FieldType::Date => {
                Some(time.try_to_rfc3339_string().unwrap()[..10].to_owned())
            }
            Some(Bson::DateTime(time)) => Some(time.try_to_rfc3339_string().unwrap()),
            Some(json) => Some(serde_json::to_string(json).unwrap()),
        };
        shown(field.kind, text)
    });
    texts.collect::<Vec<_>>().join("|")
}

/// Returns a value in one form for all stores. Timestamps have milliseconds, because they have no more in MongoDB.
fn shown(kind: FieldType, text: Option<String>) -> String {
    let Some(text) = text else {
        return "null".to_owned();
    };
    let value = Value::from_text(kind, &text).unwrap();
    let shown = match (kind, value.to_text().unwrap()) {
        (FieldType::Json, json) => {
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            json.to_string()
        }
        (FieldType::Timestamp, instant) if instant.contains('.') => {
            let (seconds, fraction) = instant.trim_end_matches('Z').split_once('.').unwrap();
            format!("{seconds}.{fraction:.3}Z")
        }
        (_, text) => text.into_owned(),
    };
    match shown.len() {
        100.. => format!("({} bytes)", shown.len()),
        _ => shown,
    }
}
