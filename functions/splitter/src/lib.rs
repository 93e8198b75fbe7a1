//! **Splitter**: a new object in the inbox becomes a job, and each of its chunks a message.
//!
//! *Input*: notifications of S3's that an object was created, at least once, in any order.
//!
//! *Output*: the job's head and shards in the ledger; one message for each chunk in the chunk queue,
//! sent while the object is still being read; at the end the seal, with the number of chunks. A job
//! of no chunk is closed here, and its completion event published.
//!
//! *Failure policy*: what is wrong with the object itself (no such dataset, not of its format, empty)
//! closes the job with a [`landfall_domain::Problem`]: another try would find the same. Everything
//! else is an error: Lambda calls twice more, then the notification waits in the dead-letter queue.
//! A further try plans with what the first one pinned in the head (definition, chunk size, order),
//! so it finds the same chunks, and the messages it repeats meet chunks that are marked already.
//!
//! *Memory*: [`SEGMENT_BYTES`] times [`SEGMENTS_AHEAD`] of the object, whatever its size.

mod context;
mod error;
mod handler;

pub use context::Context;
pub use error::SplitError;
pub use handler::{MAX_OBJECT_BYTES, SEGMENT_BYTES, SEGMENTS_AHEAD, handle};
