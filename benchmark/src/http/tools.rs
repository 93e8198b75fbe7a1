//! The load generators: wrk for HTTP, pgbench for the statement alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use landfall_local::postgres_program;
use serde::Deserialize;
use tokio::process::Command;

use super::{RequestSpec, Statement};
use crate::Plan;
use crate::result::{LoadRun, as_float, median};

/// The output of [`wrk`]'s script.
#[derive(Debug, Deserialize)]
struct WrkOutput {
    requests: u64,
    failed: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Sends one request repeatedly, over `connections` for `seconds`.
pub(super) async fn wrk(
    plan: &Plan,
    url: &str,
    token: &str,
    request: &RequestSpec,
    connections: usize,
    seconds: u64,
) -> Result<LoadRun> {
    let script = plan.directory().join("wrk.lua");
    fs::write(&script, include_str!("wrk.lua"))?;
    let mut command = Command::new("wrk");
    command
        .args(["--threads", &threads(connections).to_string()])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--timeout", "30s"])
        .arg("--script")
        .arg(&script)
        // Not an argument, which any user could read.
        .env("LANDFALL_TOKEN", token);
    if let Some((name, value)) = &request.header {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    command.arg(format!("{url}{}", request.path));
    if request.statement == Some(Statement::FromRandomKey) {
        command.args(["--", "random"]);
    }
    let text = output(command).await?;
    let last = text.lines().rfind(|line| line.starts_with('{'));
    let output: WrkOutput =
        serde_json::from_str(last.with_context(|| format!("unexpected output of wrk: {text}"))?)?;
    ensure!(
        output.failed == 0 && output.requests > 0,
        "{}: {} of {} requests failed",
        request.name,
        output.failed,
        output.requests
    );
    Ok(LoadRun {
        requests_per_second: as_float(output.requests) / output.seconds,
        p50_ms: output.p50_ms,
        p99_ms: output.p99_ms,
    })
}

/// Runs one statement repeatedly, over `connections` for `seconds`.
pub(super) async fn pgbench(
    plan: &Plan,
    url: &str,
    statement: Statement,
    connections: usize,
    seconds: u64,
) -> Result<LoadRun> {
    let directory = tempfile::tempdir_in(plan.directory())?;
    let script = directory.path().join("script.sql");
    fs::write(&script, statement.sql())?;
    let mut command = Command::new(postgres_program("pgbench")?);
    command
        .args(["--no-vacuum", "--protocol", "prepared", "--file"])
        .arg(&script)
        .args(["--client", &connections.to_string()])
        .args(["--jobs", &threads(connections).to_string()])
        .args(["--time", &seconds.to_string(), "--log", "--log-prefix"])
        .arg(directory.path().join("log"))
        .arg(url);
    let text = output(command).await?;
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rate| rate.split(' ').next()?.parse().ok());
    let mut milliseconds = latencies(directory.path())?;
    ensure!(!milliseconds.is_empty(), "pgbench logged nothing: {text}");
    milliseconds.sort_by(f64::total_cmp);
    Ok(LoadRun {
        requests_per_second: rate
            .with_context(|| format!("unexpected output of pgbench: {text}"))?,
        p50_ms: median(&milliseconds),
        p99_ms: milliseconds[(milliseconds.len() - 1) * 99 / 100],
    })
}

/// Returns the number of the generator's threads: one per core, and at most one per connection.
fn threads(connections: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(connections)
}

/// Reads the milliseconds of each transaction. pgbench writes a log per thread, whose third column is in microseconds.
fn latencies(directory: &Path) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("log."))
        {
            continue;
        }
        for line in fs::read_to_string(&path)?.lines() {
            let microseconds: f64 = line
                .split(' ')
                .nth(2)
                .and_then(|text| text.parse().ok())
                .with_context(|| format!("pgbench logged {line:?}"))?;
            all.push(microseconds / 1e3);
        }
    }
    Ok(all)
}

async fn output(mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_owned();
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
