use std::collections::{BTreeMap, BTreeSet};

use landfall_domain::{Counts, DeadChunk, DeadChunks, DeadCode};

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
    /// Ordinals of the dead chunks by reason.
    pub dead_by_code: BTreeMap<DeadCode, BTreeSet<u32>>,
    /// The dead chunks by ordinal, as many as are kept.
    pub dead_chunks: BTreeMap<u32, DeadChunk>,
    /// Ordinals of the chunks that were dead and are about to be sent again.
    pub resend: BTreeSet<u32>,
    /// The attempt of the job in which dead chunks were last taken out; 0 if they never were.
    pub attempt: u32,
    /// Summed counts of the done chunks.
    pub counts: Counts,
    /// When the last of its chunks was marked; RFC 3339.
    pub marked_at: Option<String>,
}

impl Shard {
    /// Returns whether a chunk is done or dead.
    pub fn has(&self, ordinal: u32) -> bool {
        self.done.contains(&ordinal) || self.dead.contains(&ordinal)
    }

    /// Returns the planned chunks that are neither done nor dead.
    pub fn missing(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.ordinals().filter(|ordinal| !self.has(*ordinal))
    }

    /// Returns the number of planned chunks that are done.
    ///
    /// Chunks beyond the plan do not count. They were sent by a splitter that died, for an object that no longer
    /// existed when the next splitter planned it.
    pub fn done_count(&self) -> u32 {
        self.planned(&self.done)
    }

    /// Returns the number of planned chunks that are dead.
    pub fn dead_count(&self) -> u32 {
        self.planned(&self.dead)
    }

    /// Returns the planned chunks that are dead.
    pub(crate) fn planned_dead(&self) -> BTreeSet<u32> {
        self.dead.range(self.ordinals()).copied().collect()
    }

    /// Returns the planned chunks that are dead, and why.
    pub fn dead_chunks(&self) -> DeadChunks {
        let by_code = self.dead_by_code.iter();
        let by_code = by_code.map(|(code, ordinals)| (*code, self.planned(ordinals)));
        let first = self.dead_chunks.range(self.ordinals());
        DeadChunks {
            by_code: by_code.filter(|(_, count)| *count > 0).collect(),
            first: first.map(|(_, chunk)| chunk.clone()).collect(),
        }
    }

    /// Returns whether every planned chunk is done or dead.
    pub fn is_full(&self) -> bool {
        debug_assert!(
            self.done.is_disjoint(&self.dead),
            "a chunk is done and dead"
        );
        self.done_count() + self.dead_count() == self.chunks
    }

    fn planned(&self, ordinals: &BTreeSet<u32>) -> u32 {
        ordinals.range(self.ordinals()).map(|_| 1).sum()
    }

    /// Returns the ordinals of the planned chunks.
    fn ordinals(&self) -> std::ops::Range<u32> {
        let first = self.index * SHARD_CHUNKS;
        first..first + self.chunks
    }
}
