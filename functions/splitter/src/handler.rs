use std::sync::Arc;

use aws_lambda_events::event::s3::S3Event;
use futures::TryFutureExt;
use landfall_aws::{Lookup, ObjectCreated, WorkMessage};
use landfall_domain::{Dataset, Mode, ObjectRef, Problem, ProblemCode, RejectsOrigin};
use landfall_formats::{CUTTING_RULES, check_size};
use landfall_ledger::{JobHead, Seal};
use tracing::{Instrument, error, error_span, info};

use crate::plan::plan;
use crate::{Context, SplitError, fixed};

/// The approximate number of chunks from which on chunks grow with the object.
const MANY_CHUNKS: u64 = 1_000_000;

/// Processes every notification in an S3 event, even after one fails.
pub async fn handle(context: &Context, event: serde_json::Value) -> Result<(), SplitError> {
    if event["Event"] == "s3:TestEvent" {
        info!("S3 has enabled notifications");
        return Ok(());
    }
    let event: S3Event = serde_json::from_value(event)?;
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
                let split = split(context, &created);
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

/// The definition to plan a job with, or why the job has no chunks.
type Plannable = Result<Arc<Dataset>, Problem>;

async fn split(context: &Context, created: &ObjectCreated) -> Result<(), SplitError> {
    let ledger = &context.ledger;
    let (head, plannable) = match ledger.head(created.job).await? {
        Some(head) if head.chunks.is_some() => return enqueue_close(context, &head).await,
        Some(head) => resume(context, head).await?,
        None => start(context, created).await?,
    };
    let seal = match plannable.and_then(|dataset| check(&head).map(|()| dataset)) {
        Err(problem) => Seal {
            chunks: 0,
            problem: Some(problem),
            warnings: Vec::new(),
        },
        Ok(dataset) => plan(context, &head, &dataset).await?,
    };
    // Only the code: messages quote the file.
    let problem = seal.problem.as_ref().map(|problem| problem.code);
    info!(chunks = seal.chunks, ?problem, "sealed");
    let head = ledger.seal(head.job, &seal).await?;
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

/// Starts a job with the latest definition.
async fn start(
    context: &Context,
    created: &ObjectCreated,
) -> Result<(JobHead, Plannable), SplitError> {
    let object = &created.object;
    let lookup = match object.dataset_name() {
        Some(name) => context.datasets.latest(name).await?,
        None => Lookup::Unknown,
    };
    let mut head = JobHead::new(created.job, object.clone(), created.order);
    head.chunk_bytes = context.chunk_bytes.max(object.size / MANY_CHUNKS);
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
        head.rejects_of = Some(RejectsOrigin {
            job: first.job,
            object: first.object,
        });
        // Fixed rejects are a part of a snapshot, so they delete nothing.
        if head.mode == Mode::Snapshot {
            head.mode = Mode::Upsert;
        }
    }
    let head = context.ledger.start(&head).await?;
    // Another notification of the object may have been faster, and may have pinned another definition.
    resume(context, head).await
}

/// Returns the plan that an earlier notification of the object has pinned.
async fn resume(context: &Context, head: JobHead) -> Result<(JobHead, Plannable), SplitError> {
    let Some(reference) = &head.dataset else {
        let problem = unknown_dataset(&head.object);
        return Ok((head, Err(problem)));
    };
    if head.rejects_of.is_none() && RejectsOrigin::is_key(&head.object.key) {
        let problem = fixed::unknown_job(&head.object);
        return Ok((head, Err(problem)));
    }
    let plannable = match context.datasets.lookup(reference).await? {
        Lookup::Found(dataset, _) => Ok(dataset),
        Lookup::Bad(error, _) => Err(Problem::new(ProblemCode::BadDataset, error.to_string())),
        Lookup::Unknown => return Err(SplitError::DefinitionGone(reference.name.clone())),
    };
    Ok((head, plannable))
}

/// Checks what is known of an object before it is read.
fn check(head: &JobHead) -> Result<(), Problem> {
    check_size(head.object.size)?;
    if head.cutting_rules != CUTTING_RULES {
        return Err(Problem::new(
            ProblemCode::OtherRelease,
            "the job was started by another release of Landfall and cannot be continued: upload the file again",
        ));
    }
    Ok(())
}

fn unknown_dataset(object: &ObjectRef) -> Problem {
    let message = match object.dataset_name() {
        Some(name) => format!(
            "dataset {name:?} is not defined: store its definition in the configuration bucket as \
             datasets/{name}.toml, then upload the file again"
        ),
        None => "the key names no dataset: upload files as <dataset>/<file name>".to_owned(),
    };
    Problem::new(ProblemCode::UnknownDataset, message)
}
