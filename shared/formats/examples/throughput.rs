//! Prints the throughput of scanning and decoding for each format, as the median of several runs.
//!
//! `cargo run --release -p landfall-formats --example throughput`

use std::fmt::Write as _;
use std::time::Instant;

use landfall_domain::{ByteRange, Dataset, Format};
use landfall_formats::{Header, Scanner, decode};

const ROWS: u32 = 400_000;
const RUNS: usize = 5;
const FEED_BYTES: usize = 1 << 20;
const CHUNK_BYTES: u64 = 4 << 20;

const DATASET: &str = r#"
name = "products"
key = ["sku"]
fields = [
    { name = "sku", type = "text" },
    { name = "title", type = "text" },
    { name = "price", type = "decimal" },
    { name = "stock", type = "integer" },
    { name = "updated_at", type = "timestamp" },
]
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dataset = Dataset::from_toml("products.toml", DATASET)?;
    println!(
        "{:<16}{:>8}{:>12}{:>14}",
        "", "MB", "scan MB/s", "decode MB/s"
    );
    for (name, format, data) in [
        ("csv", Format::Csv, delimited(",", false)),
        ("csv, all quoted", Format::Csv, delimited(",", true)),
        ("tsv", Format::Tsv, delimited("\t", false)),
        ("ndjson", Format::Ndjson, objects("\n")),
        (
            "json",
            Format::Json,
            format!("[{}]", objects(",\n").trim_end_matches(",\n")),
        ),
    ] {
        let bytes = data.as_bytes();
        let mut scans = Vec::new();
        let mut decodes = Vec::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            let mut scanner = Scanner::new(&dataset, &format.into(), CHUNK_BYTES);
            let mut chunks = Vec::new();
            for piece in bytes.chunks(FEED_BYTES) {
                scanner.feed(piece, &mut chunks)?;
            }
            let summary = scanner.finish(&mut chunks)?;
            scans.push(start.elapsed().as_secs_f64());

            let start = Instant::now();
            let header = match summary.header {
                None => None,
                Some(range) => Some(Header::parse(
                    slice(bytes, range)?,
                    &dataset,
                    &format.into(),
                )?),
            };
            let mut rows = 0;
            for chunk in &chunks {
                let part = slice(bytes, chunk.range)?;
                let (start, line) = (chunk.range.start, chunk.first_line);
                let decoded = decode(&dataset, &format.into(), header.as_ref(), part, start, line);
                rows += decoded.rows.len();
            }
            decodes.push(start.elapsed().as_secs_f64());
            if rows as u64 != u64::from(ROWS) {
                return Err(format!("{name}: {rows} rows").into());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "the output is rounded")]
        let megabytes = bytes.len() as f64 / 1e6;
        let speed = |seconds: &mut Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            megabytes / seconds[RUNS / 2]
        };
        println!(
            "{name:<16}{megabytes:>8.1}{:>12.0}{:>14.0}",
            speed(&mut scans),
            speed(&mut decodes)
        );
    }
    Ok(())
}

fn slice(bytes: &[u8], range: ByteRange) -> Result<&[u8], std::num::TryFromIntError> {
    Ok(&bytes[usize::try_from(range.start)?..usize::try_from(range.end)?])
}

fn delimited(delimiter: &str, quoted: bool) -> String {
    let quote = if quoted { "\"" } else { "" };
    let mut text = String::new();
    let mut record = |cells: [&str; 5]| {
        text += &cells
            .map(|cell| format!("{quote}{cell}{quote}"))
            .join(delimiter);
        text.push('\n');
    };
    record(["sku", "title", "price", "stock", "updated_at"]);
    for row in 0..ROWS {
        let (sku, title, price, stock) = cells(row);
        record([&sku, &title, &price, &stock, "2026-11-20T08:30:00Z"]);
    }
    text
}

fn objects(separator: &str) -> String {
    let mut text = String::new();
    for row in 0..ROWS {
        let (sku, title, price, stock) = cells(row);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"sku":"{sku}","title":"{title}","price":{price},"stock":{stock},"updated_at":"2026-11-20T08:30:00Z"}}{separator}"#
        );
    }
    text
}

fn cells(row: u32) -> (String, String, String, String) {
    (
        format!("SKU-{row:08}"),
        format!("A product with the number {row} and a name of usual length"),
        format!("{}.{:02}", row % 1000, row % 100),
        format!("{}", row % 500),
    )
}
