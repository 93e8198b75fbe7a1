//! `cargo memory`: the memory that each function takes for a big object, measured from outside.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use landfall_cli::seed::{Kind, write};
use landfall_domain::JobId;
use landfall_local::{Lines, Progress, Sql, Stack, StackOptions};

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

    let stop = Arc::new(AtomicBool::new(false));
    let endpoint = stack.endpoint().to_owned();
    let watching = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || watch(&endpoint, &watching));

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
    stop.store(true, Ordering::Relaxed);
    let Ok(peaks) = watcher.join() else {
        bail!("the watcher of the processes died");
    };
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
    let mut functions: HashMap<String, (usize, u64)> = HashMap::new();
    for (function, kib) in peaks.into_values() {
        let (processes, most) = functions.entry(function).or_default();
        *processes += 1;
        *most = (*most).max(kib);
    }
    for (function, (processes, kib)) in functions {
        println!(
            "{function}: at most {:.1} MiB resident in each of {processes} processes",
            kib_to_mib(kib)
        );
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of processes are far below 2^53"
)]
fn kib_to_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The highest resident size of each of the functions' processes, in KiB, by process.
fn watch(endpoint: &str, stop: &AtomicBool) -> HashMap<String, (String, u64)> {
    let mut peaks = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let process = entry.file_name().to_string_lossy().into_owned();
            // A process that ends while it is looked at has told its size before.
            if let Some((function, kib)) = size(&process, endpoint) {
                peaks.insert(process, (function, kib));
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    peaks
}

fn size(process: &str, endpoint: &str) -> Option<(String, u64)> {
    process
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='))
            .find_map(|(found, value)| (found == name).then(|| value.to_owned()))
    };
    let function = value("AWS_LAMBDA_FUNCTION_NAME")?;
    (value("AWS_ENDPOINT_URL")? == endpoint).then_some(())?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some((
        function,
        line.trim().trim_end_matches(" kB").trim().parse().ok()?,
    ))
}
