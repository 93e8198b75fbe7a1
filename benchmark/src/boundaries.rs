//! The speed at which the scanners find record boundaries, on one core.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use landfall_cli::seed::{Kind, write};
use landfall_domain::{Dataset, Format, PlannedChunk};
use landfall_formats::Scanner;
use landfall_local::{Lines, Progress, definitions};

use crate::Plan;
use crate::result::{Part, as_float, median};

const ROWS: u64 = 1_000_000;
/// The size of the splitter's reads.
const FEED_BYTES: usize = 4 << 20;
const CHUNK_BYTES: u64 = 4 << 20;
/// Each run is the best of this number of scans: a scan takes a tenth of a second, which noise easily distorts.
const SCANS: usize = 5;

pub(crate) fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let mut part = plan.part("boundaries", "Boundaries, one core");
    let datasets = datasets()?;
    let rows = ROWS.min(plan.rows);
    let csv = made(Kind::Products, rows)?;
    let ndjson = made(Kind::Orders, rows)?;
    for (name, format, dataset, bytes) in [
        ("CSV", Format::Csv, "products", &csv),
        ("TSV", Format::Tsv, "products", &tsv(&csv)?),
        ("NDJSON", Format::Ndjson, "orders", &ndjson),
        ("JSON array", Format::Json, "orders", &array(&ndjson)),
    ] {
        progress.step(&format!("boundaries: {name}"));
        let mut speeds = Vec::new();
        for _ in 0..plan.runs {
            let mut fastest = f64::INFINITY;
            for _ in 0..SCANS {
                fastest = fastest.min(scan(&datasets[dataset], format, bytes)?);
            }
            speeds.push(as_float(bytes.len() as u64) / 1e9 / fastest);
        }
        part.figure(name, median(&speeds), "GB/s", None);
    }
    Ok(part)
}

fn datasets() -> Result<BTreeMap<String, Dataset>> {
    definitions(&[])?
        .into_iter()
        .map(|definition| {
            let file = definition.path.to_string_lossy();
            Ok((
                definition.name.clone(),
                Dataset::from_toml(&file, &definition.toml)?,
            ))
        })
        .collect()
}

fn made(kind: Kind, rows: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(kind, rows, 1, &mut bytes)?;
    Ok(bytes)
}

fn tsv(csv: &[u8]) -> Result<Vec<u8>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(csv);
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .delimiter(b'\t')
        .from_writer(Vec::with_capacity(csv.len()));
    writer.write_byte_record(reader.byte_headers()?)?;
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        writer.write_byte_record(&record)?;
    }
    writer.into_inner().map_err(|error| anyhow!("{error}"))
}

/// Returns the good lines as a JSON array.
fn array(ndjson: &[u8]) -> Vec<u8> {
    let mut array = vec![b'['];
    for line in ndjson.split(|byte| *byte == b'\n') {
        if line.ends_with(b"}") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() {
            if array.len() > 1 {
                array.extend_from_slice(b",\n");
            }
            array.extend_from_slice(line);
        }
    }
    array.push(b']');
    array
}

/// Returns the seconds of one scan.
fn scan(dataset: &Dataset, format: Format, bytes: &[u8]) -> Result<f64> {
    let mut chunks: Vec<PlannedChunk> = Vec::new();
    let start = Instant::now();
    let mut scanner = Scanner::new(dataset, &format.into(), CHUNK_BYTES);
    for piece in bytes.chunks(FEED_BYTES) {
        scanner
            .feed(piece, &mut chunks)
            .map_err(|problem| anyhow!(problem.message))?;
    }
    let summary = scanner
        .finish(&mut chunks)
        .map_err(|problem| anyhow!(problem.message))?;
    let seconds = start.elapsed().as_secs_f64();
    let planned: u64 = chunks.iter().map(|chunk| chunk.records).sum();
    ensure!(
        planned == summary.records && planned > 0,
        "the scanner found {} records and planned {planned}",
        summary.records
    );
    Ok(seconds)
}
