use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use landfall_aws::AwsError;
use landfall_domain::{
    ChunkMessage, Counts, Dataset, Folded, Problem, ProblemCode, Reject, RejectsLocation,
    StoreCounts, WarningCode,
};
use landfall_formats::{Header, PlannedChunk};
use landfall_ledger::ChunkOutcome;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::{Context, WorkError};

/// Processes a chunk and marks it. Closes its job if it was the last chunk.
///
/// A message that is `redelivered` may belong to a chunk that is marked already, which costs one read to find out. A
/// chunk that is processed twice still counts once.
pub(crate) async fn process(
    context: &Context,
    message: &ChunkMessage,
    redelivered: bool,
) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let (job, ordinal) = (message.job, message.ordinal);
    let earlier = if redelivered {
        ledger.find_mark(job, ordinal).await?
    } else {
        None
    };
    let mark = if let Some(mark) = earlier {
        info!("the chunk is marked already");
        mark
    } else {
        let mut outcome = outcome(context, message).await?;
        if let ChunkOutcome::Done(counts) = &mut outcome
            && !redelivered
        {
            warn_of_unchanged(message, counts);
        }
        let mark = ledger.mark_chunk(job, ordinal, &outcome).await?;
        info!(counted = mark.added, "the chunk is marked");
        mark
    };
    if let Some(head) = mark.to_close {
        context.closer.close(head).await?;
    }
    Ok(())
}

/// Adds a warning about fixed rejects that changed nothing. In a redelivered chunk, an earlier delivery may have written
/// their rows.
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

/// Ingests a chunk. It is dead if retrying cannot help.
async fn outcome(context: &Context, message: &ChunkMessage) -> Result<ChunkOutcome, WorkError> {
    match ingest(context, message).await {
        Ok(counts) => Ok(ChunkOutcome::Done(counts)),
        Err(WorkError::Aws(AwsError::Gone(_))) => {
            error!("the object was deleted; the chunk is dead");
            Ok(ChunkOutcome::Dead)
        }
        // Retrying cannot fix this, so report it to the uploader.
        Err(WorkError::Store(error)) if error.needs_other_definition() => {
            error!(%error, "the dataset does not match a table; the chunk is dead");
            let problem = Problem::new(ProblemCode::SchemaMismatch, error.to_string());
            context.ledger.add_problem(message.job, problem).await?;
            Ok(ChunkOutcome::Dead)
        }
        Err(error) => Err(error),
    }
}

/// Writes every record of a chunk to all stores or to the rejects.
async fn ingest(context: &Context, message: &ChunkMessage) -> Result<Counts, WorkError> {
    let chunk = planned(message);
    let bytes = context.objects.read(&message.object, chunk.bytes());
    let (bytes, prepared) = future::join(bytes, prepare(context, message)).await;
    // The object comes first: if it is gone, the chunk is dead, whatever else failed.
    let bytes = bytes?;
    let (dataset, header) = prepared?;
    let header = header.as_deref();
    let decoded = chunk.decode(&dataset, &message.reading, header, &bytes);
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
        let mut counts = store.apply(&dataset, &message.order, &rows).await?;
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
        write_rejects(context, message, &decoded.rejects),
        future::join_all(applied),
    )
    .await;
    // Freeing so many rows takes as long as the ledger update that follows, so do both at the same time.
    spawn_blocking(move || drop(rows));
    written?;
    counts.stores = applied.into_iter().collect::<Result<_, _>>()?;
    Ok(counts)
}

/// Returns the definition and the header of a chunk, once all stores are prepared for its rows: a definition that does
/// not match one store changes nothing in another.
async fn prepare(
    context: &Context,
    message: &ChunkMessage,
) -> Result<(Arc<Dataset>, Option<Arc<Header>>), WorkError> {
    let dataset = context.datasets.require(&message.dataset).await?;
    let stores = async {
        for store in &context.stores {
            store.prepare(&dataset).await?;
        }
        Ok::<_, WorkError>(())
    };
    let header = context.headers.get(&*context.objects, message, &dataset);
    let (prepared, header) = future::join(stores, header).await;
    prepared?;
    Ok((dataset, header?))
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
    rejects: &[Reject],
) -> Result<(), WorkError> {
    if rejects.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for reject in rejects {
        // A record that was fixed and rejected again is still in its first object.
        let object = match &message.reading.rejects_of {
            Some(origin) if reject.job.is_some() => &origin.object,
            _ => &message.object,
        };
        let line = RejectLine {
            bucket: &object.bucket,
            key: &object.key,
            version: object.version.as_deref(),
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
