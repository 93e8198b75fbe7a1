//! **Worker**: the rows of a chunk land in every store.
//!
//! *Input*: chunk messages from SQS, each at least once, in any order.
//!
//! *Output*: the chunk's rows in MongoDB and in SQL, guarded by version; its rejects as an NDJSON
//! object of the rejects bucket, under a key that is the same each time; its mark and counts in the
//! ledger. The worker whose mark completes a sealed job closes it and publishes its completion.
//!
//! *Failure policy*: each message is answered for itself. One that fails, or that there is no time
//! left for, comes back after its visibility timeout, and goes to the dead-letter queue after five
//! tries. A row that cannot be taken is a reject, not a failure. A chunk whose object was deleted
//! meanwhile is marked as dead, and its job ends as partial; so is one whose dataset does not fit a table
//! of a store, and then its job fails and says what to do. What a snapshot does not have is deleted before its
//! job is closed. The mark comes last: whatever a worker
//! dies before is done again by the next, and meets rows of its own version.
//!
//! *Memory*: one chunk, with its rows.

mod chunk;
mod context;
mod error;
mod handler;
mod header;

pub use context::Context;
pub use error::WorkError;
pub use handler::handle;
