//! The commands about sources.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use landfall_sources::Outcome;

use super::attempt::{Attempt, attempt};
use super::check::check;
use super::stack::{Stack, describe_run};
use crate::Operator;
use crate::check::print_lines;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the sources of a stack with their schedules and last runs. Like all commands about a stack, it needs the
    /// functions' `LANDFALL_LEDGER_TABLE` and `LANDFALL_CONFIG_BUCKET`, as in the environment file that `cargo local`
    /// prints
    List,
    /// Request a run, which starts within a minute, or after the one in progress
    Run {
        /// Name of the source
        source: String,
        /// Wait until the run is over, at most an hour, and print it. Exits with 1 if it failed
        #[arg(long)]
        wait: bool,
    },
    /// List the last runs of a source, newest first. They are kept for 30 days
    Runs {
        /// Name of the source
        source: String,
        /// Number of runs
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
        limit: u64,
    },
    /// Start no run of a source until it is resumed. A run in progress is finished
    Pause {
        /// Name of the source
        source: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Resume a paused source. A run that was due meanwhile starts within a minute
    Resume {
        /// Name of the source
        source: String,
    },
    /// Fetch the first pages of a source and print the requests and records. Nothing is stored
    Try(Attempt),
    /// Check definitions of sources, and print the file, line and setting of the first error in each
    Check {
        /// Files, or directories of .toml files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Directory with the definitions of the datasets, to check that each source fits its dataset
        #[arg(long)]
        datasets: Option<PathBuf>,
    },
}

/// Does what a command says.
pub(crate) async fn act(command: Command) -> Result<ExitCode> {
    match command {
        Command::List => return Ok(print_lines(Stack::open().await?.list().await?)),
        Command::Run { source, wait: true } => {
            let run = Stack::open().await?.run_and_wait(&source).await?;
            println!("{}", describe_run(&run));
            if matches!(run.outcome, Outcome::Failed | Outcome::JobFailed) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Run { source, .. } => {
            Stack::open().await?.run(&source).await?;
            println!("{source} runs within a minute, or after the run in progress");
        }
        Command::Runs { source, limit } => {
            for run in Stack::open().await?.runs(&source, limit).await? {
                println!("{}", describe_run(&run));
            }
        }
        Command::Pause { source, operator } => {
            let stack = Stack::open().await?;
            let paused = stack.pause(&source, &operator.name).await?;
            println!("{source} is paused, by {} since {}", paused.by, paused.at);
        }
        Command::Resume { source } => {
            Stack::open().await?.resume(&source).await?;
            println!("{source} is not paused");
        }
        Command::Check { paths, datasets } => {
            return Ok(print_lines(check(&paths, datasets.as_deref())?));
        }
        Command::Try(source) => attempt(&source, &mut stdout().lock()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
