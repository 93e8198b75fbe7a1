use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use landfall_aws::AwsError;
use landfall_domain::{
    ChunkKind, ChunkMessage, Counts, Dataset, Field, MAX_RAW_BYTES, Problem, ProblemCode, Reject,
    RejectCode, RejectsLocation, Row, StoreCounts, WarningCode, latest_by_key,
};
use landfall_formats::{Decoded, Header, Skipped, decode, oversize};
use landfall_ledger::ChunkOutcome;
use landfall_stores::StoreError;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::{Context, WorkError};

/// The maximum number of fields without a value that the ledger counts for a chunk.
const MAX_NULL_COLUMNS: usize = 32;

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
        let outcome = outcome(context, message).await?;
        let mark = ledger.mark_chunk(job, ordinal, &outcome).await?;
        info!(counted = mark.added, "the chunk is marked");
        mark
    };
    if let Some(head) = mark.to_close {
        context.closer.close(head).await?;
    }
    Ok(())
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
        Err(WorkError::Store(error @ StoreError::Schema { .. })) => {
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
    let (bytes, prepared) = future::join(read(context, message), prepare(context, message)).await;
    // The object comes first: if it is gone, the chunk is dead, whatever else failed.
    let bytes = bytes?;
    let (dataset, header) = prepared?;
    let decoded = decode_chunk(message, &dataset, header.as_deref(), &bytes);
    // The raw bytes are no longer needed.
    drop(bytes);
    if decoded.records != message.records {
        return Err(WorkError::RecordCount {
            planned: message.records,
            found: decoded.records,
            kind: message.kind,
        });
    }
    let rejected = decoded.rejects.len() as u64;
    let skipped = decoded.skipped;
    let null_columns = null_columns(&dataset, header.as_deref(), &decoded.rows);
    let (rows, superseded) = latest_by_key(decoded.rows, &dataset);
    let warnings = warnings(skipped, superseded, &decoded.rejects);
    let rows = Arc::new(rows);
    let applied = context.stores.iter().map(|store| async {
        let mut counts = store.apply(&dataset, &message.order, &rows).await?;
        counts.stale += superseded;
        debug_assert_eq!(
            counts.total() + rejected + skipped.records(),
            message.records,
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
    Ok(Counts {
        rows: decoded.records - skipped.records(),
        rejected,
        stores: applied.into_iter().collect::<Result<_, _>>()?,
        warnings,
        null_columns,
    })
}

/// Counts what deserves a warning.
fn warnings(
    skipped: Skipped,
    repeated_keys: u64,
    rejects: &[Reject],
) -> BTreeMap<WarningCode, u64> {
    let is_invalid = |reject: &&Reject| reject.code == RejectCode::Encoding;
    let counts = [
        (WarningCode::BlankRows, skipped.blank_rows),
        (WarningCode::RepeatedHeaders, skipped.repeated_headers),
        (WarningCode::ByteOrderMarks, skipped.byte_order_marks),
        (WarningCode::RepeatedKeys, repeated_keys),
        (
            WarningCode::InvalidText,
            rejects.iter().filter(is_invalid).count() as u64,
        ),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Returns the fields, if the object has columns for them, that have no value in any row of a chunk.
fn null_columns(dataset: &Dataset, header: Option<&Header>, rows: &[Row]) -> BTreeMap<String, u64> {
    let fields = dataset.fields.iter().enumerate();
    let mut fields: Vec<(usize, &Field)> = fields
        .filter(|(index, field)| !field.required && header.is_none_or(|header| header.has(*index)))
        .collect();
    for row in rows.iter().filter(|row| !row.deleted) {
        if fields.is_empty() {
            break;
        }
        fields.retain(|(index, _)| row.values[*index].is_null());
    }
    let names = fields.into_iter().take(MAX_NULL_COLUMNS);
    names.map(|(_, field)| (field.name.clone(), 1)).collect()
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

/// Reads the bytes of a chunk; only the first ones of a record that is over the size limit.
async fn read(context: &Context, message: &ChunkMessage) -> Result<Bytes, AwsError> {
    let mut range = message.range;
    if message.kind == ChunkKind::Oversize {
        range.end = range.end.min(range.start + MAX_RAW_BYTES as u64);
    }
    context.objects.read(&message.object, range).await
}

fn decode_chunk(
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
            rejects: vec![reject],
            records: 1,
            ..Decoded::default()
        };
    }
    let reading = &message.reading;
    decode(dataset, reading, header, bytes, range.start, first_line)
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
