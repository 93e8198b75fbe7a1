//! `cargo memory`: the memory that each function takes for a big object, measured from outside.

use std::fs::{self, File};
use std::io::BufWriter;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use landfall_cli::seed::{Kind, write};
use landfall_domain::JobId;
use landfall_local::{Lines, MemoryWatch, Progress, Sql, Stack, StackOptions};

/// Without an event for so long, it is given up.
const WITHIN: Duration = Duration::from_hours(1);

/// Drops a big file of products into the local stack, and tells the most memory that a process of each
/// function had resident (`VmHWM` of Linux).
#[derive(Debug, Parser)]
#[command(name = "cargo memory", bin_name = "cargo memory")]
struct Arguments {
    /// Rows of the file; 13 million are about a gigabyte.
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
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &progress).await?;
    progress.doing("making the file");
    let path = stack.scratch()?.join("products.csv");
    write(
        Kind::Products,
        arguments.rows,
        1,
        BufWriter::new(File::create(&path)?),
    )?;
    let bytes = fs::metadata(&path)?.len();

    let watch = MemoryWatch::start(stack.endpoint());
    progress.doing("taking it in");
    let start = Instant::now();
    let version = stack.put_file("products/big.csv", &path).await?;
    let job = JobId::of(&stack.outputs().inbox_bucket, "products/big.csv", &version);
    let event = loop {
        match stack.next_event(WITHIN).await? {
            Some(event) if event.detail.job == job => break event.detail,
            Some(_) => {}
            None => bail!("the job did not close:\n{}", stack.function_logs(40).await?),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let peaks = watch.stop()?;
    progress.done();
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
