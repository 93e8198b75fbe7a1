//! `cargo benchmark`: measures Landfall beside the databases alone and beside other tools.

mod boundaries;
mod chart;
mod data;
mod debian;
mod destinations;
mod empty;
mod floors;
mod functions;
mod http;
mod landfall;
mod line;
mod memory;
mod peers;
mod profile;
mod report;
mod result;
mod sources;
mod stores;

mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use landfall_local::{Lines, target_directory, workspace};

use result::{Machine, Part};

/// Measures Landfall, from put to completion event through the deployed functions, in turn with floors (the databases
/// alone) and peers (other tools), on servers that it starts. Writes every figure to `target/benchmark/<part>.json`. A
/// run of everything, or `report`, writes `docs/benchmark.md` and `docs/benchmark.svg` from these files.
#[derive(Debug, Parser)]
#[command(name = "cargo benchmark", bin_name = "cargo benchmark")]
struct Arguments {
    /// What to measure [default: everything].
    #[arg(value_name = "PART")]
    parts: Vec<PartName>,
    /// Fewer rows and one run: a rough result within minutes.
    #[arg(long)]
    quick: bool,
    /// Rows of a file, unless the part has a fixed number [default: 2000000; 200000 with --quick].
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Number of runs; the results are medians [default: 3; 1 with --quick].
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartName {
    Postgres,
    Mariadb,
    Sqlite,
    Mongodb,
    /// MongoDB with PostgreSQL.
    Both,
    /// Other tools, on 500,000 rows.
    Peers,
    /// Pages of an HTTP API, also by dlt: 1,000,000 records.
    Sources,
    /// Loads with and without a destination, on 500,000 rows, and calls of the relay.
    Destinations,
    /// The fixed part of the time, and the seconds per million rows, beside the database alone.
    Line,
    /// Bytes per second of the scanners.
    Boundaries,
    /// Memory, start-up time and size of each function.
    Functions,
    /// Requests per second of the HTTP API, beside the statements alone.
    Http,
    /// Nothing: only write the docs from earlier measurements.
    Report,
}

const ALL: [PartName; 12] = [
    PartName::Functions,
    PartName::Http,
    PartName::Boundaries,
    PartName::Postgres,
    PartName::Mariadb,
    PartName::Sqlite,
    PartName::Mongodb,
    PartName::Both,
    PartName::Peers,
    PartName::Sources,
    PartName::Destinations,
    PartName::Line,
];

const INTERRUPTED: u8 = 130;

/// How much to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) rows: u64,
    pub(crate) runs: usize,
    /// Directory for files of this run.
    scratch: tempfile::TempDir,
}

impl Plan {
    fn new(arguments: &Arguments, results: &Path) -> Result<Self> {
        let quick = arguments.quick;
        Ok(Self {
            quick,
            rows: arguments
                .rows
                .unwrap_or(if quick { 200_000 } else { 2_000_000 })
                .max(1_000),
            runs: arguments.runs.unwrap_or(if quick { 1 } else { 3 }).max(1),
            // Not in the system's temporary directory, which may be in memory.
            scratch: tempfile::Builder::new()
                .prefix("data-")
                .tempdir_in(results)
                .with_context(|| format!("cannot write to {}", results.display()))?,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns a part without results.
    pub(crate) fn part(&self, name: &str, title: &str) -> Part {
        Part {
            name: name.to_owned(),
            title: title.to_owned(),
            quick: self.quick,
            measured_at: jiff::Timestamp::now().strftime("%F %R UTC").to_string(),
            machine: Machine::this(),
            ..Part::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    tokio::select! {
        done = run(&arguments, &progress) => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            progress.note("interrupted; finished parts are kept");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

async fn run(arguments: &Arguments, progress: &Lines) -> Result<ExitCode> {
    let results = results()?;
    let plan = Plan::new(arguments, &results)?;
    let wanted = if arguments.parts.is_empty() {
        &ALL[..]
    } else {
        &arguments.parts
    };
    let mut failed = false;
    for part in wanted {
        match measure(*part, &plan, progress).await {
            Ok(Some(part)) => {
                let path = results.join(format!("{}.json", part.name));
                fs::write(&path, serde_json::to_string_pretty(&part)?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                progress.note(&report::summary(&part));
            }
            Ok(None) => {}
            // The other parts are still useful.
            Err(error) => {
                failed = true;
                progress.note(&format!("error: cannot measure {part:?}: {error:#}"));
            }
        }
        progress.clear();
    }
    // Some parts alone would replace what the docs have of the others.
    if arguments.parts.is_empty() || arguments.parts.contains(&PartName::Report) {
        report::write(&results, &workspace()?.join("docs"))?;
    } else {
        progress.note(
            "the docs are unchanged; `cargo benchmark report` writes them from all measured parts",
        );
    }
    Ok(ExitCode::from(u8::from(failed)))
}

async fn measure(part: PartName, plan: &Plan, progress: &Lines) -> Result<Option<Part>> {
    Ok(Some(match part {
        PartName::Postgres => stores::postgres(plan, progress).await?,
        PartName::Mariadb => stores::mariadb(plan, progress).await?,
        PartName::Sqlite => stores::sqlite(plan, progress).await?,
        PartName::Mongodb => stores::mongodb(plan, progress).await?,
        PartName::Both => stores::both(plan, progress).await?,
        PartName::Peers => peers::measure(plan, progress).await?,
        PartName::Sources => sources::measure(plan, progress).await?,
        PartName::Destinations => destinations::measure(plan, progress).await?,
        PartName::Line => line::measure(plan, progress).await?,
        PartName::Boundaries => boundaries::measure(plan, progress)?,
        PartName::Functions => functions::measure(plan, progress).await?,
        PartName::Http => http::measure(plan, progress).await?,
        PartName::Report => return Ok(None),
    }))
}

/// Returns `target/benchmark`, and creates it if missing.
fn results() -> Result<PathBuf> {
    let results = target_directory()?.join("benchmark");
    fs::create_dir_all(&results).with_context(|| format!("cannot create {}", results.display()))?;
    Ok(results)
}
