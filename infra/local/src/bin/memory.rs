//! `cargo memory`: measures the memory of each function while a large object is ingested.

use std::fs::{self, File};
use std::io::BufWriter;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use landfall_cli::seed::{Kind, write};
use landfall_domain::JobId;
use landfall_local::{Build, Lines, MemoryWatch, Progress, Sql, Stack, StackOptions};

/// How long to wait for the completion event.
const TIMEOUT: Duration = Duration::from_hours(1);

/// Ingests a large file of products on the local stack, with the functions as deployed, and prints the peak resident
/// memory of each function's processes (Linux's `VmHWM`).
#[derive(Debug, Parser)]
#[command(name = "cargo memory", bin_name = "cargo memory")]
struct Arguments {
    /// Rows of the file. 13 million are about a gigabyte.
    #[arg(long, default_value_t = 13_000_000, value_name = "N")]
    rows: u64,
    /// The SQL database: sqlite, postgres or mysql.
    #[arg(long, default_value = "sqlite", value_name = "KIND")]
    sql: Sql,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    let options = StackOptions {
        sql: arguments.sql,
        build: Build::Release,
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &progress).await?;
    progress.step("writing the file");
    let path = stack.scratch()?.join("products.csv");
    write(
        Kind::Products,
        arguments.rows,
        1,
        BufWriter::new(File::create(&path)?),
    )?;
    let bytes = fs::metadata(&path)?.len();

    let watch = MemoryWatch::start(stack.endpoint());
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
    let peaks = watch.stop()?;
    progress.clear();
    stack.stop();

    println!(
        "object: {bytes} bytes, {} rows, {} chunks",
        event.counts.rows, event.chunks
    );
    println!(
        "job: {}, {seconds:.1} s from put to event",
        event.state.as_str()
    );
    for (function, peak) in peaks {
        println!(
            "{function}: at most {:.1} MiB resident in each of {} processes",
            peak.mebibytes, peak.processes
        );
    }
    Ok(())
}
