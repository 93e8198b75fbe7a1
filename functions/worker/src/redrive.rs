use landfall_aws::{MAX_BATCH, WorkMessage};
use landfall_domain::JobId;
use landfall_ledger::JobHead;
use tokio::time::Instant;
use tracing::info;

use crate::{Context, WorkError, chunk, derived};

/// Chunks after which another message continues, which waits behind them in the queue. So other jobs get their turn,
/// and a worker has time for all of them.
const CHUNKS_PER_MESSAGE: usize = 500;

/// Sends the dead chunks of a reopened job again, or those of a derived job, from this shard on.
pub(crate) async fn resend(
    context: &Context,
    (job, attempt): (JobId, u32),
    shard: u32,
    close_until: Instant,
) -> Result<(), WorkError> {
    let ledger = &context.ledger;
    let head = ledger.require_head(job).await?;
    if let (Some(origin), None) = (head.redrive_of, head.chunks) {
        return derived::plan(context, (&head, origin), shard, close_until).await;
    }
    if head.attempt != attempt || !head.resending {
        info!("the chunks are sent again already");
        return close_if_complete(context, head, close_until).await;
    }
    let mut sent = 0;
    let mut from = Some(shard);
    while let Some(first) = from {
        let (shards, next) = ledger.shards_to_resend(&head, first).await?;
        for shard in shards {
            if sent >= CHUNKS_PER_MESSAGE {
                let message = WorkMessage::Redrive {
                    job,
                    attempt,
                    shard,
                };
                context.redelivery.queue.send(&[message]).await?;
                info!(sent, shard, "chunks are sent again, and more will be");
                return Ok(());
            }
            let chunks = ledger.take_dead(&head, shard).await?;
            let ordinals = chunks.iter().map(|chunk| chunk.ordinal).collect();
            sent += chunks.len();
            let messages = chunks.into_iter().map(Box::new).map(WorkMessage::Chunk);
            let messages: Vec<WorkMessage> = messages.collect();
            for batch in messages.chunks(MAX_BATCH) {
                context.redelivery.queue.send(batch).await?;
            }
            ledger.record_resent(&head, shard, &ordinals).await?;
        }
        from = next;
    }
    info!(sent, "all chunks are sent again");
    let head = ledger.record_all_resent(&head).await?;
    close_if_complete(context, head, close_until).await
}

/// Closes a job of which no chunk was sent again, as it was cancelled, also if a worker has died before it did so.
async fn close_if_complete(
    context: &Context,
    head: JobHead,
    until: Instant,
) -> Result<(), WorkError> {
    if head.awaits_close() {
        chunk::close(context, head, until).await?;
    }
    Ok(())
}
