//! Sources of a stack: what they do, and what operators do with them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use landfall_aws::{Datasets, SourceLookup, Sources};
use landfall_ledger::{DynamoTable, MAX_RUNS, Pause, RunView, SourceTable, SourceView};
use landfall_runtime::Environment;
use landfall_sources::Source;
use tokio::time::{Instant, sleep};

/// How often a run that is waited for is looked at.
const POLL: Duration = Duration::from_secs(1);
/// How long a run is waited for.
const WITHIN: Duration = Duration::from_hours(1);

/// The sources of the stack that the environment variables name.
pub(crate) struct Stack {
    definitions: Sources,
    datasets: Arc<Datasets>,
    table: DynamoTable,
}

impl Stack {
    /// Opens the buckets and the ledger.
    pub(crate) async fn open() -> Result<Self> {
        let environment = Environment::load().await;
        Ok(Self {
            definitions: environment.sources()?,
            datasets: Arc::new(environment.datasets()?),
            table: environment.ledger_table()?,
        })
    }

    /// Returns a line about each source, or one with the file, line, setting and message of its error.
    pub(crate) async fn list(&self) -> Result<Vec<Result<String, String>>> {
        let mut lines = Vec::new();
        for listed in self.definitions.list(None).await? {
            match self
                .definitions
                .lookup_listed(&listed, &self.datasets)
                .await?
            {
                SourceLookup::Found(source, problem) => {
                    let view = SourceView::read(&self.table, &source, problem).await?;
                    lines.push(Ok(describe(&view)));
                }
                SourceLookup::Bad(error) => lines.push(Err(error.to_string())),
                SourceLookup::Unknown => {}
            }
        }
        Ok(lines)
    }

    /// Requests a run.
    pub(crate) async fn run(&self, name: &str) -> Result<()> {
        let (_, problem) = self.source(name).await?;
        if let Some(problem) = problem {
            bail!("{problem}");
        }
        if let Some(pause) = self.table.source(name).await?.pause {
            bail!("{name} is paused, by {}: resume it first", pause.by);
        }
        let now = Timestamp::now().as_millisecond();
        let requested = self.table.request_source(name, now).await;
        requested.context("cannot request a run")
    }

    /// Requests a run, waits until it is over, at most an hour, and returns it.
    pub(crate) async fn run_and_wait(&self, name: &str) -> Result<RunView> {
        // A run that is in progress started before.
        let next = self.table.source(name).await?.record.runs + 1;
        self.run(name).await?;
        let stop_at = Instant::now() + WITHIN;
        while Instant::now() < stop_at {
            sleep(POLL).await;
            let found = self.table.source_runs(name, next, next).await?;
            if let Some(run) = found.into_iter().next() {
                return Ok(run.into());
            }
        }
        bail!(
            "the run is not over after an hour; `landfall sources list` says what the source is doing"
        )
    }

    /// Returns the last runs that are over, newest first.
    pub(crate) async fn runs(&self, name: &str, limit: u64) -> Result<Vec<RunView>> {
        self.source(name).await?;
        let last = self.table.source(name).await?.record.last_ended();
        let first = last.saturating_sub(limit.min(MAX_RUNS) - 1).max(1);
        let runs = self.table.source_runs(name, first, last).await?;
        Ok(runs.into_iter().map(RunView::from).collect())
    }

    /// Pauses a source. Returns who has paused it.
    pub(crate) async fn pause(&self, name: &str, by: &str) -> Result<Pause> {
        self.source(name).await?;
        let paused = self.table.pause_source(name, by).await;
        paused.context("cannot pause the source")
    }

    /// Resumes a source.
    pub(crate) async fn resume(&self, name: &str) -> Result<()> {
        let resumed = self.table.resume_source(name).await;
        resumed.context("cannot resume the source")
    }

    async fn source(&self, name: &str) -> Result<(Box<Source>, Option<String>)> {
        match self.definitions.lookup(name, &self.datasets).await? {
            SourceLookup::Found(source, problem) => Ok((source, problem)),
            SourceLookup::Bad(error) => Err(error.into()),
            SourceLookup::Unknown => bail!("there is no source {name:?}"),
        }
    }
}

/// Describes a run in a line.
pub(crate) fn describe_run(run: &RunView) -> String {
    let mut parts = vec![
        format!("{}: {}", run.number, run.outcome.as_str()),
        format!("started {}", run.started_at),
        format!("{} requests", run.requests),
        format!("{} records", run.records),
    ];
    parts.extend(run.job.map(|job| format!("job {job}")));
    parts.extend(run.reason.clone());
    parts.join(", ")
}

fn describe(view: &SourceView) -> String {
    let mut parts = vec![
        format!("{}: dataset {}", view.name, view.dataset),
        view.definition.schedule.clone(),
        view.activity.as_str().to_owned(),
        match (&view.problem, &view.paused) {
            (Some(problem), _) => format!("does not run: {problem}"),
            (None, Some(pause)) => format!("paused by {} since {}", pause.by, pause.at),
            (None, None) => {
                let next = view.next_run_at.as_deref().unwrap_or("within a minute");
                format!("next run {next}")
            }
        },
    ];
    let last = view.last_run.as_ref();
    parts.extend(last.map(|run| format!("last run {}", describe_run(run))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use landfall_ledger::MemoryTable;
    use landfall_sources::{Outcome, Record};

    use super::*;

    const FEED: &str = "dataset = \"orders\"\nurl = \"https://a.example/\"\nevery = \"1 hour\"\n";

    async fn line(table: &MemoryTable, problem: Option<&str>) -> String {
        let source = Source::from_toml("feed", "feed.toml", FEED).unwrap();
        let problem = problem.map(str::to_owned);
        describe(&SourceView::read(table, &source, problem).await.unwrap())
    }

    #[tokio::test]
    async fn the_line_about_a_source_says_when_it_runs_and_how_its_last_run_ended() {
        let table = MemoryTable::default();
        let fresh = "feed: dataset orders, every 1 hour, waiting, next run within a minute";
        assert_eq!(line(&table, None).await, fresh);

        let source = Source::from_toml("feed", "feed.toml", FEED).unwrap();
        let started: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let mut record = Record::default();
        record.start(
            &source,
            started,
            "2026-11-20T09:00:00Z".parse().unwrap(),
            false,
        );
        let run = record.run.clone().unwrap();
        let entry = run.entry(&source, started, Outcome::Failed, Some("404".to_owned()));
        table.add_source_run("feed", &entry).await.unwrap();
        record.fail_walk(&source, started, true);
        table.save_source("feed", &record, 0).await.unwrap();
        assert_eq!(
            line(&table, None).await,
            "feed: dataset orders, every 1 hour, waiting, next run 2026-11-20T09:00:00Z, last run 1: failed, started \
             2026-11-20T08:00:00.000Z, 0 requests, 0 records, 404"
        );

        table.pause_source("feed", "ann").await.unwrap();
        let paused = line(&table, None).await;
        assert!(
            paused.contains("waiting, paused by ann since 2"),
            "{paused}"
        );
        let misfit = line(&table, Some("there is no dataset orders")).await;
        assert!(
            misfit.contains("does not run: there is no dataset orders"),
            "{misfit}"
        );
    }
}
