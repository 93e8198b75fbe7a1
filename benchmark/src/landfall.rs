//! Landfall itself: from the upload of a file to its completion event, through the deployed functions.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use landfall_domain::{CompletionEvent, JobId, JobState};
use landfall_local::{Build, Event, Lines, Progress, Sql, Stack, StackOptions, Stores, workers};

use crate::data::{Content, Sample};
use crate::profile::{CpuUsage, wait_until_idle};
use crate::result::Run;
use crate::tables;

/// How long to wait for a completion event.
const TIMEOUT: Duration = Duration::from_mins(30);
/// Rows of two full chunks per worker, so that every worker is warm.
const WARM_UP_ROWS: u64 = 200_000;
const LOG_LINES: usize = 40;

/// Like `infra/datasets/products.toml`, but without totals, which the floors do not maintain either.
const FIELDS: &str = r#"
key = ["sku"]

[[fields]]
name = "sku"
type = "text"

[[fields]]
name = "name"
type = "text"
required = true

[[fields]]
name = "description"
type = "text"

[operation]
column = "op"
"#;

/// A stack with warm functions.
#[derive(Debug)]
pub(crate) struct Landfall {
    pub(crate) stack: Stack,
}

impl Landfall {
    /// Starts a stack and warms up its functions.
    pub(crate) async fn start(stores: Stores, sql: Sql, progress: &Lines) -> Result<Self> {
        let options = StackOptions {
            stores,
            sql,
            build: Build::Release,
            ..StackOptions::default()
        };
        let landfall = Self {
            stack: Stack::start(options, progress).await?,
        };
        progress.step("warming up");
        let sample = Sample::make(
            &landfall.stack.scratch()?,
            WARM_UP_ROWS * workers() as u64,
            1,
        )?;
        landfall.dataset("warm_up").await?;
        landfall.ingest("warm_up", &sample, sample.keyed).await?;
        landfall.drop_tables("warm_up").await?;
        Ok(landfall)
    }

    /// Defines a dataset of products with this name, so that each run has its own table.
    pub(crate) async fn dataset(&self, name: &str) -> Result<()> {
        let definition = format!("name = \"{name}\"{FIELDS}");
        self.stack.put_dataset(name, &definition).await
    }

    /// Uploads the file, waits for its completion event, and checks the content of the stores.
    pub(crate) async fn ingest(
        &self,
        dataset: &str,
        sample: &Sample,
        content: Content,
    ) -> Result<Run> {
        wait_until_idle().await;
        let before = CpuUsage::now();
        let (run, event) = self.put(dataset, &sample.file).await?;
        let run = Run {
            cpu_seconds: CpuUsage::now().since(&before),
            ..run
        };
        ensure!(
            event.counts.rows == sample.rows
                && event.counts.rows - event.counts.rejected == sample.good,
            "{} of {} rows were rejected; {} rows should have been accepted",
            event.counts.rejected,
            event.counts.rows,
            sample.good
        );
        for store in self.tables() {
            content.check(store.content(dataset).await?, dataset)?;
        }
        Ok(run)
    }

    /// Uploads the file and waits for its completion event.
    pub(crate) async fn put(&self, dataset: &str, file: &Path) -> Result<(Run, CompletionEvent)> {
        let key = format!("{dataset}/products.csv");
        let (start, put_at) = (Instant::now(), SystemTime::now());
        let version = self.stack.put_file(&key, file).await?;
        let put = start.elapsed();
        let inbox = &self.stack.outputs().inbox_bucket;
        let job = JobId::for_object(inbox, &key, &version);
        let event = self.event(&key, |detail| detail.job == job).await?;
        let run = Run {
            seconds: seconds_between(put_at, event.sent)?,
            put_seconds: Some(put.as_secs_f64()),
            ..Run::default()
        };
        let event = event.detail;
        if event.state != JobState::Succeeded {
            let problem = event.problem.map_or_else(String::new, |it| it.message);
            bail!("{key} ended as {}: {problem}", event.state.as_str());
        }
        // The endpoint keeps objects in memory.
        self.stack
            .s3()
            .delete_object()
            .bucket(inbox)
            .key(&key)
            .version_id(version)
            .send()
            .await
            .with_context(|| format!("cannot delete {key}"))?;
        Ok((run, event))
    }

    /// Waits for the completion event of the only job of a dataset.
    pub(crate) async fn completion(&self, dataset: &str) -> Result<Event> {
        let is_of = |detail: &CompletionEvent| detail.dataset.as_deref() == Some(dataset);
        self.event(dataset, is_of).await
    }

    async fn event(&self, what: &str, is_it: impl Fn(&CompletionEvent) -> bool) -> Result<Event> {
        let start = Instant::now();
        loop {
            let left = TIMEOUT.saturating_sub(start.elapsed());
            match self.stack.next_event(left).await? {
                Some(event) if is_it(&event.detail) => return Ok(event),
                Some(_) => {}
                None => bail!(
                    "{what} had not closed after {} s; the functions' last log lines:\n{}",
                    TIMEOUT.as_secs(),
                    self.stack.function_logs(LOG_LINES).await?
                ),
            }
        }
    }

    /// Removes a dataset from the stores.
    pub(crate) async fn drop_tables(&self, dataset: &str) -> Result<()> {
        for store in self.tables() {
            store.remove(dataset).await?;
        }
        Ok(())
    }

    fn tables(&self) -> Vec<tables::Database<'_>> {
        [self.stack.mongodb_uri(), self.stack.sql_url()]
            .into_iter()
            .filter(|address| !address.is_empty())
            .map(tables::Database::at)
            .collect()
    }
}

/// Returns the seconds between two times of the system clock.
pub(crate) fn seconds_between(start: SystemTime, end: SystemTime) -> Result<f64> {
    let took = end.duration_since(start);
    Ok(took.context("the clock was set back")?.as_secs_f64())
}
