//! **Worker**: applies the rows of a chunk to every store.
//!
//! *Input*: messages of the chunk queue, delivered at least once and in any order: *chunk* (process a chunk), *close*
//! (close a job), *redrive* (send the dead chunks of a reopened job again) and *write* (a row that the API has
//! accepted).
//!
//! *Output*: the chunk's rows in MongoDB and in SQL, guarded by version; its rejects as an NDJSON object in the rejects
//! bucket, under a key derived from job and chunk; its mark and counts in the ledger. After marking a chunk, it writes
//! the metrics of the chunk to its log. Then, and for each close message, it runs the closer. If a prune takes longer
//! than an invocation, the worker sends a close message for the rest. If a table lacks an index or totals that would
//! take longer than a chunk may, the worker goes on without them, and sends a message to the maintenance queue. If
//! destinations follow the rows, the worker sends a message to the relay queue after it has stored changes, at most one
//! for each message that it processes. If that fails, the changes leave a little later.
//!
//! *Failure policy*: each message succeeds or fails by itself. A row that cannot be ingested is a reject, not a
//! failure.
//!
//! - An error that a retry cannot fix marks the chunk *dead* at once, with its place and a reason
//!   ([`landfall_domain::DeadCode`]): the object was deleted, a store refused a row, the definition does not fit a
//!   table or is gone, the header or the number of records differs from what the splitter found, the object is so old
//!   that deletes of its rows may be forgotten, or the worker panicked twice in a row. The job closes as partial, or as
//!   failed if the definition does not fit a table. Of a chunk with rows that a store refuses, the other rows are
//!   written all the same.
//! - After any other error, or if no time is left, the message is redelivered after 1 to 2 seconds, and twice as long
//!   each time, up to 30 to 60 seconds. If the last attempt fails, the chunk is marked dead instead. With the 32
//!   receives of the template, there are 31 attempts, which span 13 to 26 minutes, besides the time that they take.
//! - A chunk of a cancelled job is marked dead before any of its rows is written. The job is checked once, while the
//!   object is read: a chunk whose rows are being written when the cancellation arrives is finished.
//! - If a store is down ([`landfall_stores::StoreError::Down`]), its circuit opens: chunks wait up to 30 seconds at a
//!   time, and one at a time tries whether the store is back. These deliveries do not count as attempts. A chunk that
//!   has waited for 72 hours, or what the template says, is marked dead. Work waits as a new message with a delay,
//!   which carries over what counts ([`landfall_aws::Earlier`]); the old message is deleted only after that is sent.
//! - A chunk of a paused dataset waits, like one whose store is down: its message is sent again with a delay of half a
//!   minute to five minutes, and the delivery does not count.
//! - A chunk whose table is locked for its maintenance, or has no room for its rows before that, waits for about a
//!   minute at a time in the same way.
//! - The last receive is only reached if a worker died, or could not mark the chunk. It marks the chunk dead without
//!   another attempt, which could kill the worker again.
//! - While a worker works, it hides its message for a minute again and again. The message of a worker that dies is
//!   redelivered within two minutes.
//! - A message goes to the dead-letter queue only if it is not one of the chunk queue, or if the ledger, a prune or the
//!   event bus fails until the last receive.
//!
//! A write of the API is one row, which is decoded and applied as those of a chunk. It fails and waits for the same
//! reasons. What became of it is recorded in the ledger, after the generation of its dataset is raised. A write that
//! has failed with one worker may be stored by another one: then it is recorded as stored.
//!
//! The mark comes last: if a worker dies before it, the next worker repeats the chunk and meets rows of the same
//! version.
//!
//! The chunk of a packed object is read from the parts of its text in the work bucket, where the splitter has put them.
//!
//! *Memory*: one chunk (8 MiB by default), with its rows (at most 32 MiB besides their text) and rejects. Rejects keep
//! records up to 16 MiB, and their object has records up to 32 MiB. After that, they have only place and reason.

mod bell;
mod chunk;
mod circuit;
mod context;
mod delivery;
mod derived;
mod error;
mod give_up;
mod handler;
mod header;
mod numbers;
mod prepare;
mod redrive;
mod refused;
mod requests;
mod wait;
mod write;

pub use circuit::Clock;
pub use context::{Context, Redelivery};
pub use error::{Wait, WorkError};
pub use handler::handle;
pub use refused::{RefusedPlace, RefusedRows};
