use std::sync::Arc;

use aws_lambda_events::event::s3::S3Event;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt, stream};
use landfall_aws::{AwsError, Lookup, MAX_BATCH, ObjectCreated, Objects, WorkMessage};
use landfall_domain::{
    ByteRange, ChunkMessage, Dataset, DatasetRef, Format, Mode, ObjectRef, Problem, ProblemCode,
    Reading, RejectsOrigin, Warning,
};
use landfall_formats::{
    CUTTING_RULES, Header, PlannedChunk, Scanner, check_size, detect, quoting_warning,
};
use landfall_ledger::{JobHead, Seal};
use tokio::sync::mpsc;
use tracing::{Instrument, error, error_span, info};

use crate::{Context, SplitError, fixed};

/// Size of one read of the object in bytes.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Concurrent reads of the object.
pub const SEGMENTS_AHEAD: usize = 4;
/// The approximate number of chunks from which on chunks grow with the object.
const MANY_CHUNKS: u64 = 1_000_000;
/// The maximum number of chunks of a job. Only an object with many records over the size limit has more, because
/// each of them is a chunk.
const MAX_CHUNKS: u32 = 4_000_000;
/// Batches of messages that are sent at the same time.
const BATCHES_AT_ONCE: usize = 8;

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
type Plan = Result<(Arc<Dataset>, DatasetRef), Problem>;

async fn split(context: &Context, created: &ObjectCreated) -> Result<(), SplitError> {
    let ledger = &context.ledger;
    let (head, plan) = match ledger.head(created.job).await? {
        Some(head) if head.chunks.is_some() => return enqueue_close(context, &head).await,
        Some(head) => resume(context, head).await?,
        None => start(context, created).await?,
    };
    let seal = match plan.and_then(|plan| check(&head).map(|()| plan)) {
        Err(problem) => Seal {
            chunks: 0,
            problem: Some(problem),
            warnings: Vec::new(),
        },
        Ok((dataset, reference)) => send_chunks(context, &head, &dataset, &reference).await?,
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
async fn start(context: &Context, created: &ObjectCreated) -> Result<(JobHead, Plan), SplitError> {
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
async fn resume(context: &Context, head: JobHead) -> Result<(JobHead, Plan), SplitError> {
    let Some(reference) = &head.dataset else {
        let problem = unknown_dataset(&head.object);
        return Ok((head, Err(problem)));
    };
    if head.rejects_of.is_none() && RejectsOrigin::is_key(&head.object.key) {
        let problem = fixed::unknown_job(&head.object);
        return Ok((head, Err(problem)));
    }
    let plan = match context.datasets.lookup(reference).await? {
        Lookup::Found(dataset, reference) => Ok((dataset, reference)),
        Lookup::Bad(error, _) => Err(Problem::new(ProblemCode::BadDataset, error.to_string())),
        Lookup::Unknown => return Err(SplitError::DefinitionGone(reference.name.clone())),
    };
    Ok((head, plan))
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

/// Reads the object, and sends the messages of its chunks meanwhile.
async fn send_chunks(
    context: &Context,
    head: &JobHead,
    dataset: &Dataset,
    reference: &DatasetRef,
) -> Result<Seal, SplitError> {
    let (sender, receiver) = mpsc::channel(MAX_BATCH * BATCHES_AT_ONCE);
    let planner = Planner {
        context,
        head,
        dataset,
        reference,
        header: None,
        warnings: Vec::new(),
        sender,
        chunks: 0,
    };
    let (planned, sent) = futures::join!(planner.run(), send_all(context, receiver));
    // If sending failed, planning stopped because of it.
    sent?;
    planned
}

async fn send_all(
    context: &Context,
    receiver: mpsc::Receiver<WorkMessage>,
) -> Result<(), SplitError> {
    stream::unfold(receiver, |mut receiver| async {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        (receiver.recv_many(&mut batch, MAX_BATCH).await > 0).then_some((batch, receiver))
    })
    .map(|batch| async move { context.queue.send(&batch).await })
    .buffer_unordered(BATCHES_AT_ONCE)
    .try_collect::<()>()
    .await
    .map_err(SplitError::from)
}

/// Why planning stops before the end of the object.
enum Stop {
    /// The object has a problem. The chunks before it remain.
    Problem(Problem),
    /// Something else failed. The next attempt starts over.
    Error(SplitError),
}

impl<E: Into<SplitError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Cuts an object into chunks and queues their messages for sending.
struct Planner<'a> {
    context: &'a Context,
    head: &'a JobHead,
    dataset: &'a Dataset,
    reference: &'a DatasetRef,
    header: Option<ByteRange>,
    warnings: Vec<Warning>,
    sender: mpsc::Sender<WorkMessage>,
    chunks: u32,
}

impl Planner<'_> {
    async fn run(mut self) -> Result<Seal, SplitError> {
        let problem = match self.plan().await {
            Ok(()) => None,
            Err(Stop::Problem(problem)) => Some(problem),
            Err(Stop::Error(error)) => return Err(error),
        };
        Ok(Seal {
            chunks: self.chunks,
            problem,
            warnings: self.warnings,
        })
    }

    /// Plans all chunks.
    async fn plan(&mut self) -> Result<(), Stop> {
        let object = &self.head.object;
        let mut segments = std::pin::pin!(segments(&*self.context.objects, object));
        let segment = or_gone(segments.next().await.transpose())?;
        // Only an empty object has no segment, and it is not planned.
        debug_assert!(segment.is_some(), "an object without segments");
        let mut segment = segment.unwrap_or_default();
        let reading = &match &self.head.rejects_of {
            None => detect(&object.key, &segment, self.dataset)?,
            Some(origin) => Reading {
                rejects_of: Some(origin.clone()),
                ..Reading::from(Format::Ndjson)
            },
        };
        let mut scanner = Scanner::new(self.dataset, reading, self.head.chunk_bytes);
        let (mut found, mut start) = (Vec::new(), 0);
        loop {
            let scanned = scanner.feed(&segment, &mut found);
            self.check_header(scanner.header(), reading, (start, &segment))
                .await?;
            self.enqueue(&mut found, reading).await?;
            scanned?;
            match or_gone(segments.next().await.transpose())? {
                Some(next) => {
                    start += segment.len() as u64;
                    segment = next;
                }
                None => break,
            }
        }
        let finished = scanner.finish(&mut found);
        let header = finished.as_ref().ok().and_then(|summary| summary.header);
        self.check_header(header, reading, (start, &segment))
            .await?;
        self.enqueue(&mut found, reading).await?;
        let summary = finished?;
        self.warnings
            .extend(quoting_warning(self.dataset, reading, summary.saw_quoted));
        Ok(summary.check()?)
    }

    /// Checks the header before the first chunk is sent. It nearly always lies in the segment that starts here.
    async fn check_header(
        &mut self,
        header: Option<ByteRange>,
        reading: &Reading,
        (start, segment): (u64, &[u8]),
    ) -> Result<(), Stop> {
        let (None, Some(range)) = (self.header, header) else {
            return Ok(());
        };
        let position = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let inside = position(range.start).zip(position(range.end));
        let inside = inside.and_then(|(start, end)| segment.get(start..end));
        let parsed = if let Some(bytes) = inside {
            Header::parse(bytes, self.dataset, reading)?
        } else {
            let bytes = self.context.objects.read(&self.head.object, range).await;
            Header::parse(&or_gone(bytes)?, self.dataset, reading)?
        };
        self.warnings.extend_from_slice(parsed.warnings());
        self.header = header;
        Ok(())
    }

    /// Queues the messages of the chunks that were found.
    async fn enqueue(
        &mut self,
        found: &mut Vec<PlannedChunk>,
        reading: &Reading,
    ) -> Result<(), Stop> {
        for chunk in found.drain(..) {
            if self.chunks == MAX_CHUNKS {
                let message = format!(
                    "the object has more than {MAX_CHUNKS} chunks: check whether most of its records are over the size limit"
                );
                return Err(Problem::new(ProblemCode::TooLarge, message).into());
            }
            let ledger = &self.context.ledger;
            if !ledger.expect_chunk(self.head.job, self.chunks).await? {
                let message = "the job was cancelled before the file was read to its end";
                return Err(Problem::new(ProblemCode::Cancelled, message).into());
            }
            let message = ChunkMessage {
                job: self.head.job,
                ordinal: self.chunks,
                object: self.head.object.clone(),
                dataset: self.reference.clone(),
                reading: reading.clone(),
                order: self.head.order,
                range: chunk.range,
                first_line: chunk.first_line,
                records: chunk.records,
                header: self.header,
                kind: chunk.kind,
            };
            self.sender
                .send(WorkMessage::Chunk(Box::new(message)))
                .await
                .map_err(|_| SplitError::QueueClosed)?;
            self.chunks += 1;
        }
        Ok(())
    }
}

/// Turns a missing object into a problem of the job.
fn or_gone<T>(result: Result<T, AwsError>) -> Result<T, Stop> {
    result.map_err(|error| match error {
        AwsError::Gone(_) => Problem::new(
            ProblemCode::ObjectGone,
            "the object was deleted or overwritten before it was read completely",
        )
        .into(),
        error => error.into(),
    })
}

fn segments<'a>(
    objects: &'a dyn Objects,
    object: &'a ObjectRef,
) -> impl Stream<Item = Result<Bytes, AwsError>> + 'a {
    stream::iter(0..object.size.div_ceil(SEGMENT_BYTES))
        .map(move |index| {
            let start = index * SEGMENT_BYTES;
            let end = (start + SEGMENT_BYTES).min(object.size);
            objects.read(object, ByteRange { start, end })
        })
        .buffered(SEGMENTS_AHEAD)
}
