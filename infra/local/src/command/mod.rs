//! The steps of `cargo local`.

mod arguments;
mod demo;
mod files;
mod jobs;
mod report;
mod rows;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use landfall_domain::{Dataset, JobState};
use landfall_local::{Lines, Progress, Stack};

pub(crate) use arguments::Arguments;
use demo::Running;
use jobs::Job;

const INTERRUPTED: u8 = 130;
/// The default number of rows of the sample file.
const SAMPLE_ROWS: u64 = 100_000;

/// Runs until the jobs are closed, or until interrupted. Stops everything it started before it returns.
pub(crate) async fn run(
    arguments: Arguments,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitCode> {
    let mut interrupted = pin!(interrupted);
    let progress = Lines::default();
    let done = tokio::select! {
        done = Box::pin(start(&arguments, &progress)) => Some(done?),
        () = &mut interrupted => None,
    };
    let Some((stack, code, demo)) = done else {
        progress.note("interrupted; everything is stopped");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !arguments.once {
        progress.note("\nRunning until Ctrl-C. Jobs of other files are shown here as they close.");
        tokio::select! {
            shown = show_later_jobs(&stack, &progress) => shown?,
            shown = watch(demo.as_ref(), &stack, &progress) => shown?,
            () = &mut interrupted => {}
        }
        progress.step("stopping");
    }
    stack.stop();
    progress.clear();
    Ok(code)
}

/// Starts the stack, and the demo or the ingestion of the files.
async fn start(
    arguments: &Arguments,
    progress: &Lines,
) -> Result<(Stack, ExitCode, Option<Running>)> {
    let Some(demo) = arguments.demo else {
        let (stack, code) = ingest(arguments, progress).await?;
        return Ok((stack, code, None));
    };
    let services = demo.serve().await?;
    let stack = Stack::start(arguments.stack_options()?, progress).await?;
    progress.clear();
    report::addresses(&stack);
    let running = services.start(&stack, arguments, progress).await?;
    Ok((stack, ExitCode::SUCCESS, Some(running)))
}

/// Starts the stack, ingests the files and reports on their jobs.
async fn ingest(arguments: &Arguments, progress: &Lines) -> Result<(Stack, ExitCode)> {
    let options = arguments.stack_options()?;
    let mut datasets = files::definitions(&options.datasets)?;
    let (mut sources, inferred) = files::sources(arguments, &datasets)?;
    let stack = Stack::start(options, progress).await?;
    progress.clear();
    report::addresses(&stack);
    for inferred in inferred {
        let name = &inferred.dataset.name;
        if stack.create_dataset(name, &inferred.toml).await? {
            report::inferred(name, &inferred.toml);
        } else {
            progress.note(&format!(
                "the definition of {name} is the one that was kept"
            ));
        }
        datasets.push(inferred.dataset);
    }
    if sources.is_empty() {
        progress.step("writing the sample file");
        let rows = arguments.rows.unwrap_or(SAMPLE_ROWS);
        sources.push(files::sample(rows, &stack.scratch()?)?);
    }
    let closed = jobs::ingest(&stack, &sources, progress).await?;
    let mut reports = Vec::with_capacity(closed.len());
    for job in &closed {
        reports.push(report::JobReport::read(&stack, job).await?);
    }
    if arguments.json {
        report::json(&stack, &reports)?;
    }
    for job in &reports {
        report::job(job);
    }
    for dataset in datasets
        .iter()
        .filter(|dataset| wrote_rows(&closed, dataset))
    {
        rows::show(&stack, dataset).await?;
    }
    if !arguments.once {
        let environment = stack.write_environment().await?;
        report::next_steps(&stack, &environment);
    }
    let failed = closed
        .iter()
        .any(|job| job.event.detail.state != JobState::Succeeded);
    Ok((stack, ExitCode::from(if failed { 2 } else { 0 })))
}

/// Whether a job wrote rows of the dataset to the stores.
fn wrote_rows(jobs: &[Job], dataset: &Dataset) -> bool {
    jobs.iter().map(|job| &job.event.detail).any(|completed| {
        completed.dataset.as_deref() == Some(&dataset.name) && !completed.counts.stores.is_empty()
    })
}

/// Shows what a demo does, if one runs.
async fn watch(demo: Option<&Running>, stack: &Stack, progress: &Lines) -> Result<()> {
    match demo {
        Some(demo) => demo.watch(stack, progress).await,
        None => std::future::pending().await,
    }
}

async fn show_later_jobs(stack: &Stack, progress: &Lines) -> Result<()> {
    loop {
        if let Some(event) = stack.next_event(Duration::from_mins(1)).await? {
            progress.clear();
            report::line(&event.detail);
        }
    }
}
