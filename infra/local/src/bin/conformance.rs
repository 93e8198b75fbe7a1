//! `cargo conformance`: the promises of every store on real databases, for as long as wanted.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use landfall_local::{Databases, Lines, as_from_a_shell, workspace};

/// Starts a MongoDB, a MariaDB and a PostgreSQL, and runs the conformance tests of the stores on them and on SQLite.
#[derive(Debug, Parser)]
#[command(name = "cargo conformance", bin_name = "cargo conformance")]
struct Arguments {
    /// Parts of the names of the tests to run, such as `matrix`, `random` or `postgres::`; all of them unless given.
    filters: Vec<String>,
    /// Every shape of key with every size of chunk in `matrix`, instead of some.
    #[arg(long)]
    all: bool,
    /// How long `random` tries new cases on each database.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// The case of `random`, or the sample of `matrix`, that a failure printed.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    let databases = Databases::start(&progress).await?;
    progress.done();
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
    as_from_a_shell(&mut tests);
    databases.give_to(&mut tests);
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
