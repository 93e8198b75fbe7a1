//! Rows that the API writes are the same rows when they are uploaded again.

use landfall_domain::{Dataset, Field, FieldType, ProblemCode, Value};
use landfall_formats::{Header, Scanner, decode, detect};
use landfall_stores::StoredRow;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::encode::Table;
use crate::encoding::Encoding;
use crate::routes::table;

/// Fields whose files look different from what the API writes.
const FIELDS: [&str; 12] = [
    "column = \"Name\", type = \"text\", nulls = [\"\", \"x\"]",
    "type = \"text\", default = \"none\"",
    "column = \"a.b\", type = \"integer\", decimal = \",\", thousands = \".\"",
    "type = \"decimal\", decimal = \",\", thousands = \".\", currency = \"€\"",
    "type = \"decimal\", nulls = [\"0\"]",
    "type = \"float\", accounting = true",
    "type = \"boolean\", true_values = [\"ja\"], false_values = [\"nein\", \"true\"]",
    "type = \"date\", format = \"%d.%m.%Y\"",
    "type = \"date\", format = \"%Y-%d-%m\"",
    "type = \"timestamp\", format = \"epoch_ms\"",
    "type = \"timestamp\", timezone = \"America/Chicago\"",
    "type = \"json\", nulls = [\"\", \"-\"]",
];
/// Other settings of the dataset.
const SETTINGS: [&str; 7] = [
    "unknown_columns = \"drop\"",
    "format = \"tsv\"",
    "encoding = \"windows-1252\"",
    "csv = { delimiter = \";\", quote = \"'\", escape = \"\\\\\", header = false, skip_lines = 2, comment = \"a\" }",
    "json = { path = \"data.rows\" }",
    "operation = { column = \"op\" }",
    "limits = { record_bytes = 1048576 }",
];

fn text() -> BoxedStrategy<String> {
    let special = [
        "",
        "'",
        "''",
        "'=1",
        "=1+1",
        "-1",
        "-",
        "NULL",
        "null",
        "\\N",
        "a,\"b\";c\t|",
        "x",
        "1",
        "line\nbreak",
        "cr\rlf\r\n",
        " blank ",
        "_landfall",
        "é€\u{1F600}",
        "\u{feff}",
    ];
    let special = select(special.map(str::to_owned).to_vec());
    prop_oneof![special, "[^\\x00]{0,9}"].boxed()
}

/// Returns a value of this type, or null.
fn value(kind: FieldType) -> BoxedStrategy<Value> {
    let texts: &[&str] = match kind {
        FieldType::Text => {
            return prop_oneof![
                1 => Just(Value::Null),
                5 => text().prop_map(|text| Value::Text(text.as_str().into())),
            ]
            .boxed();
        }
        FieldType::Integer => &["0", "-1", "1000", "9223372036854775807"],
        FieldType::Decimal => &[
            "0",
            "-1.5",
            "1.234",
            "1234.5",
            "1234567890.123456789012345678",
        ],
        FieldType::Float => &["0", "-1.5", "1.234", "0.1", "1e300", "-1e-7"],
        FieldType::Boolean => &["true", "false"],
        FieldType::Date => &["2026-03-02", "0001-01-01", "9999-12-31"],
        FieldType::Timestamp => &["2026-11-01T01:30:00.123456Z", "1969-12-31T23:59:59Z"],
        FieldType::Json => &[
            "{\"a\":[1,0.12345678901234567890]}",
            "\"\"",
            "\"-\"",
            "\"{\\\"a\\\":1}\"",
            "\"'\"",
            "-1",
            "true",
            "[]",
            "{\"a\":\n 1}",
        ],
    };
    let values = texts
        .iter()
        .map(|text| Value::from_text(kind, text).unwrap());
    let values: Vec<Value> = values.chain([Value::Null]).collect();
    select(values).boxed()
}

fn dataset(fields: &[&str], settings: &[&str]) -> Dataset {
    let mut definition = format!("name = \"d\"\nkey = [\"f0\"]\n{}\n", settings.join("\n"));
    definition += "fields = [{ name = \"f0\", column = \"Key\", type = \"text\" },\n";
    let fields = fields.iter().zip(1..);
    let fields = fields.map(|(field, number)| format!("{{ name = \"f{number}\", {field} }},\n"));
    definition.extend(fields);
    Dataset::from_toml("d.toml", &(definition + "]")).unwrap()
}

/// A dataset and rows of it.
fn tables() -> impl Strategy<Value = (Dataset, Vec<StoredRow>)> {
    let fields = subsequence(FIELDS.to_vec(), 1..=FIELDS.len());
    let settings = subsequence(SETTINGS.to_vec(), 0..=SETTINGS.len());
    (fields, settings).prop_flat_map(|(fields, settings)| {
        let dataset = dataset(&fields, &settings);
        let others: Vec<_> = dataset.fields[1..]
            .iter()
            .map(|field: &Field| value(field.kind))
            .collect();
        let keeps = !settings.contains(&SETTINGS[0]);
        let extra = select(vec![None, Some("{\"a\":\"=1\",\"b\":[1.50]}".to_owned())]);
        let key = text().prop_map(|text| Value::Text(text.as_str().into()));
        let row = (key, others, extra).prop_map(move |(key, others, extra)| StoredRow {
            values: [vec![key], others].concat(),
            extra: extra.filter(|_| keeps),
        });
        (Just(dataset), prop::collection::vec(row, 1..6))
    })
}

fn write(dataset: &Dataset, rows: &[StoredRow], encoding: Encoding) -> Vec<u8> {
    let (mut body, written) = table(dataset).write(encoding, rows);
    assert_eq!(written, rows.len());
    Table::finish(encoding, &mut body, None);
    body
}

/// Ingests a file in small chunks, whatever its name.
fn read(dataset: &Dataset, file: &[u8]) -> Vec<StoredRow> {
    let reading = detect("d/file", file, dataset).unwrap();
    let mut scanner = Scanner::new(dataset, &reading, 50);
    let mut chunks = Vec::new();
    scanner.feed(file, &mut chunks).unwrap();
    let summary = scanner.finish(&mut chunks).unwrap();
    let slice = |start: u64, end: u64| {
        &file[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
    };
    let header = summary
        .header
        .map(|range| Header::parse(slice(range.start, range.end), dataset, &reading).unwrap());
    let mut rows = Vec::new();
    for chunk in chunks {
        let (start, line) = (chunk.range.start, chunk.first_line);
        let bytes = slice(start, chunk.range.end);
        let decoded = decode(dataset, &reading, header.as_ref(), bytes, start, line);
        assert_eq!(decoded.rejects, []);
        rows.extend(decoded.rows.into_iter().map(|row| StoredRow {
            values: row.values.into_vec(),
            extra: row.extra,
        }));
    }
    rows
}

fn with_json_on_one_line(row: &StoredRow) -> StoredRow {
    let values = row.values.iter().map(|value| match value {
        Value::Json(text) => Value::Json(text.replace('\n', " ")),
        other => other.clone(),
    });
    StoredRow {
        values: values.collect(),
        extra: row.extra.clone(),
    }
}

/// Returns the file as a spreadsheet saves it, with another delimiter.
fn saved(file: &[u8], delimiter: u8) -> Vec<u8> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(file);
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .from_writer(b"\xef\xbb\xbf".to_vec());
    for record in reader.byte_records() {
        writer.write_byte_record(&record.unwrap()).unwrap();
    }
    writer.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn rows_are_the_same_when_they_are_uploaded_again((dataset, rows) in tables()) {
        let keyed = |row: &&StoredRow| !matches!(&row.values[0], Value::Text(text) if text.contains('\0'));
        let rows: Vec<StoredRow> = rows.iter().filter(keyed).cloned().collect();
        for encoding in [Encoding::Csv, Encoding::Ndjson] {
            let file = write(&dataset, &rows, encoding);
            let text = String::from_utf8_lossy(&file);
            let expected = match encoding {
                // A row is one line.
                Encoding::Ndjson => rows.iter().map(with_json_on_one_line).collect(),
                _ => rows.clone(),
            };
            prop_assert_eq!(&read(&dataset, &file), &expected, "{}", text);
        }
        let file = write(&dataset, &rows, Encoding::Csv);
        for delimiter in [b';', b'\t', b','] {
            prop_assert_eq!(&read(&dataset, &saved(&file, delimiter)), &rows);
        }
    }
}

#[test]
fn an_edited_cell_is_the_only_change() {
    let dataset = dataset(
        &["column = \"Price\", type = \"decimal\", decimal = \",\""],
        &[],
    );
    let row = |key: &str, price: &str| StoredRow {
        values: vec![
            Value::Text(key.into()),
            Value::from_text(FieldType::Decimal, price).unwrap(),
        ],
        extra: Some("{\"note\":\"=1\"}".to_owned()),
    };
    for encoding in [Encoding::Csv, Encoding::Ndjson] {
        let file = write(&dataset, &[row("'=a", "1.5"), row("", "2.5")], encoding);
        let edited = String::from_utf8(file).unwrap().replace("2.5", "2.75");
        let found = read(&dataset, edited.as_bytes());
        assert_eq!(found, [row("'=a", "1.5"), row("", "2.75")]);
    }
}

#[test]
fn a_row_keeps_its_place() {
    let definition =
        "name = \"d\"\nkey = \"position\"\nfields = [{ name = \"a\", type = \"text\" }]\n";
    let dataset = Dataset::from_toml("d.toml", definition).unwrap();
    let row = |object: &str, offset: i64| StoredRow {
        values: vec![
            Value::Text("same".into()),
            Value::Text(object.into()),
            Value::Integer(offset),
        ],
        extra: None,
    };
    let rows = [row("d/1.csv", 0), row("d/1.csv", 9), row("d/=2.csv", 0)];
    for encoding in [Encoding::Csv, Encoding::Ndjson] {
        let file = write(&dataset, &rows, encoding);
        assert_eq!(read(&dataset, &file), rows);
    }
}

#[test]
fn a_download_is_no_snapshot() {
    let dataset = dataset(&["type = \"text\""], &["mode = \"snapshot\""]);
    let row = StoredRow {
        values: vec![Value::Text("a".into()), Value::Null],
        extra: None,
    };
    for encoding in [Encoding::Csv, Encoding::Ndjson] {
        let file = write(&dataset, std::slice::from_ref(&row), encoding);
        let problem = detect("d/file.csv", &file, &dataset).unwrap_err();
        assert_eq!(problem.code, ProblemCode::FormatMismatch);
        assert!(problem.message.contains("downloaded"), "{problem}");
    }
}
