use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, stream};
use landfall_aws::{AwsError, Datasets, Lookup};
use landfall_domain::{
    ChunkKind, ChunkMessage, Counts, Dataset, DatasetRef, MAX_RAW_BYTES, Problem, ProblemCode,
    Reject, RejectsLocation, StoreCounts, StoreKind, WorkMessage, latest_by_key,
};
use landfall_formats::{Decoded, Header, decode, oversize};
use landfall_ledger::{ChunkOutcome, JobHead, LedgerError, PruneError, Pruner};
use landfall_stores::{Store, StoreError};
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, error, info, info_span};

use crate::context::KnownHeader;
use crate::{Context, WorkError};

/// Time that is kept for the answer: without it, all messages of the batch would come again.
const RESERVE: Duration = Duration::from_secs(5);
/// Time that a batch has where its deadline has passed before it began: `cargo lambda watch` tells none.
const UNTOLD: Duration = Duration::from_mins(1);

/// Works off a batch of messages until shortly before `deadline`, and says which have to come again.
pub async fn handle(context: &Context, event: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(UNTOLD);
    let until = Instant::now() + left.saturating_sub(RESERVE);
    let failures = stream::iter(event.records)
        .then(|record| async move {
            let id = record.message_id.clone().unwrap_or_default();
            // A defect that one chunk meets must not fail the others of the batch.
            let taken = AssertUnwindSafe(take_message(context, record)).catch_unwind();
            let result = match timeout_at(until, taken).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(WorkError::Panic),
                Err(_) => Err(WorkError::Time),
            };
            let error = result.err()?;
            error!(message = id, %error, retryable = error.retryable(), "a chunk was not taken");
            Some(id)
        })
        .filter_map(future::ready);
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect()
        .await;
    response
}

async fn take_message(context: &Context, record: SqsMessage) -> Result<(), WorkError> {
    let received = record.attributes.get("ApproximateReceiveCount");
    let is_first = received.is_some_and(|count| count == "1");
    let body = record.body.unwrap_or_default();
    match serde_json::from_str(&body).map_err(WorkError::Message)? {
        WorkMessage::Chunk(message) => {
            let span = info_span!("chunk", job = %message.job, ordinal = message.ordinal);
            take(context, &message, is_first).instrument(span).await
        }
        WorkMessage::Close { close } => {
            let head = context.ledger.head(close).await?;
            let head = head.ok_or_else(|| LedgerError::Missing(format!("job {close}")))?;
            context.ledger.finish(head).await?;
            Ok(())
        }
    }
}

/// `is_first` says that the message has most likely not been delivered before. Nothing but a read of the
/// ledger depends on it: a chunk that is taken twice counts once.
async fn take(context: &Context, message: &ChunkMessage, is_first: bool) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    if !is_first && ledger.is_taken(message.job, message.ordinal).await? {
        info!("taken already");
        return Ok(());
    }
    let outcome = match land(context, message).await {
        Ok(counts) => ChunkOutcome::Done(counts),
        Err(WorkError::Aws(AwsError::Gone(_))) => {
            error!("the object was deleted; the chunk is dead");
            ChunkOutcome::Dead
        }
        // Nobody mends it by trying again; who dropped the file is told what to do.
        Err(WorkError::Store(error @ StoreError::Schema { .. })) => {
            error!(%error, "a table does not fit; the chunk is dead");
            let problem = Problem::new(ProblemCode::SchemaMismatch, error.to_string());
            ledger.add_problem(message.job, &problem).await?;
            ChunkOutcome::Dead
        }
        Err(error) => return Err(error),
    };
    let counted = ledger
        .finish_chunk(message.job, message.ordinal, &outcome)
        .await?;
    info!(counted, "taken");
    Ok(())
}

/// Puts every record of a chunk into all stores or among the rejects.
async fn land(context: &Context, message: &ChunkMessage) -> Result<Counts, WorkError> {
    let (bytes, prepared) = future::join(read(context, message), prepare(context, message)).await;
    // First: that the object is gone ends the chunk, whatever else there is.
    let bytes = bytes?;
    let (dataset, header) = prepared?;
    let decoded = decoded(message, &dataset, header.as_deref(), &bytes);
    // Of no use beside their rows.
    drop(bytes);
    if decoded.records != message.records {
        return Err(WorkError::RecordCount {
            planned: message.records,
            found: decoded.records,
            kind: message.kind,
        });
    }
    let rejected = decoded.rejects.len() as u64;
    let (rows, superseded) = latest_by_key(decoded.rows, &dataset);
    let rows = Arc::new(rows);
    let applied = context.stores.iter().map(|store| async {
        let mut counts = store.apply(&dataset, &message.order, &rows).await?;
        counts.stale += superseded;
        Ok::<(_, StoreCounts), WorkError>((store.kind(), counts))
    });
    // All to their end: what one store has begun is not cut off because the other one failed.
    let (written, applied) = future::join(
        write_rejects(context, message, &decoded.rejects),
        future::join_all(applied),
    )
    .await;
    // To free so many rows takes as long as the ledger, which the caller asks next, takes to answer.
    spawn_blocking(move || drop(rows));
    written?;
    Ok(Counts {
        rows: decoded.records,
        rejected,
        stores: applied.into_iter().collect::<Result<_, _>>()?,
    })
}

/// The definition and the header that a chunk is decoded by, once all stores have what its rows need: a
/// definition that does not fit one of them changes nothing in another.
async fn prepare(
    context: &Context,
    message: &ChunkMessage,
) -> Result<(Arc<Dataset>, Option<Arc<Header>>), WorkError> {
    let dataset = pinned(&context.datasets, &message.dataset).await?;
    let stores = async {
        for store in &context.stores {
            store.prepare(&dataset).await?;
        }
        Ok::<_, WorkError>(())
    };
    let (prepared, header) = future::join(stores, header(context, message, &dataset)).await;
    prepared?;
    Ok((dataset, header?))
}

/// The definition that a job was planned with.
async fn pinned(datasets: &Datasets, reference: &DatasetRef) -> Result<Arc<Dataset>, WorkError> {
    match datasets.pinned(reference).await? {
        Lookup::Found(dataset, _) => Ok(dataset),
        Lookup::Bad(error, _) => Err(WorkError::Definition(error)),
        Lookup::Unknown => Err(WorkError::DefinitionGone(reference.name.clone())),
    }
}

/// A chunk's bytes, or the first of them where they are one record over the limit.
async fn read(context: &Context, message: &ChunkMessage) -> Result<Bytes, AwsError> {
    let mut range = message.range;
    if message.kind == ChunkKind::Oversize {
        range.end = range.end.min(range.start + MAX_RAW_BYTES as u64);
    }
    context.objects.read(&message.object, range).await
}

fn decoded(
    message: &ChunkMessage,
    dataset: &Dataset,
    header: Option<&Header>,
    bytes: &[u8],
) -> Decoded {
    let ChunkMessage {
        range, first_line, ..
    } = *message;
    if message.kind == ChunkKind::Oversize {
        let limit = dataset.limits.record_bytes;
        let reject = oversize(bytes, range.start, first_line, range.len(), limit);
        return Decoded {
            rows: Vec::new(),
            rejects: vec![reject],
            records: 1,
        };
    }
    let format = message.format;
    decode(dataset, format, header, bytes, range.start, first_line)
}

async fn header(
    context: &Context,
    message: &ChunkMessage,
    dataset: &Dataset,
) -> Result<Option<Arc<Header>>, WorkError> {
    let Some(range) = message.header else {
        return Ok(None);
    };
    let known = || {
        context
            .header
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    if let Some(known) = &*known()
        && (known.job, known.range) == (message.job, range)
    {
        return Ok(Some(Arc::clone(&known.header)));
    }
    let bytes = context.objects.read(&message.object, range).await?;
    let header = Header::parse(&bytes, dataset, message.format).map_err(WorkError::Header)?;
    let header = Arc::new(header);
    *known() = Some(KnownHeader {
        job: message.job,
        range,
        header: Arc::clone(&header),
    });
    Ok(Some(header))
}

/// A line of a rejects object: where the record is, why it was not taken, and the record.
#[derive(Serialize)]
struct RejectLine<'a> {
    bucket: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(flatten)]
    reject: &'a Reject,
}

async fn write_rejects(
    context: &Context,
    message: &ChunkMessage,
    rejects: &[Reject],
) -> Result<(), WorkError> {
    if rejects.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for reject in rejects {
        let line = RejectLine {
            bucket: &message.object.bucket,
            key: &message.object.key,
            version: message.object.version.as_deref(),
            reject,
        };
        serde_json::to_writer(&mut lines, &line).map_err(WorkError::Reject)?;
        lines.push(b'\n');
    }
    let bucket = &context.rejects_bucket;
    let key = RejectsLocation::new(bucket, &message.dataset.name, message.job).key(message.ordinal);
    let media_type = "application/x-ndjson";
    context
        .objects
        .write(bucket, &key, media_type, Bytes::from(lines))
        .await?;
    Ok(())
}

/// Deletes in the stores what a complete snapshot does not have.
pub(crate) struct Snapshots {
    pub(crate) datasets: Arc<Datasets>,
    pub(crate) stores: Vec<Arc<dyn Store>>,
}

impl Snapshots {
    async fn prune_all(&self, head: &JobHead) -> Result<BTreeMap<StoreKind, u64>, WorkError> {
        let Some(reference) = &head.dataset else {
            return Ok(BTreeMap::new());
        };
        let dataset = pinned(&self.datasets, reference).await?;
        let mut pruned = BTreeMap::new();
        for store in &self.stores {
            store.prepare(&dataset).await?;
            let count = store.prune(&dataset, &head.order).await?;
            pruned.insert(store.kind(), count);
        }
        Ok(pruned)
    }
}

#[async_trait]
impl Pruner for Snapshots {
    async fn prune(&self, head: &JobHead) -> Result<BTreeMap<StoreKind, u64>, PruneError> {
        self.prune_all(head).await.map_err(|error| PruneError {
            retryable: error.retryable(),
            reason: error.to_string(),
        })
    }
}
