//! Cells of any text are values of every type, in any notation, or rejects: nothing panics, and no row is lost.

#![no_main]

use std::sync::LazyLock;

use landfall_domain::{Dataset, Format};
use landfall_formats::decode;
use libfuzzer_sys::fuzz_target;

const DEFINITION: &str = r#"
name = "values"
key = ["key"]
csv = { header = false, flexible = true }
fields = [
    { name = "key", type = "text" },
    { name = "integer", type = "integer", thousands = "." , decimal = "," },
    { name = "decimal", type = "decimal", currency = "€", accounting = true },
    { name = "float", type = "float" },
    { name = "boolean", type = "boolean", true_values = ["ja"], false_values = ["nein"] },
    { name = "date", type = "date", format = "%d/%m/%y" },
    { name = "local", type = "timestamp", timezone = "America/New_York", fold = "later" },
    { name = "epoch", type = "timestamp", format = "epoch_ms" },
    { name = "json", type = "json" },
]
"#;

static DATASET: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::from_toml("values.toml", DEFINITION).unwrap());

fuzz_target!(|bytes: &[u8]| {
    let decoded = decode(&DATASET, &Format::Csv.into(), None, bytes, 0, 1);
    let outcomes = decoded.rows.len() + decoded.rejects.len();
    assert_eq!(decoded.records, outcomes as u64 + decoded.skipped.records());
});
