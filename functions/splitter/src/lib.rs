//! **Splitter**: creates a job for each new object in the inbox, and a message for each of its chunks.
//!
//! *Input*: S3 notifications of created objects, delivered at least once and in any order, and messages of the split
//! queue, which name jobs to continue.
//!
//! *Output*: the job's head, shards and plan in the ledger; one message per chunk in the chunk queue, sent while the
//! object is still being read; finally the seal, with the number of chunks. If all chunks were marked before the
//! seal, or there are none, the splitter enqueues a close message. It never closes a job itself, because closing a
//! snapshot deletes rows, and only workers write to the stores. The text of a packed object goes to the work bucket, in
//! parts of [`SEGMENT_BYTES`].
//!
//! *Failure policy*: a problem with the object itself (no such dataset, another format, empty) ends the job with a
//! [`landfall_domain::Problem`], because a retry would find the same. Everything else is an error: Lambda retries a
//! notification twice, and the split queue a message nine times, before it goes to the dead-letter queue. A retry plans
//! with what the first attempt pinned in the head (object version, definition, chunk size, order, limits), and
//! continues from the last checkpoint. It finds the same chunks, and the messages it repeats meet chunks that are
//! already marked.
//!
//! The splitter of a cancelled job stops before the first shard of 128 chunks that no splitter has begun. Workers skip
//! the chunks that are sent already.
//!
//! A dataset without definition is such a problem, whose message has a definition that is inferred from at most 1 MiB
//! of the object. With `LANDFALL_AUTO_DATASETS`, it is stored in the configuration bucket instead, unless another one
//! is there by then, and the job goes on.
//!
//! *Memory*: [`SEGMENT_BYTES`] times [`SEGMENTS_AHEAD`] plus one segment of the object, three groups of at most 1,000
//! chunks and those of a segment, and 80 messages, whatever the size of the object. For a packed object, there are
//! three segments of it, six of its text, and what its decoder needs, at most 128 MiB ([`landfall_packed`]).
//!
//! # How another invocation continues
//!
//! An invocation reads for at most 14 minutes. Chunks are sent in groups, after 128 MiB or 1,000 chunks at the latest:
//! first the plan of a group is recorded, then its messages are sent, and then a checkpoint is recorded with the state
//! of the scanner. An invocation that continues from there, after the time was over or after a crash, finds the same
//! chunks as one splitter alone, and repeats at most the messages of one group.
//!
//! An invocation that stops early enqueues a message in the split queue. A second notification of the object continues
//! in the same way. If two splitters read an object at the same time, the slower one stops when it finds a checkpoint
//! further on: the faster one is alive, or its notification or message is delivered again.
//!
//! Lambda stops functions that invoke themselves through a queue after 16 rounds, unless `RecursiveLoop` allows it.
//! Here each round reads at least one segment further, so they end with the object.
//!
//! # Packed objects
//!
//! The first bytes of an object say whether it is compressed, whatever its name and its `Content-Encoding`. That is
//! pinned when the job starts, with the size of a part. The splitter unpacks the object as a stream, and stores each
//! part of the text before it scans it, so that a worker finds all parts of its chunk. Every position of the job is one
//! of the text. The key of a part follows from job and number, and its content is always the same, so it can be written
//! again.
//!
//! The rows before the damage of a damaged object are ingested, except a last one that is cut. The bounds of
//! [`landfall_packed`] end the job of an object that unpacks to too much, also if its text has no chunks for another
//! reason.
//!
//! No decoder can be stored in a checkpoint, so an invocation that continues unpacks the object again from its start,
//! without scanning or storing what is stored. That may take 12 of its 14 minutes, or the object is too large.
//! `cargo run --release -p landfall-packed --example unpacking` prints how fast each codec is unpacked.
//!
//! # Why the splitter reads every byte
//!
//! A worker could find the next newline of NDJSON by itself. Reading everything gives exact line numbers in
//! rejects, a record count to check each worker's count against, and the detection of oversize records in constant
//! memory. Finding boundaries is far from being the bottleneck:
//! `cargo run --release -p landfall-formats --example throughput` prints its MB/s, beside those of decoding.
//!
//! # Why chunks have one size
//!
//! A chunk has 8 MiB or 100,000 records, whichever comes first, unless configured otherwise. It is what a worker
//! holds in memory and what a store applies at once. The larger it is, the more of its keys are neighbours in an
//! index, and the less each key costs.
//!
//! A job has at most 4,000,000 chunks: the head of a job lists its full shards of 128 chunks, and an item of the ledger
//! has at most 400 KB.

mod context;
mod error;
mod fixed;
mod handler;
mod plan;
mod segments;
mod send;
mod stop;
mod unknown;
mod unpacking;

pub use context::Context;
pub use error::SplitError;
pub use handler::handle;
pub use segments::{SEGMENT_BYTES, SEGMENTS_AHEAD};
