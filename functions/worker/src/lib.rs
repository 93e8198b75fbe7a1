//! **Worker**: applies the rows of a chunk to every store.
//!
//! *Input*: messages of the chunk queue, delivered at least once and in any order: *chunk* (process a chunk) and
//! *close* (close a job).
//!
//! *Output*: the chunk's rows in MongoDB and in SQL, guarded by version; its rejects as an NDJSON object in the
//! rejects bucket, under a key derived from job and chunk; its mark and counts in the ledger. After marking a
//! chunk, and for each close message, the worker runs the closer.
//!
//! *Failure policy*: each message succeeds or fails by itself. A message that fails, or for which no time is left,
//! returns after its visibility timeout. After five attempts it goes to the dead-letter queue. A row that cannot be
//! ingested is a reject, not a failure. If a chunk's object has been deleted, the chunk is marked dead and its job
//! closes as partial. If its dataset does not fit a store's table, the chunk is marked dead and the job fails with
//! a remedy. The mark comes last: if a worker dies before it, the next worker repeats the chunk and meets rows of
//! the same version.
//!
//! *Memory*: one chunk (8 MiB by default), with its rows (at most 32 MiB besides their text) and rejects.

mod chunk;
mod context;
mod error;
mod handler;
mod header;

pub use context::Context;
pub use error::WorkError;
pub use handler::handle;
