//! Records the plan of a job, and sends the messages of its chunks.

use futures::{StreamExt, TryStreamExt, stream};
use landfall_aws::{MAX_BATCH, WorkMessage};
use landfall_domain::{ByteRange, PlannedChunk, Reading};
use landfall_ledger::{Checkpoint, JobHead, PlanBlock, SHARD_CHUNKS};
use tokio::sync::mpsc;

use crate::{Context, SplitError};

/// Batches of messages that are sent at the same time.
const BATCHES_AT_ONCE: usize = 8;

/// Chunks that were found and not sent yet.
pub(crate) struct Found {
    /// How the object is read, the same for all chunks.
    pub(crate) reading: Reading,
    /// Position of the header, the same for all chunks.
    pub(crate) header: Option<ByteRange>,
    /// The chunks, which follow those before in the object.
    pub(crate) chunks: Vec<PlannedChunk>,
    /// How to continue after them; `None` at the end of the object.
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// How sending ended.
pub(crate) enum Sent {
    /// Everything is sent.
    All,
    /// Another splitter of the same job is ahead. The rest is left to it.
    Overtaken,
    /// The job was cancelled, and only so many chunks are planned.
    Cancelled(u32),
}

/// Records and sends chunks until the channel is closed. `block` has the last ones before them.
pub(crate) async fn send_all(
    context: &Context,
    head: &JobHead,
    mut block: Option<PlanBlock>,
    mut receiver: mpsc::Receiver<Found>,
) -> Result<Sent, SplitError> {
    while let Some(found) = receiver.recv().await {
        let block = block.get_or_insert_with(|| PlanBlock {
            shard: 0,
            reading: found.reading,
            header: None,
            chunks: Vec::new(),
        });
        block.header = found.header;
        if let Some(chunks) = send(context, head, block, found.chunks).await? {
            return Ok(Sent::Cancelled(chunks));
        }
        if let Some(checkpoint) = found.checkpoint {
            let recorded = context.ledger.record_checkpoint(head.job, checkpoint);
            if !recorded.await? {
                return Ok(Sent::Overtaken);
            }
        }
    }
    Ok(Sent::All)
}

/// Adds chunks to the plan, which is recorded up to `block`, and sends their messages. Returns the first one that is
/// not planned if the job was cancelled.
async fn send(
    context: &Context,
    head: &JobHead,
    block: &mut PlanBlock,
    chunks: Vec<PlannedChunk>,
) -> Result<Option<u32>, SplitError> {
    let ledger = &context.ledger;
    let mut chunks = chunks.into_iter();
    while chunks.len() > 0 {
        if block.is_full() {
            block.shard += 1;
            block.chunks.clear();
        }
        let first = block.end();
        let room = SHARD_CHUNKS as usize - block.chunks.len();
        block.chunks.extend(chunks.by_ref().take(room));
        let (may_send, ()) = futures::try_join!(
            ledger.expect_chunk(head.job, first),
            ledger.record_plan(head.job, block),
        )?;
        if !may_send {
            return Ok(Some(first));
        }
        let messages = (first..block.end()).filter_map(|ordinal| block.message(head, ordinal));
        let messages = messages.map(|message| WorkMessage::Chunk(Box::new(message)));
        stream::iter(messages)
            .chunks(MAX_BATCH)
            .map(|batch| async move { context.queue.send(&batch).await })
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    Ok(None)
}
