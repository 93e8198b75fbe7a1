//! The ledger: what has been done of a job.
//!
//! A plain counter of remaining chunks counts twice when a message is delivered twice and is lost
//! with a crash, so what is stored is a *set*, and the numbers follow from it:
//!
//! - the **head** of a job: its object, definition and order, the number of chunks once it is
//!   *sealed*, the set of full shards, its state, and whether its completion has been published;
//! - one item for each **shard** of [`SHARD_CHUNKS`] chunks: the set of done ordinals, the set of
//!   dead ones, and their summed counts. A chunk enters one of the sets once, by one conditional
//!   update that also adds its counts; a second delivery meets the condition and adds nothing.
//!
//! A shard whose sets have as many ordinals as it has chunks is added to the head's set. A sealed
//! head with all shards in its set is closed, by a condition; only then is the event published, and
//! then marked as published. Whoever comes last does it: each step is safe to repeat, and every
//! caller that sees a step done goes on with the next, so that a crash between two of them is mended
//! by the redelivery that follows it.
//!
//! A dataset has a **generation**, which is raised before a job of it closes: what was read of the dataset
//! under the present generation has the rows of all its closed jobs.
//!
//! Beside the jobs, the table counts the requests of each token: see [`PermitTable`].
//!
//! [`Ledger`] has these steps, over the atomic updates of a [`LedgerTable`]: [`DynamoTable`] in the
//! functions, [`MemoryTable`] in the simulation and in tests of the steps themselves. Readers go by
//! [`JobIndex`], and show a job as a [`JobView`].

mod dynamo;
mod error;
mod head;
mod index;
mod item;
mod ledger;
mod memory;
mod permits;
mod table;
mod view;

pub use dynamo::DynamoTable;
pub use error::LedgerError;
pub use head::{JobHead, Pinned, Seal, Shard};
pub use index::{JobIndex, JobsCursor, JobsPage, JobsQuery};
pub use item::job_of_item;
pub use ledger::{Ledger, PruneError, Pruner, Publisher};
pub use memory::MemoryTable;
pub use permits::PermitTable;
pub use table::{ChunkOutcome, LedgerTable};
pub use view::{ChunksView, JobView, ObjectView, Progress};

/// Chunks in a shard. An item of so many ordinals stays near 1 KB, the unit that a write is paid by.
pub const SHARD_CHUNKS: u32 = 128;

/// The shard that a chunk belongs to.
pub fn shard_of(ordinal: u32) -> u32 {
    ordinal / SHARD_CHUNKS
}

/// The number of shards of so many chunks.
pub fn shards_of(chunks: u32) -> u32 {
    chunks.div_ceil(SHARD_CHUNKS)
}

/// The number of chunks in a shard of a job with so many chunks.
pub fn chunks_in(shard: u32, chunks: u32) -> u32 {
    chunks
        .saturating_sub(shard * SHARD_CHUNKS)
        .min(SHARD_CHUNKS)
}
