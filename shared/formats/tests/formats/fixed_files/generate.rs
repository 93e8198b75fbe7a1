//! Generates definitions, and files for them with some faults.

use std::fmt;

use landfall_domain::{Dataset, Format};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// A column that a field uses: settings of the field, name in files, and texts of values.
pub(super) type Column = (&'static str, &'static str, &'static [&'static str]);

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
pub(super) enum Layout {
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

    pub(super) fn format(self) -> Format {
        match self {
            Self::Csv | Self::CsvWithoutHeader | Self::CsvPositions => Format::Csv,
            Self::Tsv => Format::Tsv,
            Self::Ndjson => Format::Ndjson,
            Self::Json | Self::JsonArrays => Format::Json,
        }
    }

    pub(super) fn is_json(self) -> bool {
        matches!(self.format(), Format::Ndjson | Format::Json)
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    Number,
    Operation,
    /// A delimiter is missing.
    Cells,
}

#[derive(Clone)]
pub(super) struct Cell {
    pub(super) text: &'static str,
    pub(super) is_quoted: bool,
}

#[derive(Clone)]
pub(super) struct File {
    pub(super) layout: Layout,
    pub(super) definition: String,
    pub(super) dataset: Dataset,
    pub(super) columns: Vec<Column>,
    pub(super) records: Vec<(Vec<Cell>, Fault)>,
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

pub(super) fn files() -> impl Strategy<Value = File> {
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
