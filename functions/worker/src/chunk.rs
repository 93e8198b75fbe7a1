use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use landfall_domain::{
    ChunkMessage, Counts, Dataset, DeadChunk, DeadCode, Folded, PlannedChunk, Problem, ProblemCode,
    Reject, RejectsLocation, StoreCounts, StoreKind, WarningCode,
};
use landfall_formats::{Header, decode_chunk, record_at};
use landfall_ledger::{ChunkOutcome, JobHead};
use landfall_runtime::Metric;
use landfall_stores::StoreError;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info};

use crate::delivery::Delivery;
use crate::give_up::{GivenUp, attempt, give_up, worker_died};
use crate::prepare::prepare;
use crate::refused::{self, RefusedPlace};
use crate::wait::{wait_for_resume, wait_if_maintained};
use crate::{Context, WorkError, bell};

/// The length of a rejects object after which further lines hold no record.
const MAX_REJECTS_BYTES: usize = 32 * 1024 * 1024;

/// Processes a chunk and marks it. Closes its job if it was the last chunk.
///
/// A message that is redelivered may belong to a chunk that is marked already, which costs one read to find out. A
/// chunk that is processed twice still counts once.
pub(crate) async fn process(
    context: &Context,
    message: &ChunkMessage,
    delivery: Delivery,
) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let (job, ordinal) = (message.job, message.ordinal);
    let earlier = if delivery.is_repeated() {
        ledger.find_mark(job, ordinal).await?
    } else {
        None
    };
    let mark = if let Some(mark) = earlier {
        info!("the chunk is marked already");
        mark
    } else {
        let started = Instant::now();
        let Some(mut outcome) = outcome(context, message, delivery).await? else {
            info!("the job has been redriven since the message was sent");
            return Ok(());
        };
        if let ChunkOutcome::Done(counts) = &mut outcome
            && !delivery.is_repeated()
        {
            warn_of_unchanged(message, counts);
        }
        let ring = async {
            if let ChunkOutcome::Done(counts) = &outcome {
                let changed = stores_with(counts, |counts| {
                    counts.inserted + counts.updated + counts.deleted
                });
                bell::ring(context, &message.dataset.name, changed).await;
            }
        };
        let (mark, ()) = future::join(ledger.mark_chunk(job, ordinal, &outcome), ring).await;
        let mark = mark?;
        if mark.added {
            measure(context, message, &outcome, started.elapsed());
        }
        info!(counted = mark.added, "the chunk is marked");
        mark
    };
    if let Some(head) = mark.to_close {
        close(context, head, delivery.close_until).await?;
    }
    Ok(())
}

/// Adds a warning about fixed rejects that changed nothing. In a redelivered chunk, an earlier delivery may have
/// written their rows.
fn warn_of_unchanged(message: &ChunkMessage, counts: &mut Counts) {
    let unchanged = counts.stores.values().map(|store| store.unchanged).max();
    if let Some(unchanged) = unchanged.filter(|unchanged| *unchanged > 0)
        && message.reading.rejects_of.is_some()
    {
        counts
            .warnings
            .insert(WarningCode::UnchangedRejects, unchanged);
    }
}

/// Writes the metrics of a chunk that this worker has marked.
fn measure(context: &Context, message: &ChunkMessage, outcome: &ChunkOutcome, time: Duration) {
    let time = Metric::ChunkSeconds(time);
    let metrics = match outcome {
        ChunkOutcome::Done(counts) => &[
            Metric::Rows(counts.rows),
            Metric::Rejects(counts.rejected),
            time,
        ][..],
        ChunkOutcome::Dead(_) => &[Metric::DeadChunk, time],
    };
    let dataset = message.dataset.name.as_str();
    context
        .metrics
        .write(Some(dataset), Some(message.job), metrics);
}

/// Closes a job, or has the message wait if a store is down that rows must be deleted from.
pub(crate) async fn close(
    context: &Context,
    head: JobHead,
    until: Instant,
) -> Result<(), WorkError> {
    match context.closer.close(head, until).await {
        Ok(head) => {
            ring_of_prune(context, &head).await;
            Ok(())
        }
        Err(error) => {
            let error = wait_if_maintained(error.into());
            Err(context.circuits.wait_if_down(error).await)
        }
    }
}

/// Rings the relay if the job has pruned rows.
async fn ring_of_prune(context: &Context, head: &JobHead) {
    let Some(dataset) = &head.dataset else {
        return;
    };
    let at_close = head.counts.iter();
    let at_close = at_close.flat_map(|counts| stores_with(counts, |counts| counts.pruned));
    let confirmed = head.pruned.iter().flatten();
    let confirmed = confirmed.filter(|(_, pruned)| **pruned > 0);
    let pruned = at_close.chain(confirmed.map(|(store, _)| *store));
    bell::ring(context, &dataset.name, pruned).await;
}

/// Returns the stores for which a count is not 0.
fn stores_with(
    counts: &Counts,
    count: impl Fn(&StoreCounts) -> u64,
) -> impl Iterator<Item = StoreKind> {
    let stores = counts.stores.iter();
    let stores = stores.filter(move |(_, counts)| count(counts) > 0);
    stores.map(|(store, _)| *store)
}

/// Ingests a chunk. It is dead if retrying cannot help, if this is the last delivery, or if it has waited too long for
/// a store. A message of an earlier attempt of the job has no outcome: the chunk is done, or its message is sent again.
async fn outcome(
    context: &Context,
    message: &ChunkMessage,
    delivery: Delivery,
) -> Result<Option<ChunkOutcome>, WorkError> {
    let given_up = if delivery.is_beyond_last() {
        if let Err(WorkError::Superseded) = check_job(context, message).await {
            return Ok(None);
        }
        worker_died()
    } else {
        let ingested = attempt(delivery, async |is_first| {
            ingest(context, message, is_first).await
        });
        match ingested.await {
            Ok(counts) => return Ok(Some(ChunkOutcome::Done(counts))),
            Err(WorkError::Superseded) => return Ok(None),
            Err(error) => give_up(context, delivery, error).await?,
        }
    };
    let GivenUp { code, reason } = given_up;
    if code == DeadCode::SchemaMismatch {
        let problem = Problem::new(ProblemCode::SchemaMismatch, &reason);
        context.ledger.add_problem(message.job, problem).await?;
    }
    Ok(Some(dead(message, code, reason)))
}

fn dead(message: &ChunkMessage, code: DeadCode, reason: impl Into<String>) -> ChunkOutcome {
    let dead = DeadChunk::new(message, code, reason);
    if code == DeadCode::Cancelled {
        info!("the chunk is not processed, because its job is cancelled");
    } else {
        error!(
            code = code.as_str(),
            reason = dead.reason,
            "the chunk is dead"
        );
    }
    ChunkOutcome::Dead(dead)
}

/// Writes every record of a chunk to all stores or to the rejects.
async fn ingest(
    context: &Context,
    message: &ChunkMessage,
    is_first: bool,
) -> Result<Counts, WorkError> {
    let chunk = planned(message);
    let content = context.contents.read(message.content(), chunk.bytes());
    let bytes = async { Ok::<_, WorkError>(content.await) };
    // Reading the ledger costs no time beside the object, and ends both if the chunk is not admitted.
    let prepared = async {
        admit(context, message, is_first).await?;
        Ok::<_, WorkError>(prepare(context, message).await)
    };
    let (bytes, prepared) = future::try_join(bytes, prepared).await?;
    // The object comes first: if it is gone, the chunk is dead, whatever else failed.
    let bytes = bytes?;
    let (dataset, header) = prepared?;
    let header = header.as_deref();
    let place = (message.object.key.as_str(), &chunk);
    let decoded = decode_chunk(place, &dataset, &message.reading, header, &bytes);
    // The raw bytes are no longer needed.
    drop(bytes);
    if decoded.records != message.records {
        return Err(WorkError::RecordCount {
            planned: message.records,
            found: decoded.records,
            kind: message.kind,
        });
    }
    let mut counts = decoded.counts(&dataset, header);
    if message.reading.rejects_of.is_some() {
        // A few records say nothing about a column.
        counts.null_columns.clear();
    }
    let valid = counts.rows - counts.rejected;
    let Folded {
        rows,
        merged,
        superseded,
    } = Folded::of_chunk(decoded.rows, &dataset, message.order);
    if superseded > 0 {
        counts
            .warnings
            .insert(WarningCode::RepeatedKeys, superseded);
    }
    let rows = Arc::new(rows);
    let applied = context.stores.iter().map(|store| async {
        let applied = refused::apply(&**store, &dataset, &message.order, &rows).await;
        let is_down = matches!(applied, Err(WorkError::Store(StoreError::Down { .. })));
        if !rows.is_empty() && !is_down {
            context.circuits.note_response(store.kind()).await;
        }
        let mut counts = applied?;
        counts.stale += superseded;
        counts.updated += merged;
        debug_assert_eq!(
            counts.total(),
            valid,
            "{}: every record is counted once",
            store.kind()
        );
        Ok::<(_, StoreCounts), WorkError>((store.kind(), counts))
    });
    // Wait for all of them: a failure of one store does not interrupt a write to another.
    let (written, applied) = future::join(
        write_rejects(context, message, decoded.rejects),
        future::join_all(applied),
    )
    .await;
    // Freeing so many rows takes as long as the ledger update that follows, so do both at the same time.
    spawn_blocking(move || drop(rows));
    written?;
    let applied = applied.into_iter().collect::<Result<_, _>>();
    if let Err(WorkError::Refused(mut rows)) = applied {
        find_lines(context, message, (&dataset, header), &mut rows.places).await?;
        return Err(WorkError::Refused(rows));
    }
    counts.stores = applied?;
    Ok(counts)
}

/// Finds the lines of refused rows, for which the chunk is read again.
async fn find_lines(
    context: &Context,
    message: &ChunkMessage,
    (dataset, header): (&Dataset, Option<&Header>),
    places: &mut [RefusedPlace],
) -> Result<(), WorkError> {
    let chunk = planned(message);
    let bytes = context.contents.read(message.content(), chunk.bytes());
    let bytes = bytes.await?;
    let object = (message.object.key.as_str(), &chunk);
    for place in places {
        let offset = place.offset;
        let found = record_at(object, dataset, &message.reading, header, &bytes, offset);
        place.line = found.map(|found| found.line);
    }
    Ok(())
}

/// Fails if the chunk is not to be processed, or has to wait. The circuits of the stores are checked in the first
/// attempt, which may be the one that tries whether a store is back.
async fn admit(context: &Context, message: &ChunkMessage, is_first: bool) -> Result<(), WorkError> {
    let circuits = async {
        if is_first {
            context.circuits.admit().await
        } else {
            Ok(())
        }
    };
    let (job, circuits) = future::join(check_job(context, message), circuits).await;
    // A chunk of a cancelled job need not wait for a store.
    job.and(circuits)
}

/// Fails if the job is cancelled, or was redriven since the message was sent, or if the dataset is paused.
async fn check_job(context: &Context, message: &ChunkMessage) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let head = ledger.require_head(message.job);
    let (head, pause) = future::try_join(head, ledger.find_pause(&message.dataset)).await?;
    if message.attempt < head.attempt {
        return Err(WorkError::Superseded);
    }
    if head.cancelled.is_some() {
        return Err(WorkError::Cancelled);
    }
    match pause {
        Some(pause) => Err(wait_for_resume(&pause, context.circuits.now()).into()),
        None => Ok(()),
    }
}

/// Returns the chunk as the splitter planned it.
fn planned(message: &ChunkMessage) -> PlannedChunk {
    PlannedChunk {
        range: message.range,
        first_line: message.first_line,
        records: message.records,
        kind: message.kind,
    }
}

/// A line of a rejects object: the place of the record, the reason, and the record.
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
    rejects: Vec<Reject>,
) -> Result<(), WorkError> {
    if rejects.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for mut reject in rejects {
        // Escaped, a record can be six times as long.
        if lines.len() > MAX_REJECTS_BYTES && !reject.raw.is_empty() {
            reject.leave_out_record();
        }
        // A record that was fixed and rejected again is still in its first object.
        let object = match &message.reading.rejects_of {
            Some(origin) if reject.job.is_some() => &origin.object,
            _ => &message.object,
        };
        let line = RejectLine {
            bucket: &object.bucket,
            key: &object.key,
            version: object.version.as_deref(),
            reject: &reject,
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
