use landfall_aws::{MAX_BATCH, WorkMessage};
use landfall_domain::{ChunkMessage, JobId, PlannedChunk, Problem, ProblemCode};
use landfall_ledger::{JobHead, LedgerError, PlanBlock, SHARD_CHUNKS, Seal};
use tokio::time::Instant;
use tracing::info;

use crate::{Context, WorkError, chunk};

/// Shards that one message plans. The next message waits behind their chunks in the queue.
const SHARDS_PER_MESSAGE: u32 = 4;

/// Plans a derived job from this shard on, sends its chunks, and seals it after the last one.
pub(crate) async fn plan(
    context: &Context,
    (head, origin): (&JobHead, JobId),
    shard: u32,
    close_until: Instant,
) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let origin = ledger.require_head(origin).await?;
    let problem = head.cancelled.as_ref().map(|_| {
        let message = "the job was cancelled before all of its chunks were sent";
        Problem::new(ProblemCode::Cancelled, message)
    });
    let end = match &problem {
        Some(_) => shard,
        None => shard + SHARDS_PER_MESSAGE,
    };
    for shard in shard..end {
        send(context, head, &origin, shard).await?;
    }
    let planned = match &problem {
        // The message may be that of an earlier shard, delivered again.
        Some(_) => ledger.planned(head.job).await?,
        None => end.saturating_mul(SHARD_CHUNKS),
    };
    if problem.is_none() && planned < origin.dead {
        let message = WorkMessage::Redrive {
            job: head.job,
            attempt: head.attempt,
            shard: end,
        };
        context.redelivery.queue.send(&[message]).await?;
        return Ok(());
    }
    let seal = Seal {
        chunks: planned.min(origin.dead),
        problem,
        warnings: Vec::new(),
    };
    info!(chunks = seal.chunks, "all dead chunks are sent");
    let head = ledger.seal(head.job, &seal).await?;
    if head.awaits_close() {
        chunk::close(context, head, close_until).await?;
    }
    Ok(())
}

/// Records the chunks of a shard of a derived job, and sends their messages.
async fn send(
    context: &Context,
    head: &JobHead,
    origin: &JobHead,
    shard: u32,
) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let first = shard * SHARD_CHUNKS;
    let of_origin = ledger.dead_messages(origin, first as usize, SHARD_CHUNKS as usize);
    let of_origin = of_origin.await?;
    let Some(ChunkMessage {
        reading, header, ..
    }) = of_origin.first().cloned()
    else {
        return Ok(());
    };
    let chunks = of_origin.iter().map(|chunk| PlannedChunk {
        range: chunk.range,
        first_line: chunk.first_line,
        records: chunk.records,
        kind: chunk.kind,
    });
    let block = PlanBlock {
        shard,
        reading,
        header,
        chunks: chunks.collect(),
    };
    ledger.expect_chunk(head.job, first).await?;
    ledger.record_plan(head.job, &block).await?;
    let messages = (first..block.end()).map(|ordinal| block.message(head, ordinal));
    let messages: Option<Vec<ChunkMessage>> = messages.collect();
    let missing = || LedgerError::Missing(format!("definition of job {}", head.job));
    let messages = messages.ok_or_else(missing)?.into_iter();
    let messages: Vec<WorkMessage> = messages.map(Box::new).map(WorkMessage::Chunk).collect();
    for batch in messages.chunks(MAX_BATCH) {
        context.redelivery.queue.send(batch).await?;
    }
    Ok(())
}
