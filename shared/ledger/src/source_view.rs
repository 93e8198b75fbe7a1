//! Sources and their runs as clients see them: in responses of the HTTP API, and on the command line.

use jiff::Timestamp;
use landfall_domain::JobId;
use landfall_sources::{Activity, Outcome, RunEntry, Source};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Pause, SourceTable};

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = SourceStatus))]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// The dataset that gets the records.
    pub dataset: String,
    /// What its definition says, without headers, parameters and bodies.
    pub definition: SourceDefinition,
    /// Why it does not run: its dataset cannot get its records.
    pub problem: Option<String>,
    /// Who has paused it, and when: no run starts until it is resumed.
    pub paused: Option<Pause>,
    /// What it is doing.
    pub activity: Activity,
    /// When its next run is due; RFC 3339. `null`: within a minute, because there was none yet, or somebody has
    /// requested it.
    pub next_run_at: Option<String>,
    /// The run that is not over.
    pub current_run: Option<CurrentRun>,
    /// The last run that is over, for 30 days.
    pub last_run: Option<RunView>,
}

/// What the definition of a source says, without headers, parameters and bodies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceDefinition {
    /// Where records are fetched.
    pub url: String,
    /// The method of the requests.
    pub method: String,
    /// When it is due: `every 10 minutes`, or a cron expression and its time zone, `30 8 * * 1-5 in Europe/Berlin`.
    pub schedule: String,
    /// What leads to the next page: `none`, `page`, `offset`, `cursor`, `next_url`, `link` or `keyset`.
    pub paging: String,
    /// Whether a run fetches only what has changed.
    pub incremental: bool,
    /// Whether a run fetches all records that there are, so that vanished ones are deleted.
    pub complete: bool,
    /// The names of the secrets that it uses.
    pub secrets: Vec<String>,
}

/// A run that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CurrentRun {
    /// Its number, from 1.
    pub number: u64,
    /// When it started; RFC 3339.
    pub started_at: String,
    /// The number of walks over the pages that were started.
    pub walks: u32,
    /// When the next walk may start, after one that failed, or go on, after a pause that a server asks for; RFC 3339.
    pub retry_at: Option<String>,
    /// Why it has to wait until then.
    pub retry_reason: Option<String>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Run))]
pub struct RunView {
    /// Its number, from 1.
    pub number: u64,
    /// When it started; RFC 3339.
    pub started_at: String,
    /// When it was found to be over; RFC 3339.
    pub ended_at: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub reason: Option<String>,
    /// Whether it read everything, though the source is incremental.
    pub full: bool,
    /// The number of walks over the pages that were started.
    pub walks: u32,
    /// The number of requests that were sent.
    pub requests: u64,
    /// The number of pages that the last walk read.
    pub pages: u64,
    /// The number of their records; 0 if answers are stored as they arrive.
    pub records: u64,
    /// The number of bytes in all its answers.
    pub bytes: u64,
    /// The key of the object with the records, if there were any.
    pub object: Option<String>,
    /// The job of the object.
    pub job: Option<JobId>,
}

impl SourceView {
    /// Reads what is recorded about a source. `problem` says why its dataset cannot get its records.
    pub async fn read(
        table: &dyn SourceTable,
        source: &Source,
        problem: Option<String>,
    ) -> Result<Self, LedgerError> {
        let stored = table.source(&source.name).await?;
        let record = &stored.record;
        let last = record.last_ended();
        let runs = table.source_runs(&source.name, last.max(1), last).await?;
        let requested = stored.requested_at;
        let requested = requested.and_then(|at| Timestamp::from_millisecond(at).ok());
        Ok(Self {
            name: source.name.clone(),
            dataset: source.dataset.clone(),
            definition: SourceDefinition::new(source),
            problem,
            activity: record.activity(Timestamp::now()),
            next_run_at: record.next_run(source, requested).map(|at| at.to_string()),
            current_run: record.run.as_ref().map(|run| CurrentRun {
                number: run.number,
                started_at: shown(run.started),
                walks: run.walks,
                retry_at: run.retry_at.map(shown),
                retry_reason: run.retry_reason.clone(),
            }),
            last_run: runs.into_iter().next().map(RunView::from),
            paused: stored.pause,
        })
    }
}

impl SourceDefinition {
    fn new(source: &Source) -> Self {
        Self {
            url: source.shown_url(),
            method: source.method.to_string(),
            schedule: source.schedule.to_string(),
            paging: source.paging.kind.as_str().to_owned(),
            incremental: source.incremental.is_some(),
            complete: source.complete,
            secrets: source.secrets(),
        }
    }
}

/// Writes a time with milliseconds.
fn shown(at: Timestamp) -> String {
    format!("{at:.3}")
}

impl From<RunEntry> for RunView {
    fn from(run: RunEntry) -> Self {
        Self {
            number: run.number,
            started_at: shown(run.started),
            ended_at: shown(run.ended),
            outcome: run.outcome,
            reason: run.reason,
            full: run.is_full,
            walks: run.walks,
            requests: run.requests,
            pages: run.progress.pages,
            records: run.progress.records,
            bytes: run.progress.bytes,
            object: run.object,
            job: run.job,
        }
    }
}
