//! Record boundaries, decoded rows and rejects, headers, and the detection of formats.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod boundaries;
mod cases_csv;
mod cases_json;
mod cases_values;
mod decode;
mod detect;
mod encodings;
mod fixed;
mod fixed_files;
mod header;
mod ingest;
mod json;
mod json_faults;
mod merge;
mod mistakes;
mod nulls;
mod oracle;
mod places;
mod positions;
mod record_at;
mod resume;
mod scan;
mod texts;

use landfall_domain::{Dataset, Format, Value};
use landfall_formats::{Decoded, Header, decode};

/// Returns a dataset with the key `sku` and these fields beside it.
fn dataset(settings: &str, fields: &str) -> Dataset {
    let sku = r#"{ name = "sku", type = "text" }"#;
    let text = format!("name = \"d\"\nkey = [\"sku\"]\n{settings}\nfields = [{sku}, {fields}]");
    Dataset::from_toml("d.toml", &text).unwrap()
}

/// Decodes a chunk of CSV that starts at byte 1000 and line 10, with or without a header record.
fn csv(dataset: &Dataset, header: Option<&str>, chunk: &[u8]) -> Decoded {
    let header =
        header.map(|text| Header::parse(text.as_bytes(), dataset, &Format::Csv.into()).unwrap());
    decode(
        dataset,
        &Format::Csv.into(),
        header.as_ref(),
        chunk,
        1000,
        10,
    )
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}
