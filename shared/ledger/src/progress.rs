use landfall_domain::{Counts, DeadChunks};

use crate::{JobHead, LedgerError, LedgerTable, shards_of};

/// Shards that one call reads: the limit of `BatchGetItem`.
pub(crate) const SHARDS_AT_ONCE: usize = 100;
/// Shards that are read first of a job whose number of chunks is unknown. Keys without an item cost as much as
/// others, so it is few, and four times as many with each further call.
const FIRST_UNSEALED: usize = 4;

/// What has been processed of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Number of done chunks.
    pub done: u32,
    /// Number of dead chunks.
    pub dead: u32,
    /// The dead chunks.
    pub dead_chunks: DeadChunks,
    /// Summed counts of the done chunks.
    pub counts: Counts,
}

impl Progress {
    /// Returns the number of chunks that are done or dead.
    pub fn processed(&self) -> u32 {
        self.done + self.dead
    }

    /// Reads the progress of a job. That of a closed job is in its head; that of an open job is in its shards, which
    /// are read up to the first that does not exist if the job is not sealed.
    pub async fn read<T: LedgerTable + ?Sized>(
        table: &T,
        head: &JobHead,
    ) -> Result<Self, LedgerError> {
        if let (Some(counts), Some(chunks)) = (head.final_counts(), head.chunks) {
            return Ok(Self {
                // The previous release counted dead chunks beyond the plan.
                done: chunks.saturating_sub(head.dead),
                dead: head.dead,
                dead_chunks: head.dead_chunks.clone(),
                counts,
            });
        }
        let mut progress = Self::default();
        let (end, mut at_once) = match head.chunks {
            Some(chunks) => (shards_of(chunks), SHARDS_AT_ONCE),
            None => (u32::MAX, FIRST_UNSEALED),
        };
        let mut shards = 0..end;
        loop {
            let requested: Vec<u32> = shards.by_ref().take(at_once).collect();
            let found = table.shards(head.job, &requested).await?;
            for shard in &found {
                progress.done += shard.done_count();
                progress.dead += shard.dead_count();
                progress.dead_chunks += shard.dead_chunks();
                progress.counts += &shard.counts;
            }
            if shards.is_empty() || found.len() < requested.len() {
                return Ok(progress);
            }
            at_once = (at_once * 4).min(SHARDS_AT_ONCE);
        }
    }
}
