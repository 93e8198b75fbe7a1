//! Uploads files and waits for their completion events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::QueueAttributeName;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use landfall_domain::JobId;
use landfall_ledger::{DynamoTable, LedgerTable, Progress as JobProgress};
use landfall_local::{Event, Lines, Progress, Stack};

use super::files::Source;

/// After this time without progress, the functions' logs are shown.
const QUIET: Duration = Duration::from_secs(15);
/// After this time without progress, the wait fails. A chunk that fails is retried every minute at least.
const STALLED: Duration = Duration::from_mins(15);
const LOG_LINES: usize = 30;

/// A closed job.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its completion event.
    pub(crate) event: Event,
    /// Time from the start of the upload to the event.
    pub(crate) duration: Duration,
}

/// Uploads the files and waits for all their completion events.
pub(crate) async fn ingest(
    stack: &Stack,
    sources: &[Source],
    progress: &Lines,
) -> Result<Vec<Job>> {
    let dead_letters = dead_letters(stack).await?;
    let mut open = HashMap::new();
    let mut order = Vec::with_capacity(sources.len());
    for source in sources {
        progress.step(&format!("uploading {}", source.key));
        let start = Instant::now();
        let version = stack.put_file(&source.key, &source.path).await?;
        let job = JobId::for_object(&stack.outputs().inbox_bucket, &source.key, &version);
        open.insert(job, start);
        order.push(job);
    }
    progress.clear();
    let mut closed = tokio::select! {
        closed = receive(stack, open) => closed?,
        stuck = watch(stack, &order, dead_letters, progress) => match stuck? {},
    };
    closed.sort_by_key(|job| order.iter().position(|id| *id == job.event.detail.job));
    Ok(closed)
}

async fn receive(stack: &Stack, mut open: HashMap<JobId, Instant>) -> Result<Vec<Job>> {
    let mut closed = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let Some(event) = stack.next_event(Duration::from_secs(10)).await? else {
            continue;
        };
        // An event may arrive twice, and may belong to a file from elsewhere.
        if let Some(start) = open.remove(&event.detail.job) {
            let duration = start.elapsed();
            closed.push(Job { event, duration });
        }
    }
    Ok(closed)
}

/// Draws the progress of jobs. Fails if they are stuck.
async fn watch(
    stack: &Stack,
    jobs: &[JobId],
    dead_letters_before: u64,
    progress: &Lines,
) -> Result<Infallible> {
    let bar = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
    let mut moved_at = Instant::now();
    let mut last = None;
    let mut logs_shown = false;
    loop {
        let ingested = ingested(stack, jobs).await?;
        if last.as_ref() != Some(&ingested) {
            (moved_at, logs_shown) = (Instant::now(), false);
        }
        ingested.draw(&bar, progress);
        last = Some(ingested);

        let is_given_up = dead_letters(stack).await? > dead_letters_before;
        let is_stalled = moved_at.elapsed() > STALLED;
        let is_quiet = moved_at.elapsed() > QUIET && !logs_shown;
        if is_given_up || is_stalled || is_quiet {
            let logs = stack.function_logs(LOG_LINES).await?;
            let logs = format!("the functions' last log lines:\n{logs}");
            if is_given_up {
                bail!("the splitter failed three times to process an object; {logs}");
            }
            if is_stalled {
                bail!("no progress for 15 minutes; {logs}");
            }
            bar.suspend(|| progress.note(&format!("no progress for a while; {logs}")));
            logs_shown = true;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The progress of all jobs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ingested {
    chunks: u64,
    rows: u64,
    /// Known once all jobs are sealed.
    planned: Option<u64>,
}

impl Ingested {
    fn draw(&self, bar: &ProgressBar, progress: &Lines) {
        let Self {
            chunks,
            rows,
            planned,
        } = self;
        if bar.is_hidden() {
            let total = planned.map_or_else(String::new, |planned| format!(" of {planned}"));
            progress.step(&format!("ingesting: {chunks}{total} chunks, {rows} rows"));
            return;
        }
        if let Some(planned) = planned {
            bar.set_length(*planned);
        }
        let template = if planned.is_some() {
            "ingesting {bar:30} {pos}/{len} chunks, {msg}"
        } else {
            "ingesting {spinner} {pos} chunks, {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{rows} rows, {} s", bar.elapsed().as_secs()));
        bar.set_position(*chunks);
    }
}

async fn ingested(stack: &Stack, jobs: &[JobId]) -> Result<Ingested> {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    let mut all = Ingested {
        planned: Some(0),
        ..Ingested::default()
    };
    for job in jobs {
        let Some(head) = table.head(*job).await? else {
            all.planned = None;
            continue;
        };
        let progress = JobProgress::read(&table, &head).await?;
        all.chunks += u64::from(progress.processed());
        all.rows += progress.counts.rows;
        all.planned = all
            .planned
            .zip(head.chunks)
            .map(|(all, one)| all + u64::from(one));
    }
    Ok(all)
}

/// Returns the number of messages in the splitter's dead-letter queue.
async fn dead_letters(stack: &Stack) -> Result<u64> {
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let answer = aws_sdk_sqs::Client::new(stack.sdk_config())
        .get_queue_attributes()
        .queue_url(&stack.outputs().splitter_dead_letter_queue_url)
        .attribute_names(name.clone())
        .send()
        .await
        .context("cannot read the splitter's dead-letter queue")?;
    match answer.attributes().and_then(|all| all.get(&name)) {
        Some(count) => Ok(count.parse()?),
        None => bail!("the splitter's dead-letter queue reports no message count"),
    }
}
