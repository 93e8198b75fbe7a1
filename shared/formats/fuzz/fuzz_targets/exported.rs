//! Rows are the same after they were written as the API does and read again. Whatever follows such a header is rows or
//! rejects.

#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;

use landfall_domain::{
    ByteRange, Dataset, EXPORT_MARKER, EXTRA_COLUMN, FieldType, Format, JsonOf, JsonText, Row,
    Value, escapes_text,
};
use landfall_formats::{Findings, Object, decode, decode_object};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;

const DEFINITION: &str = r#"
name = "exported"
key = ["key"]
csv = { header = false, flexible = true }
fields = [
    { name = "key", type = "text", column = "Key" },
    { name = "text", type = "text", nulls = ["", "x"], default = "none" },
    { name = "integer", type = "integer", thousands = ".", decimal = "," },
    { name = "decimal", type = "decimal", currency = "€", accounting = true },
    { name = "float", type = "float" },
    { name = "boolean", type = "boolean", true_values = ["ja"], false_values = ["nein"] },
    { name = "date", type = "date", format = "%d/%m/%y" },
    { name = "epoch", type = "timestamp", format = "epoch_ms" },
    { name = "json", type = "json", nulls = ["-"] },
]
"#;

static DATASET: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::from_toml("exported.toml", DEFINITION).unwrap());

fn names() -> impl Iterator<Item = &'static str> {
    let fields = DATASET.fields.iter().map(|field| field.name.as_str());
    fields.chain([EXTRA_COLUMN, EXPORT_MARKER])
}

/// Returns rows as CSV.
fn csv(rows: &[Row]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(names()).unwrap();
    for row in rows {
        let cell = |value: &Value| {
            let is_text = matches!(value.kind(), Some(FieldType::Text | FieldType::Json));
            match value.to_text() {
                Some(text) if is_text && escapes_text(&text) => format!("'{text}"),
                text => text.unwrap_or_default().into_owned(),
            }
        };
        let extra = row.extra.clone().unwrap_or_default();
        let cells = row.values.iter().map(cell).chain([extra, "1".to_owned()]);
        writer.write_record(cells).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Returns rows as NDJSON.
fn ndjson(rows: &[Row]) -> Vec<u8> {
    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }
    let lines = rows.iter().map(|row| {
        let extra = row.extra.as_deref();
        let added = [
            extra.map_or("null".to_owned(), |extra| json(JsonText(extra))),
            json(1),
        ];
        let values = row
            .values
            .iter()
            .map(|value| json(JsonOf(value)))
            .chain(added);
        let properties = names()
            .zip(values)
            .map(|(name, value)| format!("{}:{value}", json(name)));
        format!("{{{}}}\n", properties.collect::<Vec<_>>().join(","))
    });
    lines.collect::<String>().into_bytes()
}

/// Reads a file of any name in small chunks. Returns its rows, and the number of its rejects.
fn read(file: &[u8]) -> (Vec<Row>, usize, Findings) {
    let object = Object {
        key: "exported/file",
        size: file.len() as u64,
        segment_bytes: 1 << 20,
        chunk_bytes: 50,
    };
    let (mut rows, mut rejects) = (Vec::new(), 0);
    let bytes = |range: ByteRange| {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok::<_, Infallible>(file[range].to_vec())
    };
    let findings = decode_object(&DATASET, object, bytes, |_, decoded| {
        let skipped = decoded.skipped.records();
        let outcomes = (decoded.rows.len() + decoded.rejects.len()) as u64;
        assert_eq!(decoded.records, outcomes + skipped);
        rejects += decoded.rejects.len();
        rows.extend(decoded.rows);
    });
    (rows, rejects, findings.unwrap())
}

/// Returns what is exported of rows. Line ends in JSON do not count.
fn content(rows: &[Row]) -> Vec<(Vec<Value>, Option<String>)> {
    let plain = |value: &Value| match value {
        Value::Json(text) => Value::Json(text.replace(['\n', '\r'], " ")),
        other => other.clone(),
    };
    rows.iter()
        .map(|row| (row.values.iter().map(plain).collect(), row.extra.clone()))
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::Csv, Format::Ndjson] {
        let rows = decode(&DATASET, &format.into(), None, bytes, 0, 1).rows;
        if rows.is_empty() {
            continue;
        }
        for file in [csv(&rows), ndjson(&rows)] {
            let (found, rejects, findings) = read(&file);
            assert!(findings.reading.unwrap().is_exported);
            assert_eq!((rejects, findings.problem), (0, None));
            assert_eq!(content(&found), content(&rows));
        }
    }
    read(&[&csv(&[]), bytes].concat());
});
