//! Open jobs: which of them make no progress, and what is done about it.

use jiff::Timestamp;
use landfall_aws::{MAX_BATCH, WorkMessage};
use landfall_domain::{DeadChunk, DeadCode, Problem, ProblemCode};
use landfall_ledger::{ChunkOutcome, JobHead, JobsCursor, Seal, Shard};
use landfall_runtime::Metric;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::decision::{ChunksDecision, Decision, Finish, decide, decide_chunks};
use crate::report::Report;
use crate::{Context, JanitorError};

/// The name of the cursor.
const TASK: &str = "open_jobs";
/// Jobs that are read at once.
const PAGE: usize = 100;
/// The maximum number of jobs in a run.
const MAX_JOBS: usize = 500;
/// The maximum number of chunks in a run whose messages are sent again, or that are given up.
const MAX_CHUNKS: usize = 5_000;

/// Looks at open jobs, from where the last run ended.
pub(crate) async fn sweep(
    context: &Context,
    report: &mut Report,
    stop_at: Instant,
) -> Result<(), JanitorError> {
    write_metrics(context).await?;
    let saved = context.cursors.cursor(TASK).await?;
    let mut after = parse(saved.as_deref())?;
    let mut jobs = 0;
    let mut room = MAX_CHUNKS;
    loop {
        let page = context.index.open_jobs(after.as_ref(), PAGE).await?;
        jobs += page.heads.len();
        for head in page.heads {
            report.open += 1;
            let job = head.job;
            if let Err(error) = repair(context, head, report, &mut room).await {
                report.failed += 1;
                error!(%job, %error, "a job could not be repaired");
            }
        }
        after = page.next;
        if after.is_none() || jobs >= MAX_JOBS || Instant::now() >= stop_at {
            break;
        }
    }
    let position = serialize(after.as_ref())?;
    if saved.unwrap_or_default() != position {
        context.cursors.save_cursor(TASK, &position).await?;
    }
    Ok(())
}

/// Writes the age of the oldest open job, 0 if there is none.
async fn write_metrics(context: &Context) -> Result<(), JanitorError> {
    let oldest = context.index.open_jobs(None, 1).await?;
    let created_at = oldest.heads.first().map(|head| head.created_at.parse());
    let now = Timestamp::now();
    let created_at = created_at.and_then(Result::ok).unwrap_or(now);
    let age = now.duration_since(created_at).unsigned_abs();
    let metric = Metric::OldestOpenJobSeconds(age);
    context.metrics.write(None, None, &[metric]);
    Ok(())
}

/// Does what has to be done for a job.
async fn repair(
    context: &Context,
    head: JobHead,
    report: &mut Report,
    room: &mut usize,
) -> Result<(), JanitorError> {
    let (job, ledger) = (head.job, &context.ledger);
    let read = match head.chunks {
        None => ledger.checkpoint(job).await?,
        Some(_) => None,
    };
    let read = read.map(|checkpoint| checkpoint.recorded_at);
    match decide(&head, read.as_deref(), context.patience, Timestamp::now()) {
        Decision::Wait => {}
        Decision::Split(attempt) => {
            if ledger.begin_repair(&head, attempt, None).await? {
                info!(%job, attempt, "the job is not sealed: the splitter is run again");
                context.splits.resume(job).await?;
                report.split += 1;
            }
        }
        Decision::FailSplit => {
            if context.splits_backlog.is_empty().await? {
                error!(%job, reason = head.split_error, "the job cannot be split");
                fail_split(context, &head).await?;
                report.given_up += 1;
            }
        }
        Decision::Redrive(attempt) => {
            if ledger.begin_repair(&head, attempt, None).await? {
                info!(%job, attempt, "dead chunks are not sent again: a message is");
                let message = WorkMessage::Redrive {
                    job,
                    attempt: head.attempt,
                    shard: 0,
                };
                context.queue.send(&[message]).await?;
                report.resent += 1;
            }
        }
        Decision::ReadShards => repair_chunks(context, &head, report, room).await?,
        Decision::Finish(what) => finish(context, &head, what, report).await?,
    }
    Ok(())
}

/// Has a job closed that is complete, or published.
async fn finish(
    context: &Context,
    head: &JobHead,
    what: Finish,
    report: &mut Report,
) -> Result<(), JanitorError> {
    let (job, ledger) = (head.job, &context.ledger);
    match what {
        Finish::Wait => {}
        Finish::Close(attempt) => {
            if ledger.begin_repair(head, attempt, None).await? {
                info!(%job, attempt, "the job is complete, but not finished: a close message is sent");
                close(context, head).await?;
                report.closes += 1;
            }
        }
        Finish::Fail(attempt) => {
            // A close message waits while a store is down.
            if context.backlog.is_empty().await? && ledger.begin_repair(head, attempt, None).await?
            {
                error!(%job, "the job cannot be closed as it is: it fails");
                let problem = Problem::new(
                    ProblemCode::CloseFailed,
                    "every attempt to delete the rows that this snapshot lacks failed, so some of them may still be \
                     there; its own rows are in the stores: see the worker's log, and upload the file again",
                );
                ledger.add_problem(job, problem).await?;
                close(context, head).await?;
                report.given_up += 1;
            }
        }
    }
    Ok(())
}

/// Seals a job as failed with the chunks that are planned.
pub(crate) async fn fail_split(context: &Context, head: &JobHead) -> Result<(), JanitorError> {
    let reason = head.split_error.as_deref();
    let message = format!(
        "the file could not be split into chunks in any attempt, so rows are missing: {}; upload the file again",
        reason.unwrap_or("the splitter ended without an error, which is in its log")
    );
    let seal = Seal {
        chunks: context.ledger.planned(head.job).await?,
        problem: Some(Problem::new(ProblemCode::SplitFailed, message)),
        warnings: Vec::new(),
    };
    let head = context.ledger.seal(head.job, &seal).await?;
    if head.awaits_close() {
        close(context, &head).await?;
    }
    Ok(())
}

async fn repair_chunks(
    context: &Context,
    head: &JobHead,
    report: &mut Report,
    room: &mut usize,
) -> Result<(), JanitorError> {
    let (job, ledger) = (head.job, &context.ledger);
    let unfinished = ledger.unfinished_shards(head).await?;
    let idle = context.backlog.is_empty().await?;
    let now = Timestamp::now();
    let missing = unfinished.shards.iter().flat_map(Shard::missing);
    let missing = missing.take(*room);
    match decide_chunks(head, &unfinished, idle, context.patience, now) {
        ChunksDecision::Probe(chunk, attempt) if *room > 0 => {
            if ledger.begin_repair(head, attempt, Some(chunk)).await? {
                info!(%job, attempt, chunk, "no chunk was marked for a while: the message of one is sent again");
                *room -= 1;
                report.resent += send(context, head, &[chunk]).await?;
            }
        }
        ChunksDecision::SendAll(attempt) if *room > 0 => {
            if ledger.begin_repair(head, attempt, None).await? {
                let missing: Vec<u32> = missing.collect();
                warn!(%job, attempt, chunks = missing.len(), "messages were lost: they are sent again");
                *room -= missing.len();
                report.resent += send(context, head, &missing).await?;
            }
        }
        ChunksDecision::GiveUp if *room > 0 => {
            let missing: Vec<u32> = missing.collect();
            error!(%job, chunks = missing.len(), "chunks were not marked after any attempt: they are dead");
            *room -= missing.len();
            report.dead += give_up(context, head, &missing).await?;
        }
        ChunksDecision::Finish(what) => finish(context, head, what, report).await?,
        // Or the run has sent enough.
        ChunksDecision::Wait
        | ChunksDecision::Probe(..)
        | ChunksDecision::SendAll(_)
        | ChunksDecision::GiveUp => {}
    }
    Ok(())
}

/// Sends the messages of chunks again. Returns their number.
async fn send(context: &Context, head: &JobHead, chunks: &[u32]) -> Result<usize, JanitorError> {
    let messages = context.ledger.planned_chunks(head, chunks).await?;
    let messages = messages.into_iter().map(Box::new).map(WorkMessage::Chunk);
    let messages: Vec<WorkMessage> = messages.collect();
    for batch in messages.chunks(MAX_BATCH) {
        context.queue.send(batch).await?;
    }
    Ok(messages.len())
}

/// Marks chunks dead whose messages were sent again and again. Returns their number.
async fn give_up(context: &Context, head: &JobHead, chunks: &[u32]) -> Result<usize, JanitorError> {
    let mut to_close = None;
    for chunk in context.ledger.planned_chunks(head, chunks).await? {
        let reason =
            "no worker has marked the chunk, although its message was sent again and again";
        let dead = DeadChunk::new(&chunk, DeadCode::Lost, reason);
        let outcome = ChunkOutcome::Dead(dead);
        let mark = context.ledger.mark_chunk(head.job, chunk.ordinal, &outcome);
        to_close = mark.await?.to_close.or(to_close);
    }
    if let Some(head) = to_close {
        close(context, &head).await?;
    }
    Ok(chunks.len())
}

/// Sends a close message: only workers close jobs.
pub(crate) async fn close(context: &Context, head: &JobHead) -> Result<(), JanitorError> {
    let message = WorkMessage::Close { job: head.job };
    Ok(context.queue.send(&[message]).await?)
}

fn parse(position: Option<&str>) -> Result<Option<JobsCursor>, JanitorError> {
    let position = position.filter(|position| !position.is_empty());
    let position = position.map(serde_json::from_str).transpose();
    position.map_err(|source| JanitorError::Cursor { task: TASK, source })
}

/// Returns the text to save: empty to begin with the oldest job.
fn serialize(position: Option<&JobsCursor>) -> Result<String, JanitorError> {
    let position = position.map(serde_json::to_string).transpose();
    let position = position.map_err(|source| JanitorError::Cursor { task: TASK, source })?;
    Ok(position.unwrap_or_default())
}
