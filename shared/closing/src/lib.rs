//! Closes complete jobs.
//!
//! The ledger records marks, and says when a job [awaits its close](JobHead::awaits_close). A [`Closer`] then checks
//! the shards, deletes the rows that a snapshot lacks, closes the job with a conditional write, and publishes the
//! completion event. Every step may be repeated, so any number of callers may close a job at the same time, and a
//! caller that dies is followed by the redelivery of its message.
//!
//! A closer needs the stores. Functions without them send a close message to the chunk queue instead.

mod closer;
mod error;

pub use closer::Closer;
pub use error::CloseError;
#[cfg(doc)]
use landfall_ledger::JobHead;
