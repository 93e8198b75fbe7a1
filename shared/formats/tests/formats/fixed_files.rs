//! Fixed rejects, together with the rows, equal the file without its faults.

use std::fmt;

use landfall_domain::{Dataset, Format, Quote, Reading, Reject, Row, Value};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value as Json, json};

use crate::fixed::{hand_in, ingest, line};

/// A column that a field uses: settings of the field, name in files, and texts of values.
type Column = (&'static str, &'static str, &'static [&'static str]);

const SKU: Column = ("type = \"text\"", "SKU", &["a", "b", "c"]);
/// Faults replace its first digit.
const N: Column = (
    "type = \"integer\", decimal = \",\", thousands = \".\"",
    "n",
    &["123", "1.234"],
);
const COLUMNS: [Column; 12] = [
    (
        "type = \"decimal\", decimal = \",\", thousands = \".\"",
        "Price",
        &["1.234,50", "-7", "", "0,1"],
    ),
    (
        "type = \"decimal\"",
        "d",
        &["1234567890.1234567890", "-0.50", ""],
    ),
    (
        "type = \"float\", thousands = \"'\", currency = \"€\"",
        "f",
        &["1'000.5 €", "-1e3", ""],
    ),
    (
        "type = \"boolean\", true_values = [\"ja\", \"1\"], false_values = [\"\"]",
        "b",
        &["ja", "", "JA", "1"],
    ),
    (
        "type = \"date\", format = \"%d.%m.%Y\"",
        "day",
        &["28.02.2026", ""],
    ),
    (
        "type = \"timestamp\", format = \"epoch_ms\"",
        "ms",
        &["1795163400000", "0.5", ""],
    ),
    (
        "type = \"timestamp\", timezone = \"America/Chicago\", fold = \"later\"",
        "at",
        &["2026-11-01 01:30:00", "2026-06-01T12:00:00Z", ""],
    ),
    (
        "type = \"text\", nulls = [\"NULL\"]",
        "t",
        &["NULL", "", " x ", "a,\"b\"\n|c", "'=1"],
    ),
    (
        "type = \"text\", default = \"none\"",
        "u",
        &["", "é€\u{1F600}", "\\N"],
    ),
    (
        "type = \"json\", nulls = [\"\", \"-\"]",
        "j",
        &[
            "{\"a\": [1, 2.5]}",
            "",
            "-",
            "\"-\"",
            "\"\"",
            "null",
            "12345678901234567890.5",
            "[0.12345678901234567890]",
            "7",
            "{\"a\":\n1}",
        ],
    ),
    ("type = \"text\"", "more.inner", &["i", ""]),
    ("type = \"integer\", default = 5", "m", &["1", "-20", ""]),
];
const OPERATION: Column = ("", "op", &["", "upsert", "DELETE"]);
/// The names of columns that belong to no field.
const UNKNOWN: [&str; 5] = ["note", "note", "", "more", "Colour"];
const UNKNOWN_TEXTS: &[&str] = &["", "x", "1", "[1]"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Csv,
    CsvWithoutHeader,
    CsvPositions,
    Tsv,
    Ndjson,
    Json,
    JsonArrays,
}

impl Layout {
    const ALL: [Self; 7] = [
        Self::Csv,
        Self::CsvWithoutHeader,
        Self::CsvPositions,
        Self::Tsv,
        Self::Ndjson,
        Self::Json,
        Self::JsonArrays,
    ];

    fn has_positions(self) -> bool {
        matches!(self, Self::CsvPositions | Self::JsonArrays)
    }

    fn format(self) -> Format {
        match self {
            Self::Csv | Self::CsvWithoutHeader | Self::CsvPositions => Format::Csv,
            Self::Tsv => Format::Tsv,
            Self::Ndjson => Format::Ndjson,
            Self::Json | Self::JsonArrays => Format::Json,
        }
    }

    fn is_json(self) -> bool {
        matches!(self.format(), Format::Ndjson | Format::Json)
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Number,
    Operation,
    /// A delimiter is missing.
    Cells,
}

#[derive(Clone)]
struct Cell {
    text: &'static str,
    is_quoted: bool,
}

#[derive(Clone)]
struct File {
    layout: Layout,
    definition: String,
    dataset: Dataset,
    columns: Vec<Column>,
    records: Vec<(Vec<Cell>, Fault)>,
}

/// The columns of a file in their order, and the definition for them.
fn arrange(
    layout: Layout,
    settings: &str,
    (has_operation, keeps_unknown): (bool, bool),
    (fields, unknown): (&[Column], &[&'static str]),
    shuffled: &[u32],
) -> (Vec<Column>, String) {
    let mut fields = [&[SKU, N], fields].concat();
    // Blanks in the file where a position belongs to nothing.
    let mut others: Vec<Column> = unknown
        .iter()
        .filter(|name| !layout.is_json() || !matches!(**name, "" | "more"))
        .map(|name| ("", *name, UNKNOWN_TEXTS))
        .collect();
    if has_operation {
        others.push(OPERATION);
    }
    if layout == Layout::CsvWithoutHeader {
        others.retain(|column| column.1 == "op");
    } else {
        let mut keys = shuffled.iter();
        fields.sort_by_cached_key(|_| keys.next().copied());
    }
    let mut columns = [&fields[..], &others].concat();
    if layout != Layout::CsvWithoutHeader {
        let mut keys = shuffled.iter().rev();
        columns.sort_by_cached_key(|_| keys.next().copied());
    }
    let position = |name: &str| match columns.iter().position(|column| column.1 == name) {
        Some(index) if layout.has_positions() => format!(", position = {}", index + 1),
        _ => String::new(),
    };
    let mut definition = format!("name = \"d\"\nkey = [\"key\"]\n{settings}\n");
    if !keeps_unknown {
        definition += "unknown_columns = \"drop\"\n";
    }
    if matches!(layout, Layout::CsvWithoutHeader | Layout::CsvPositions) {
        definition += "csv.header = false\n";
    }
    if has_operation {
        let position = position("op");
        definition.extend(["operation = { column = \"op\"", &position, " }\n"]);
    }
    definition += "fields = [\n";
    for (index, (settings, column, _)) in fields.iter().enumerate() {
        let name = match *column {
            "SKU" => "key".to_owned(),
            _ => format!("f{index}"),
        };
        let position = position(column);
        let field =
            format!("{{ name = \"{name}\", column = \"{column}\", {settings}{position} }},\n");
        definition.push_str(&field);
    }
    (columns, definition + "]")
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (definition, object) = (&self.definition, self.object(true));
        write!(f, "{:?}\n{definition}\n{object}", self.layout)
    }
}

fn files() -> impl Strategy<Value = File> {
    let settings = select(vec![
        "",
        "csv.quoted_empty = true",
        "csv.delimiter = \"||\"",
        "csv.delimiter = \";\"\ncsv.quote = \"'\"",
        "csv.flexible = true\ncsv.quoted_empty = true",
        "csv.trim = true",
        "csv.lenient = true",
    ]);
    let fault = select(vec![
        Fault::None,
        Fault::Number,
        Fault::Operation,
        Fault::Cells,
    ]);
    let cells = prop::collection::vec((any::<Index>(), any::<bool>()), 30);
    (
        select(Layout::ALL.to_vec()),
        settings,
        any::<(bool, bool)>(),
        (
            subsequence(COLUMNS.to_vec(), 0..=COLUMNS.len()),
            subsequence(UNKNOWN.to_vec(), 0..=UNKNOWN.len()),
        ),
        prop::collection::vec(any::<u32>(), 30),
        prop::collection::vec((cells, fault), 1..8),
    )
        .prop_map(
            |(layout, settings, flags, (fields, unknown), shuffled, records)| {
                let (columns, definition) =
                    arrange(layout, settings, flags, (&fields, &unknown), &shuffled);
                let records = records.into_iter().map(|(cells, fault)| {
                    let cells = columns.iter().zip(cells);
                    let cells = cells.map(|((_, _, texts), (index, is_quoted))| Cell {
                        text: texts[index.index(texts.len())],
                        is_quoted,
                    });
                    (cells.collect(), fault)
                });
                File {
                    layout,
                    dataset: Dataset::from_toml("d.toml", &definition).unwrap(),
                    definition,
                    records: records.collect(),
                    columns,
                }
            },
        )
}

impl File {
    fn reading(&self) -> Reading {
        self.layout.format().into()
    }

    /// Returns the object, with or without faults.
    fn object(&self, with_faults: bool) -> String {
        let mut object = String::new();
        if matches!(self.layout, Layout::Csv | Layout::Tsv) {
            // Names match whatever their case, and with blanks around them.
            let names = self.columns.iter().map(|column| match column.1 {
                "SKU" => "\" sku\"".replace('"', &self.quote()),
                name => name.to_owned(),
            });
            object = names.collect::<Vec<_>>().join(&self.delimiter()) + "\n";
        }
        for (number, (cells, fault)) in self.records.iter().enumerate() {
            let fault = if with_faults { *fault } else { Fault::None };
            let texts = self.columns.iter().zip(cells).map(|(column, cell)| {
                let text = match column.1 {
                    "SKU" => format!("{}{number}", cell.text),
                    _ => cell.text.to_owned(),
                };
                match (fault, column.1) {
                    (Fault::Number, "n") => format!("x{}", &text[1..]),
                    (Fault::Operation, "op") => text.replace(['u', 'D'], "x"),
                    _ => text,
                }
            });
            let texts: Vec<String> = texts.collect();
            object += &if self.layout.is_json() {
                self.json(cells, &texts)
            } else {
                self.csv(cells, &texts, fault)
            };
            object += if self.layout.format() == Format::Json {
                ",\n"
            } else {
                "\n"
            };
        }
        match self.layout.format() {
            Format::Json => format!("[\n{}\n]", object.trim_end_matches(",\n")),
            _ => object,
        }
    }

    fn delimiter(&self) -> String {
        let usual = if self.layout == Layout::Tsv {
            "\t"
        } else {
            ","
        };
        let delimiter = self.dataset.csv.delimiter.as_deref();
        delimiter.unwrap_or(usual).to_owned()
    }

    fn quote(&self) -> String {
        match self.dataset.csv.quote {
            Quote::Byte(byte) => char::from(byte).to_string(),
            _ => "\"".to_owned(),
        }
    }

    fn needs_quotes(&self, text: &str) -> bool {
        let special = [&self.quote(), &self.delimiter(), "\n", "|"];
        special.iter().any(|special| text.contains(*special)) || text.trim() != text
    }

    /// Returns where a delimiter can be missing so that the record is still one record.
    fn missing_delimiter(&self, cells: &[Cell], texts: &[String]) -> Option<usize> {
        let plain = |index: &usize| !cells[*index].is_quoted && !self.needs_quotes(&texts[*index]);
        let is_possible = !self.dataset.csv.flexible && self.layout != Layout::CsvPositions;
        (1..texts.len()).rev().find(plain).filter(|_| is_possible)
    }

    fn csv(&self, cells: &[Cell], texts: &[String], fault: Fault) -> String {
        let (delimiter, quote) = (self.delimiter(), self.quote());
        let missing = self.missing_delimiter(cells, texts);
        let missing = missing.filter(|_| fault == Fault::Cells);
        let mut record = String::new();
        for (index, (cell, text)) in cells.iter().zip(texts).enumerate() {
            if Some(index) == missing {
                record += &"x".repeat(delimiter.len());
            } else if index > 0 {
                record += &delimiter;
            }
            if cell.is_quoted || self.needs_quotes(text) {
                let doubled = text.replace(&quote, &quote.repeat(2));
                record.extend([&*quote, &doubled, &quote]);
            } else {
                record += text;
            }
        }
        record
    }

    fn json(&self, cells: &[Cell], texts: &[String]) -> String {
        let values = self.columns.iter().zip(cells).zip(texts);
        let values = values.map(|((column, cell), text)| {
            let is_json = serde_json::from_str::<Json>(text).is_ok();
            let is_raw = match column.1 {
                "j" => is_json,
                "SKU" | "n" | "op" | "b" => false,
                _ => is_json && cell.is_quoted,
            };
            let value = if is_raw {
                text.replace('\n', " ")
            } else {
                Json::from(text.as_str()).to_string()
            };
            (column.1, value)
        });
        if self.layout == Layout::JsonArrays {
            let values: Vec<String> = values.map(|(_, value)| value).collect();
            return format!("[{}]", values.join(", "));
        }
        let properties = values.map(|(name, value)| match name.split_once('.') {
            Some((outer, inner)) => format!("\"{outer}\": {{\"{inner}\": {value}}}"),
            None => format!("\"{name}\": {value}"),
        });
        format!("{{{}}}", properties.collect::<Vec<_>>().join(", "))
    }

    /// Returns the line of a reject of a record, with the record fixed.
    fn fixed(&self, number: usize, reject: &Reject) -> Json {
        let (cells, _) = &self.records[number];
        let mut fixed = line(reject);
        let value = |name: &str| {
            let index = self.columns.iter().position(|column| column.1 == name);
            index.map_or("", |index| cells[index].text)
        };
        if reject.record.is_some() {
            let column = reject.column.as_deref().unwrap();
            fixed["record"][column] = value(column).into();
            return fixed;
        }
        // A person writes what the cells mean.
        let mut record = serde_json::Map::new();
        let named = self.columns.iter().zip(cells);
        for (index, (column, cell)) in named.enumerate() {
            let repeated = self.columns[..index]
                .iter()
                .any(|other| other.1 == column.1);
            let name = match column.1 {
                "" if cell.text.is_empty() => continue,
                "" => format!("column_{}", index + 1),
                name if repeated => format!("{name}_2"),
                name => name.to_owned(),
            };
            let is_text = column.0.starts_with("type = \"text\"") && !column.0.contains("nulls");
            let value = match cell.text {
                "" if self.dataset.csv.quoted_empty && is_text && !cell.is_quoted => Json::Null,
                text if column.1 == "SKU" => format!("{text}{number}").into(),
                text => text.into(),
            };
            record.insert(name, value);
        }
        fixed["record"] = record.into();
        fixed
    }
}

/// Returns rows in the order of their offsets, and JSON without differences that do not count.
fn normalized(mut rows: Vec<Row>) -> Vec<Row> {
    let plain = |text: &str| serde_json::from_str::<Json>(text).unwrap().to_string();
    for row in &mut rows {
        for value in &mut row.values {
            if let Value::Json(text) = value {
                *text = plain(text);
            }
        }
        row.extra = row.extra.as_deref().map(plain);
    }
    rows.sort_by_key(|row| row.offset);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fixed_rejects_and_rows_are_the_file_without_its_faults(file in files()) {
        let (dataset, reading) = (&file.dataset, &file.reading());
        let correct = file.object(false);
        let faulty = file.object(true);
        prop_assert_eq!(correct.len(), faulty.len());
        let expected = ingest(dataset, reading, correct.as_bytes());
        prop_assert_eq!(&expected.rejects, &[]);
        prop_assert_eq!(expected.rows.len(), file.records.len());
        let mut found = ingest(dataset, reading, faulty.as_bytes());
        let lines: Vec<Json> = found.rejects.iter().map(|reject| {
            let number = expected.rows.iter().position(|row| row.offset == reject.offset);
            file.fixed(number.unwrap(), reject)
        }).collect();
        let fixed = hand_in(dataset, faulty.len(), &lines);
        prop_assert_eq!(&fixed.rejects, &[], "{:?}", lines);
        found.rows.extend(fixed.rows);
        prop_assert_eq!(normalized(found.rows), normalized(expected.rows), "{}\n{:?}", faulty, lines);
    }
}

#[test]
fn a_definition_can_be_fixed_instead_of_the_records() {
    let file = "sku,n\nA,x\n";
    let dataset = crate::dataset("", r#"{ name = "n", type = "integer" }"#);
    let first = ingest(&dataset, &Format::Csv.into(), file.as_bytes());
    let lines = [line(&first.rejects[0])];
    let dataset = crate::dataset("", r#"{ name = "n", type = "integer", nulls = ["x"] }"#);
    let second = hand_in(&dataset, file.len(), &lines);
    assert_eq!(second.rows[0].values[1], Value::Null);
    assert_eq!(lines[0]["record"], json!({"sku": "A", "n": "x"}));
}
