//! **Splitter**: creates a job for each new object in the inbox, and a message for each of its chunks.
//!
//! *Input*: S3 notifications of created objects, delivered at least once and in any order.
//!
//! *Output*: the job's head and shards in the ledger; one message per chunk in the chunk queue, sent while the
//! object is still being read; finally the seal, with the number of chunks. If all chunks were marked before the
//! seal, or there are none, the splitter enqueues a close message. It never closes a job itself, because closing a
//! snapshot deletes rows, and only workers write to the stores.
//!
//! *Failure policy*: a problem with the object itself (no such dataset, another format, empty) ends the job with a
//! [`landfall_domain::Problem`], because a retry would find the same. Everything else is an error: Lambda retries
//! twice, then the notification goes to the dead-letter queue. A retry plans with what the first attempt pinned in
//! the head (object version, definition, chunk size, order, limits). It finds the same chunks, and the messages it
//! repeats meet chunks that are already marked.
//!
//! The splitter of a cancelled job stops before the first shard of 128 chunks that no splitter has begun. Workers skip
//! the chunks that are sent already.
//!
//! *Memory*: [`SEGMENT_BYTES`] times [`SEGMENTS_AHEAD`] plus one segment of the object, the chunks of those
//! segments, and 160 messages, whatever the size of the object.
//!
//! # Why the splitter reads every byte
//!
//! A worker could find the next newline of NDJSON by itself. Reading everything gives exact line numbers in
//! rejects, a record count to check each worker's count against, and the detection of oversize records in constant
//! memory. Finding boundaries is far from being the bottleneck:
//! `cargo run --release -p landfall-formats --example throughput` prints its MB/s, beside those of decoding.
//!
//! It also bounds the size of an object: 32 GiB is what can be read within the 15 minutes of a Lambda function.
//!
//! # Why chunks have one size
//!
//! A chunk has 8 MiB or 100,000 records, whichever comes first, unless configured otherwise. It is what a worker
//! holds in memory and what a store applies at once. The larger it is, the more of its keys are neighbours in an
//! index, and the less each key costs. If an object would have more than a million chunks, chunks grow with the
//! object, to keep the set of full shards in the job's head small.

mod context;
mod error;
mod fixed;
mod handler;
mod plan;
mod send;

pub use context::Context;
pub use error::SplitError;
pub use handler::handle;
pub use plan::{SEGMENT_BYTES, SEGMENTS_AHEAD};
