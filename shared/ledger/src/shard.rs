use std::collections::BTreeSet;
use std::ops::Range;

use landfall_domain::Counts;

/// Chunks in a shard. An item with that many ordinals stays near 1 KB, the unit that writes are billed by.
pub const SHARD_CHUNKS: u32 = 128;

/// Returns the shard that a chunk belongs to.
pub fn shard_of(ordinal: u32) -> u32 {
    ordinal / SHARD_CHUNKS
}

/// Returns the number of shards of a job with so many chunks.
pub fn shards_of(chunks: u32) -> u32 {
    chunks.div_ceil(SHARD_CHUNKS)
}

/// Returns the number of chunks in one shard of a job with `chunks` chunks. The shard must be one of the job's.
pub fn chunks_in(shard: u32, chunks: u32) -> u32 {
    debug_assert!(
        shard < shards_of(chunks),
        "shard {shard} of {chunks} chunks"
    );
    (chunks - shard * SHARD_CHUNKS).min(SHARD_CHUNKS)
}

/// A shard of a job's chunks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {
    /// Its number in the job, from 0.
    pub index: u32,
    /// Number of planned chunks: [`SHARD_CHUNKS`] until the seal sets a smaller one.
    pub chunks: u32,
    /// Ordinals of the done chunks.
    pub done: BTreeSet<u32>,
    /// Ordinals of the dead chunks.
    pub dead: BTreeSet<u32>,
    /// Summed counts of the done chunks.
    pub counts: Counts,
}

impl Shard {
    /// Returns whether a chunk is done or dead.
    pub fn has(&self, ordinal: u32) -> bool {
        self.done.contains(&ordinal) || self.dead.contains(&ordinal)
    }

    /// Returns the number of planned chunks that are done.
    ///
    /// Chunks beyond the plan do not count. They were sent by a splitter that died, for an object that no longer
    /// existed when the next splitter planned it.
    pub fn done_count(&self) -> u32 {
        count(&self.done, &self.planned(self.chunks))
    }

    /// Returns the number of planned chunks that are dead.
    pub fn dead_count(&self) -> u32 {
        count(&self.dead, &self.planned(self.chunks))
    }

    /// Returns whether every planned chunk is done or dead.
    pub fn is_full(&self) -> bool {
        self.is_full_with(self.chunks)
    }

    /// Returns whether every chunk of the shard is done or dead in a job with so many chunks.
    pub fn is_full_in(&self, job_chunks: u32) -> bool {
        self.is_full_with(chunks_in(self.index, job_chunks))
    }

    /// Returns the number of dead chunks in a job with so many chunks.
    pub fn dead_in(&self, job_chunks: u32) -> u32 {
        count(&self.dead, &(0..job_chunks))
    }

    fn is_full_with(&self, chunks: u32) -> bool {
        let planned = self.planned(chunks);
        count(&self.done, &planned) + count(&self.dead, &planned) == chunks
    }

    fn planned(&self, chunks: u32) -> Range<u32> {
        debug_assert!(
            self.done.is_disjoint(&self.dead),
            "a chunk is done and dead"
        );
        let first = self.index * SHARD_CHUNKS;
        first..first + chunks
    }
}

fn count(ordinals: &BTreeSet<u32>, planned: &Range<u32>) -> u32 {
    ordinals.range(planned.clone()).map(|_| 1).sum()
}
