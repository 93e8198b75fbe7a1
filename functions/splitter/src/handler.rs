use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::s3::S3Event;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures::TryFutureExt;
use landfall_aws::{AwsError, Lookup, ObjectCreated, SplitMessage, WorkMessage};
use landfall_domain::{
    ByteRange, Codec, Dataset, JobId, Mode, ObjectRef, Packed, Problem, ProblemCode, RejectsOrigin,
};
use landfall_formats::{CUTTING_RULES, check_place, check_size};
use landfall_ledger::{JobHead, LedgerError, Seal};
use landfall_runtime::{
    BatchLimits, Deadline, Message, Retryable, batch_response, keep_hidden, process_batch, put_back,
};
use tokio::time::Instant;
use tracing::{Instrument, Span, error, error_span, info};

use crate::plan::{Planned, plan};
use crate::{Context, SplitError, fixed, unknown};

/// Time that is reserved to send what was found, and to record how to continue.
const RESERVE: Duration = Duration::from_mins(1);
/// Time that is reserved for the response.
const RESPONSE_RESERVE: Duration = Duration::from_secs(5);
/// Seconds after which the message of a splitter that dies is delivered again.
const HIDDEN: i32 = 60;
/// The longest time in seconds until a message that failed is delivered again.
const LONGEST_DELAY: u32 = 60;

/// Processes an event of S3, or messages of the split queue. Returns the messages that must be redelivered.
pub async fn handle(
    context: &Context,
    event: serde_json::Value,
    deadline: Deadline,
) -> Result<SqsBatchResponse, SplitError> {
    let stop_at = deadline
        .stop_at(RESERVE)
        .min(Instant::now() + context.longest);
    if event["Records"][0]["eventSource"] == "aws:sqs" {
        let limits = BatchLimits {
            stop_at: deadline.stop_at(RESPONSE_RESERVE),
            // The memory of the function is that of one object.
            concurrency: 1,
        };
        return resume_all(context, serde_json::from_value(event)?, limits, stop_at).await;
    }
    if event["Event"] == "s3:TestEvent" {
        info!("S3 has enabled notifications");
    } else {
        split_all(context, serde_json::from_value(event)?, stop_at).await?;
    }
    Ok(SqsBatchResponse::default())
}

/// Processes every notification in an S3 event, even after one fails.
async fn split_all(context: &Context, event: S3Event, stop_at: Instant) -> Result<(), SplitError> {
    let mut outcome = Ok(());
    for record in event.records {
        let result = match ObjectCreated::try_from(record) {
            Ok(created) if created.object.is_marker() => {
                info!(key = created.object.key, "an empty marker is not ingested");
                Ok(())
            }
            Ok(created) => {
                // It has the level of errors, so that their lines have it, too.
                let span = error_span!("object", job = %created.job, key = created.object.key);
                let split = split(context, &created, stop_at);
                split.inspect_err(log_failure).instrument(span).await
            }
            Err(error) => Err(error.into()).inspect_err(log_failure),
        };
        if result.is_err() {
            outcome = result;
        }
    }
    outcome
}

fn log_failure(error: &SplitError) {
    let retryable = error.retryable();
    error!(%error, retryable, "a notification could not be processed");
}

/// Continues the jobs that the messages name.
async fn resume_all(
    context: &Context,
    event: SqsEvent,
    limits: BatchLimits,
    stop_at: Instant,
) -> Result<SqsBatchResponse, SplitError> {
    let visibility = &*context.visibility;
    let failed = process_batch(event, limits, span_of, async |messages: &[Message]| {
        for message in messages {
            let SplitMessage::Resume { job } = serde_json::from_str(&message.body)?;
            visibility
                .change(&[(message.receipt.clone(), HIDDEN)])
                .await?;
            let work = Box::pin(resume(context, job, stop_at));
            keep_hidden(visibility, message, work).await?;
        }
        Ok::<_, SplitError>(())
    });
    let failed = failed.await;
    put_back(visibility, &failed, LONGEST_DELAY).await;
    Ok(batch_response(failed))
}

/// Returns the span of the log lines about a message. It has the level of errors, so that their lines have it, too.
fn span_of(messages: &[Message]) -> Span {
    let first = messages.first();
    match first.map(|message| serde_json::from_str(&message.body)) {
        Some(Ok(SplitMessage::Resume { job })) => error_span!("object", %job),
        _ => Span::none(),
    }
}

/// The definition to plan a job with, or why the job has no chunks.
type Plannable = Result<Arc<Dataset>, Problem>;

async fn split(
    context: &Context,
    created: &ObjectCreated,
    stop_at: Instant,
) -> Result<(), SplitError> {
    let (head, is_new) = match context.ledger.head(created.job).await? {
        Some(head) => (head, false),
        None => start(context, created).await?,
    };
    proceed(context, head, is_new, stop_at).await
}

/// Continues a job whose object is not read to its end.
async fn resume(context: &Context, job: JobId, stop_at: Instant) -> Result<(), SplitError> {
    let head = context.ledger.head(job).await?;
    let head = head.ok_or_else(|| LedgerError::Missing(format!("job {job}")))?;
    proceed(context, head, false, stop_at).await
}

/// Plans the chunks of a job that are not planned yet, and seals it after the last. A new job has no checkpoint.
async fn proceed(
    context: &Context,
    head: JobHead,
    is_new: bool,
    stop_at: Instant,
) -> Result<(), SplitError> {
    if head.chunks.is_some() {
        return enqueue_close(context, &head).await;
    }
    let plannable = plannable(context, &head).await?;
    let seal = match plannable.and_then(|dataset| check(&head, &dataset).map(|()| dataset)) {
        Err(problem) => Seal {
            chunks: 0,
            problem: Some(problem),
            warnings: Vec::new(),
        },
        Ok(dataset) => match plan(context, &head, &dataset, is_new, stop_at).await? {
            Planned::Completely(seal) => seal,
            Planned::Partly => {
                info!("no time is left, so another invocation continues");
                return Ok(context.splits.resume(head.job).await?);
            }
            Planned::Overtaken => {
                info!("another splitter is ahead and continues");
                return Ok(());
            }
        },
    };
    // Only the code: messages quote the file.
    let problem = seal.problem.as_ref().map(|problem| problem.code);
    info!(chunks = seal.chunks, ?problem, "sealed");
    let head = context.ledger.seal(head.job, &seal).await?;
    enqueue_close(context, &head).await
}

/// Sends a close message for a job that awaits its close.
async fn enqueue_close(context: &Context, head: &JobHead) -> Result<(), SplitError> {
    if head.awaits_close() {
        let message = WorkMessage::Close { job: head.job };
        context.queue.send(&[message]).await?;
    }
    Ok(())
}

/// Starts a job with the latest definition. Returns whether this call has created it.
async fn start(context: &Context, created: &ObjectCreated) -> Result<(JobHead, bool), SplitError> {
    let object = &created.object;
    let latest = async || match object.dataset_name() {
        Some(name) => context.datasets.latest(name).await,
        None => Ok(Lookup::Unknown),
    };
    let (mut lookup, codec) = futures::try_join!(latest(), codec_of(context, object))?;
    if matches!(lookup, Lookup::Unknown) {
        unknown::define(context, object, codec).await?;
        lookup = latest().await?;
    }
    let mut head = JobHead::new(created.job, object.clone(), created.order);
    head.packed = codec.map(|codec| Packed {
        codec,
        job: created.job,
        part_bytes: context.segment_bytes,
    });
    head.chunk_bytes = context.chunk_bytes;
    head.cutting_rules = CUTTING_RULES;
    if let Lookup::Found(_, reference) | Lookup::Bad(_, reference) = &lookup {
        head.dataset = Some(reference.clone());
    }
    if let Lookup::Found(dataset, _) = &lookup {
        head.reject_limits = dataset.limits.rejects;
        head.mode = dataset.mode;
    }
    if let Some(first) = fixed::first_job(context, object).await? {
        // The rows have the versions of the records that they replace.
        head.order = first.order;
        head.rejects_of = Some(first.as_origin());
        // Fixed rejects are a part of a snapshot, so they delete nothing.
        if head.mode == Mode::Snapshot {
            head.mode = Mode::Upsert;
        }
    }
    // Another notification of the object may have been faster, and may have pinned another definition.
    let started = context.ledger.start(&head).await?;
    // The time of the creation differs between two. Were it the same, both would read the object from its start.
    let is_new = started == head;
    Ok((started, is_new))
}

/// Returns how an object is compressed, by its first bytes. One that no longer exists is not: its job will find out.
async fn codec_of(context: &Context, object: &ObjectRef) -> Result<Option<Codec>, AwsError> {
    let start = ByteRange {
        start: 0,
        end: object.size.min(Codec::MAGIC_BYTES as u64),
    };
    match context.objects.read(object, start).await {
        Ok(start) => Ok(Codec::of(&start)),
        Err(AwsError::Gone(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the definition that the job has pinned.
async fn plannable(context: &Context, head: &JobHead) -> Result<Plannable, SplitError> {
    let Some(reference) = &head.dataset else {
        let problem = unknown::problem(context, head).await?;
        return Ok(Err(problem));
    };
    if head.rejects_of.is_none() && RejectsOrigin::is_key(&head.object.key) {
        let problem = fixed::unknown_job(&head.object);
        return Ok(Err(problem));
    }
    Ok(match context.datasets.lookup(reference).await? {
        Lookup::Found(dataset, _) => Ok(dataset),
        Lookup::Bad(error, _) => Err(Problem::new(ProblemCode::BadDataset, error.to_string())),
        Lookup::Unknown => return Err(SplitError::DefinitionGone(reference.name.clone())),
    })
}

/// Checks what is known of an object before it is read.
fn check(head: &JobHead, dataset: &Dataset) -> Result<(), Problem> {
    check_size(head.object.size, head.chunk_bytes)?;
    check_place(dataset, &head.object.key)?;
    if head.cutting_rules != CUTTING_RULES {
        return Err(other_release());
    }
    Ok(())
}

/// Returns the problem of a job that this release cannot continue.
pub(crate) fn other_release() -> Problem {
    Problem::new(
        ProblemCode::OtherRelease,
        "the job was started by another release of Landfall and cannot be continued: upload the file again",
    )
}
