//! `cargo conformance`: the conformance tests of the stores on real databases.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use landfall_local::{Databases, Lines, remove_cargo_variables, workspace};

/// Starts MongoDB, MariaDB and PostgreSQL, and runs the conformance tests of the stores on them and on SQLite.
#[derive(Debug, Parser)]
#[command(name = "cargo conformance", bin_name = "cargo conformance")]
struct Arguments {
    /// Parts of test names, such as `matrix`, `random` or `postgres::` [default: all tests].
    filters: Vec<String>,
    /// In `matrix`, run every combination of key shape and chunk size instead of a sample.
    #[arg(long)]
    all: bool,
    /// How long `random` tries new cases on each database.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Repeat the case of `random`, or the sample of `matrix`, whose failure printed this seed.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    let databases = Databases::start(&progress).await?;
    progress.clear();
    let mut tests = Command::new("cargo");
    tests
        .current_dir(workspace()?)
        .args([
            "test",
            "--package",
            "landfall-stores",
            "--test",
            "conformance",
        ])
        .args(["--", "--nocapture"])
        .args(&arguments.filters);
    remove_cargo_variables(&mut tests);
    databases.set_variables(&mut tests);
    if arguments.all {
        tests.env("LANDFALL_MATRIX", "all");
    }
    let numbers = [
        ("LANDFALL_MINUTES", arguments.minutes),
        ("LANDFALL_SEED", arguments.seed),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            tests.env(name, number.to_string());
        }
    }
    let status = tests.status().context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
