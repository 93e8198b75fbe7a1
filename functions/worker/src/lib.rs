//! **Worker**: writes the rows of a chunk to every store, and closes jobs.
//!
//! *Input*: messages of the chunk queue, delivered at least once and in any order: chunks to process and jobs to close.
//!
//! *Output*: the rows of the chunk in MongoDB and in SQL, guarded by version; its rejects as an NDJSON object in the
//! rejects bucket, whose key is the same in every attempt; its mark and counts in the ledger. The worker whose mark
//! completes a sealed job closes the job and publishes its completion event. So does a close message.
//!
//! *Failure policy*: each message succeeds or fails on its own. A message that fails, or that no time is left for, is
//! redelivered after its visibility timeout, and goes to the dead-letter queue after five attempts. A record that
//! cannot be ingested is a reject, not a failure. If the object was deleted meanwhile, the chunk is marked as dead and
//! the job ends as partial. If the dataset does not match a table, the chunk is marked as dead and the job fails with
//! instructions. The mark comes last: after a crash, the next attempt finds rows of its own version in the stores.
//!
//! *Memory*: one chunk with its rows.

mod chunk;
mod context;
mod error;
mod handler;
mod header;

pub use context::Context;
pub use error::WorkError;
pub use handler::handle;
