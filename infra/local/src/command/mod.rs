//! What `cargo local` does, step by step.

mod arguments;
mod files;
mod jobs;
mod look;
mod report;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use landfall_domain::{Dataset, JobState};
use landfall_local::{Lines, Progress, Stack};

pub(crate) use arguments::Arguments;
use jobs::Job;

const INTERRUPTED: u8 = 130;

/// Runs until the jobs are closed, or until interrupted. Whatever was started is stopped before it returns.
pub(crate) async fn run(
    arguments: Arguments,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitCode> {
    let mut interrupted = pin!(interrupted);
    let progress = Lines::default();
    let worked = tokio::select! {
        worked = work(&arguments, &progress) => worked?,
        () = &mut interrupted => None,
    };
    let Some((stack, code)) = worked else {
        progress.note("interrupted; all that was started is stopped");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !arguments.once {
        progress.note("\nUp until Ctrl-C. Jobs of other files are told here as they complete.");
        tokio::select! {
            told = tell_later_jobs(&stack) => told?,
            () = &mut interrupted => {}
        }
        progress.doing("stopping");
    }
    stack.stop();
    progress.done();
    Ok(code)
}

type Worked = (Stack, ExitCode);

async fn work(arguments: &Arguments, progress: &Lines) -> Result<Option<Worked>> {
    let options = arguments.stack_options();
    let datasets = files::definitions(&options.datasets)?;
    let mut sources = files::sources(arguments, &datasets)?;
    let stack = Stack::start(options, progress).await?;
    if sources.is_empty() {
        progress.doing("making up products");
        sources.push(files::sample(arguments.rows, &stack.scratch()?)?);
    }
    let closed = jobs::take_in(&stack, &sources, progress).await?;
    let mut told = Vec::with_capacity(closed.len());
    for job in &closed {
        told.push(report::Told::gather(&stack, job).await?);
    }
    if arguments.json {
        report::json(&stack, &told)?;
    }
    for job in &told {
        report::job(job);
    }
    for dataset in datasets
        .iter()
        .filter(|dataset| has_rows_of(&closed, dataset))
    {
        look::rows(&stack, dataset).await?;
    }
    if !arguments.once {
        let environment = stack.write_environment().await?;
        report::how_to_go_on(&stack, &environment);
    }
    let failed = closed
        .iter()
        .any(|job| job.event.detail.state != JobState::Succeeded);
    Ok(Some((stack, ExitCode::from(if failed { 2 } else { 0 }))))
}

/// Whether a job brought rows of the dataset to the stores, so that there is something to look at.
fn has_rows_of(jobs: &[Job], dataset: &Dataset) -> bool {
    jobs.iter().map(|job| &job.event.detail).any(|completed| {
        completed.dataset.as_deref() == Some(&dataset.name) && !completed.counts.stores.is_empty()
    })
}

async fn tell_later_jobs(stack: &Stack) -> Result<()> {
    loop {
        if let Some(event) = stack.next_event(Duration::from_mins(1)).await? {
            report::line(&event.detail);
        }
    }
}
