//! The commands about destinations.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use landfall_domain::ChangeState;
use landfall_ledger::Task;

use super::check::check;
use super::diff::Diff;
use super::lines::describe_task;
use super::stack::{Keys, Stack};
use crate::Operator;
use crate::check::print_lines;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the destinations of a stack, and whether they are paused or fail. Like all commands about a stack, it needs
    /// the functions' `LANDFALL_LEDGER_TABLE` and `LANDFALL_CONFIG_BUCKET`, as in the environment file that `cargo
    /// local` prints
    List,
    /// Show what waits for a destination, since when, what went wrong lately, and its tasks. It also needs
    /// `LANDFALL_STORES_SECRET`
    Show {
        /// Name of the destination
        destination: String,
    },
    /// List the changes of a state, each as a line of JSON: those that are due first in front. It also needs
    /// `LANDFALL_STORES_SECRET`
    Changes {
        /// Name of the destination
        destination: String,
        /// waiting: to be sent, now or later; set-aside: refused for good; unknown: sent, without an answer
        #[arg(long)]
        state: State,
        /// Number of changes
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// Send changes again, as the rows stand: a relay takes that up within a minute. It also needs
    /// `LANDFALL_STORES_SECRET`
    Redrive {
        /// Name of the destination
        destination: String,
        #[command(flatten)]
        selected: Selected,
        /// Only keys whose last answer contains this text
        #[arg(long, conflicts_with = "key")]
        answer: Option<String>,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        operator: Operator,
    },
    /// Send the rows that a destination has never had to do with: those that are older than its definition
    Sync {
        /// Name of the destination
        destination: String,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        operator: Operator,
    },
    /// Send nothing to a destination until it is resumed. Changes are recorded meanwhile
    Pause {
        /// Name of the destination
        destination: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Resume a paused destination. Calls are sent within a minute
    Resume {
        /// Name of the destination
        destination: String,
    },
    /// Check definitions of destinations, and print the file, line and setting of the first error in each
    Check {
        /// Files, or directories of .toml files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Directory with the definitions of the datasets, whose fields the definitions name
        #[arg(long)]
        datasets: PathBuf,
    },
    /// Look up each row of the dataset at the service, and print those that it does not have as they are. Rows that
    /// still wait to be sent are among them. Exits with 1 if there are any. Needs the functions'
    /// `LANDFALL_CONFIG_BUCKET`, as in the environment file that `cargo local` prints
    Diff(Diff),
}

/// Which keys to send again.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selected {
    /// The value of a key, or a JSON array of its values if it has several; repeatable
    #[arg(long)]
    key: Vec<String>,
    /// All keys of a state; of those that wait, the ones whose retry is later
    #[arg(long)]
    state: Option<State>,
    /// All keys that are set aside or unknown
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct Waits {
    /// Wait until the keys are due, at most an hour. They may not all be sent then. Exits with 1 if the task failed
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum State {
    Waiting,
    SetAside,
    Unknown,
}

impl From<State> for ChangeState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::SetAside => Self::SetAside,
            State::Unknown => Self::Unknown,
        }
    }
}

impl Selected {
    fn keys(self) -> Keys {
        match self.state {
            Some(state) => Keys::Of(vec![state.into()]),
            None if self.all => Keys::Of(vec![ChangeState::SetAside, ChangeState::Unknown]),
            None => Keys::Named(self.key),
        }
    }
}

/// Does what a command says.
pub(crate) async fn act(command: Command) -> Result<ExitCode> {
    match command {
        Command::List => return Ok(print_lines(Stack::open().await?.list().await?)),
        Command::Show { destination } => {
            for line in Stack::open().await?.show(&destination).await? {
                println!("{line}");
            }
        }
        Command::Changes {
            destination,
            state,
            limit,
        } => {
            let stack = Stack::open().await?;
            for line in stack.changes(&destination, state.into(), limit).await? {
                println!("{line}");
            }
        }
        Command::Redrive {
            destination,
            selected,
            answer,
            waits,
            operator,
        } => {
            let stack = Stack::open().await?;
            let (keys, by) = (selected.keys(), &operator.name);
            let task = stack.redrive(&destination, keys, answer, by).await?;
            return finish(&stack, &destination, task, &waits).await;
        }
        Command::Sync {
            destination,
            waits,
            operator,
        } => {
            let stack = Stack::open().await?;
            let task = stack.sync(&destination, &operator.name).await?;
            return finish(&stack, &destination, task, &waits).await;
        }
        Command::Pause {
            destination,
            operator,
        } => {
            let stack = Stack::open().await?;
            let paused = stack.pause(&destination, &operator.name).await?;
            let (by, at) = (paused.by, paused.at);
            println!("{destination} is paused, by {by} since {at}");
        }
        Command::Resume { destination } => {
            Stack::open().await?.resume(&destination).await?;
            println!("{destination} is not paused");
        }
        Command::Check { paths, datasets } => return Ok(print_lines(check(&paths, &datasets)?)),
        Command::Diff(diff) => {
            let differs = diff.run(&mut stdout().lock()).await?;
            return Ok(ExitCode::from(u8::from(differs)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a task, once it is finished if that is waited for.
async fn finish(stack: &Stack, destination: &str, task: Task, waits: &Waits) -> Result<ExitCode> {
    let paused = stack.find_pause(destination).await?;
    let task = match paused {
        Some(paused) if waits.wait => {
            bail!("{destination} is paused, by {}: resume it first", paused.by)
        }
        None if waits.wait => stack.wait(destination, task).await?,
        _ => task,
    };
    println!("{}", describe_task(&task));
    Ok(if task.problem.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
