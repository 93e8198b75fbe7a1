//! `cargo memory`: measures the memory of each function while a large object is ingested, or a large source fetched.

mod source;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use landfall_cli::seed::{Kind, write};
use landfall_domain::{Codec, CompletionEvent, JobId};
use landfall_local::{Build, Lines, MemoryWatch, Progress, Sql, Stack, StackOptions};
use landfall_packed::pack;

/// How long to wait for the completion event.
const TIMEOUT: Duration = Duration::from_hours(1);

/// Ingests a large file of products on the local stack, or the records of a source, with the functions as deployed, and
/// prints the peak resident memory of each function's processes (Linux's `VmHWM`).
#[derive(Debug, Parser)]
#[command(name = "cargo memory", bin_name = "cargo memory")]
struct Arguments {
    /// Rows of the file. 13 million are about a gigabyte.
    #[arg(long, default_value_t = 13_000_000, value_name = "N")]
    rows: u64,
    /// The SQL database: sqlite, postgres or mysql.
    #[arg(long, default_value = "sqlite", value_name = "KIND")]
    sql: Sql,
    /// How the file is compressed: gzip, zstd, bzip2 or zip. By default, it is not.
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    compression: Option<Codec>,
    /// Instead of a file, fetch a source of so many bytes, in pages of a megabyte [default: 2000000000].
    #[arg(
        long,
        value_name = "BYTES",
        num_args = 0..=1,
        default_missing_value = "2000000000",
        conflicts_with_all = ["rows", "compression"]
    )]
    source: Option<u64>,
}

fn codec(name: &str) -> Result<Codec> {
    let codecs = [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip];
    let found = codecs.into_iter().find(|codec| codec.as_str() == name);
    found.context("name gzip, zstd, bzip2 or zip")
}

/// Compresses a file, and returns the path of the result.
fn compress(path: &Path, codec: Codec) -> Result<PathBuf> {
    // Members of this size, one after the other. A zip archive is written in memory.
    let member = match codec {
        Codec::Gzip | Codec::Zstd | Codec::Bzip2 => 64 << 20,
        Codec::Zip => u64::MAX,
    };
    let packed = path.with_extension("packed");
    let (mut from, mut to) = (File::open(path)?, File::create(&packed)?);
    loop {
        let mut text = Vec::new();
        if (&mut from).take(member).read_to_end(&mut text)? == 0 {
            return Ok(packed);
        }
        to.write_all(&pack(codec, &text))?;
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    let options = StackOptions {
        sql: arguments.sql.clone(),
        build: Build::Release,
        pull_every: arguments.source.map(|_| source::PULL_EVERY),
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &progress).await?;
    let watch = MemoryWatch::start(stack.endpoint());
    let (loaded, event) = match arguments.source {
        Some(bytes) => source::pull(&stack, bytes, &progress).await?,
        None => ingest_file(&stack, &arguments, &progress).await?,
    };
    let peaks = watch.stop()?;
    progress.clear();
    stack.stop();

    println!("{loaded}");
    println!(
        "job: {}, {} rows, {} chunks",
        event.state.as_str(),
        event.counts.rows,
        event.chunks
    );
    for (function, peak) in peaks {
        println!(
            "{function}: at most {:.1} MiB resident in each of {} processes",
            peak.mebibytes, peak.processes
        );
    }
    Ok(())
}

/// Ingests a file of products, and returns what to print of it, and the event.
async fn ingest_file(
    stack: &Stack,
    arguments: &Arguments,
    progress: &Lines,
) -> Result<(String, CompletionEvent)> {
    progress.step("writing the file");
    let mut path = stack.scratch()?.join("products.csv");
    write(
        Kind::Products,
        arguments.rows,
        1,
        BufWriter::new(File::create(&path)?),
    )?;
    let bytes = fs::metadata(&path)?.len();
    let mut packed = String::new();
    if let Some(codec) = arguments.compression {
        progress.step("compressing it");
        path = compress(&path, codec)?;
        packed = format!(", {} with {codec}", fs::metadata(&path)?.len());
    }
    progress.step("ingesting");
    let start = Instant::now();
    let version = stack.put_file("products/big.csv", &path).await?;
    let job = JobId::for_object(&stack.outputs().inbox_bucket, "products/big.csv", &version);
    let event = loop {
        match stack.next_event(TIMEOUT).await? {
            Some(event) if event.detail.job == job => break event.detail,
            Some(_) => {}
            None => bail!("the job did not close:\n{}", stack.function_logs(40).await?),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let object = format!("object: {bytes} bytes{packed}, {seconds:.1} s from put to event");
    Ok((object, event))
}
