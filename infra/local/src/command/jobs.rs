//! From dropped files to their completion events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use landfall_domain::{CompletionEvent, JobId};
use landfall_ledger::{DynamoTable, JobHead, Ledger, Publisher};
use landfall_local::{Event, Lines, Progress, Stack};

use super::files::Source;

/// Without any progress for so long, the functions' logs are shown.
const QUIET: Duration = Duration::from_secs(15);
/// Without any progress for so long, it is given up: a chunk comes back after 12 minutes at most.
const STALLED: Duration = Duration::from_mins(15);
const LOG_LINES: usize = 30;

/// A job that is closed.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its completion event.
    pub(crate) event: Event,
    /// From the start of the upload to the event.
    pub(crate) took: Duration,
}

/// Drops the files and waits for all of their completion events.
pub(crate) async fn take_in(
    stack: &Stack,
    sources: &[Source],
    progress: &Lines,
) -> Result<Vec<Job>> {
    let unsplit = unsplit(stack).await?;
    let mut open = HashMap::new();
    let mut order = Vec::with_capacity(sources.len());
    for source in sources {
        progress.doing(&format!("dropping {}", source.key));
        let start = Instant::now();
        let version = stack.put_file(&source.key, &source.path).await?;
        let job = JobId::of(&stack.outputs().inbox_bucket, &source.key, &version);
        open.insert(job, start);
        order.push(job);
    }
    progress.done();
    let mut closed = tokio::select! {
        closed = receive(stack, open) => closed?,
        stalled = watch(stack, &order, unsplit, progress) => return Err(stalled),
    };
    closed.sort_by_key(|job| {
        order
            .iter()
            .position(|other| *other == job.event.detail.job)
    });
    Ok(closed)
}

async fn receive(stack: &Stack, mut open: HashMap<JobId, Instant>) -> Result<Vec<Job>> {
    let mut closed = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let Some(event) = stack.next_event(Duration::from_secs(10)).await? else {
            continue;
        };
        // An event may come twice, and may be of a job that another dropped.
        if let Some(start) = open.remove(&event.detail.job) {
            let took = start.elapsed();
            closed.push(Job { event, took });
        }
    }
    Ok(closed)
}

/// Draws the progress of jobs; returns only with the reason why they will not end.
async fn watch(stack: &Stack, jobs: &[JobId], unsplit: u64, progress: &Lines) -> anyhow::Error {
    let bar = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
    let mut moved = Instant::now();
    let mut last = None;
    let mut told = false;
    loop {
        let seen = match taken(stack, jobs).await {
            Ok(seen) => seen,
            Err(error) => return error,
        };
        if last.as_ref() != Some(&seen) {
            (moved, told) = (Instant::now(), false);
        }
        seen.draw(&bar, progress);
        last = Some(seen);

        let stuck = match unsplit_beyond(stack, unsplit).await {
            Ok(true) => Some("the splitter could not take an object in three tries"),
            Ok(false) if moved.elapsed() > STALLED => Some("nothing has moved for 15 minutes"),
            Ok(false) => None,
            Err(error) => return error,
        };
        if stuck.is_some() || (moved.elapsed() > QUIET && !told) {
            told = true;
            let logs = match stack.function_logs(LOG_LINES).await {
                Ok(logs) => logs,
                Err(error) => return error,
            };
            if let Some(stuck) = stuck {
                return anyhow::anyhow!("{stuck}; the functions' last words:\n{logs}");
            }
            bar.suspend(|| {
                progress.note(&format!(
                    "nothing has moved for a while; the functions' last words:\n{logs}"
                ));
            });
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// What has been taken of all jobs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    chunks: u64,
    rows: u64,
    /// Once all jobs are sealed.
    planned: Option<u64>,
}

impl Taken {
    fn draw(&self, bar: &ProgressBar, progress: &Lines) {
        let Self {
            chunks,
            rows,
            planned,
        } = self;
        if bar.is_hidden() {
            let of = planned.map_or_else(String::new, |planned| format!(" of {planned}"));
            progress.doing(&format!("taking in: {chunks}{of} chunks, {rows} rows"));
            return;
        }
        if let Some(planned) = planned {
            bar.set_length(*planned);
        }
        let template = if planned.is_some() {
            "taking in {bar:30} {pos}/{len} chunks, {msg}"
        } else {
            "taking in {spinner} {pos} chunks, {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{rows} rows, {} s", bar.elapsed().as_secs()));
        bar.set_position(*chunks);
    }
}

async fn taken(stack: &Stack, jobs: &[JobId]) -> Result<Taken> {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    let ledger = Ledger::new(Arc::new(table), Arc::new(Reader), "");
    let mut all = Taken {
        planned: Some(0),
        ..Taken::default()
    };
    for job in jobs {
        let Some(head): Option<JobHead> = ledger.head(*job).await? else {
            all.planned = None;
            continue;
        };
        let progress = ledger.progress(&head).await?;
        all.chunks += u64::from(progress.taken());
        all.rows += progress.counts.rows;
        all.planned = all
            .planned
            .zip(head.chunks)
            .map(|(all, one)| all + u64::from(one));
    }
    Ok(all)
}

/// Whoever only reads the ledger closes no job.
struct Reader;

#[async_trait]
impl Publisher for Reader {
    async fn publish(&self, _event: &CompletionEvent) -> Result<(), String> {
        Err("a reader publishes nothing".to_owned())
    }
}

async fn unsplit_beyond(stack: &Stack, before: u64) -> Result<bool> {
    Ok(unsplit(stack).await? > before)
}

/// Objects that the splitter gave up.
async fn unsplit(stack: &Stack) -> Result<u64> {
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let answer = aws_sdk_sqs::Client::new(stack.sdk_config())
        .get_queue_attributes()
        .queue_url(&stack.outputs().splitter_dead_letter_queue_url)
        .attribute_names(name.clone())
        .send()
        .await
        .context("cannot ask for the splitter's dead-letter queue")?;
    match answer.attributes().and_then(|all| all.get(&name)) {
        Some(count) => Ok(count.parse()?),
        None => bail!("the splitter's dead-letter queue has no count"),
    }
}
