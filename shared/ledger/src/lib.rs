//! Records the progress of jobs.
//!
//! A plain counter of remaining chunks counts twice when a message is delivered twice, and is lost with a crash. So the
//! ledger stores *sets*, and derives the numbers from them:
//!
//! - the **head** of a job: its object, definition and order, the number of chunks once it is *sealed*, the set of full
//!   shards, its state, and whether its completion is published;
//! - one item for each **shard** of [`SHARD_CHUNKS`] chunks: the set of done ordinals, the set of dead ones, and their
//!   summed counts. One conditional update adds a chunk to a set and its counts to the sums. A second delivery fails
//!   the condition and adds nothing.
//!
//! A shard with as many ordinals as chunks is added to the head's set of full shards. A sealed head with every shard in
//! its set is *complete* and can be closed, which is not done here. Every step may be repeated. A caller that finds a
//! step done continues with the next one, so the redelivery after a crash completes what the crash interrupted.
//!
//! A dataset has a **generation**, which is raised before a job of the dataset closes: reads in the current generation
//! see the rows of all closed jobs.
//!
//! The table also counts the requests of each token: see [`PermitTable`].
//!
//! [`Ledger`] performs the steps with the atomic updates of a [`LedgerTable`]: [`DynamoTable`] in the functions,
//! [`MemoryTable`] in the simulation and in tests. Readers use [`JobIndex`], and show a job as a [`JobView`].

mod dynamo;
mod error;
mod head;
mod index;
mod item;
mod ledger;
mod memory;
mod permits;
mod progress;
mod shard;
mod table;
mod view;

pub use dynamo::DynamoTable;
pub use error::LedgerError;
pub use head::{JobHead, Pinned, Seal};
pub use index::{JobIndex, JobsCursor, JobsPage, JobsQuery};
pub use item::job_of_item;
pub use ledger::{Ledger, Mark, Sums};
pub use memory::MemoryTable;
pub use permits::PermitTable;
pub use progress::Progress;
pub use shard::{SHARD_CHUNKS, Shard, chunks_in, shard_of, shards_of};
pub use table::{ChunkOutcome, LedgerTable};
pub use view::{ChunksView, JobView, ObjectView};
