//! **Splitter**: starts a job for each new object in the inbox, and sends a message for each of its chunks.
//!
//! *Input*: S3 notifications of created objects, delivered at least once and in any order.
//!
//! *Output*: the head and the shards of the job in the ledger; a message for each chunk in the chunk queue, sent while
//! the object is still being read; and at the end the seal, with the number of chunks. If no chunk is left to be
//! processed then, for example because the object has none, a close message follows: the splitter closes no job.
//!
//! *Failure policy*: a problem of the object itself (unknown dataset, wrong format, no bytes) seals the job with a
//! [`landfall_domain::Problem`], because a retry would find the same. Everything else is an error: Lambda retries
//! twice, then the notification goes to the dead-letter queue. A retry plans with what the first attempt pinned in the
//! head (definition, chunk size, order). So it finds the same chunks, and its messages are deduplicated by their marks.
//!
//! *Memory*: [`SEGMENT_BYTES`] times [`SEGMENTS_AHEAD`] of the object, whatever its size.

mod context;
mod error;
mod handler;

pub use context::Context;
pub use error::SplitError;
pub use handler::{MAX_OBJECT_BYTES, SEGMENT_BYTES, SEGMENTS_AHEAD, handle};
