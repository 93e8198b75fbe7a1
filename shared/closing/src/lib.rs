//! Closes complete jobs: checks, prunes, closes, publishes.
//!
//! [`Closer`] is the only component that closes jobs. It combines the ledger, the stores and the publisher:
//!
//! 1. *Check*: the job is open, sealed, and all its chunks are marked. Otherwise there is nothing to do.
//! 2. *Prune*: if the job is a snapshot that is going to succeed without rejects, delete the rows it does not
//!    contain. Before the first is deleted, count them in every store and record in the ledger whether that is allowed.
//!    If they are too many, the job closes without the prune. Counting and deleting take steps, each of one range of a
//!    table. When no time is left, a close message is sent, whose receiver takes the next steps.
//! 3. *Raise* the dataset's generation, so that cached answers from before the close are no longer used.
//! 4. *Close* with a conditional write, so that exactly one caller sets the state.
//! 5. *Publish* the completion event, whose id is derived from the job id, and note in the ledger that it is
//!    published.
//!
//! Once somebody confirms a prune that was held back, the closer deletes the rows in every store, records their
//! numbers, and publishes the completion event again, with another id and without the problem.
//!
//! [`cancel_job`] cancels an open job. Its chunks that are not processed yet are marked dead, and it closes like any
//! other, but as cancelled and without a prune. The decision on a prune and a cancellation exclude each other, and a
//! close is only recorded with the outcome that fits; otherwise the closer determines it again.
//!
//! [`redrive_job`] opens a closed job again, so that a worker sends its dead chunks again. Each attempt closes once and
//! has an event of its own.
//!
//! Every step can be repeated, and a step found done leads to the next one, so any number of callers may close a job
//! at the same time. If a worker dies anywhere, the redelivered message completes the rest.
//!
//! Workers run the closer after each mark and for each close message. The splitter and the API never write to a
//! store, so they enqueue a close message instead.

mod cancel;
mod closer;
mod confirm;
mod error;
mod redrive;

pub use cancel::{CancelError, cancel_job};
pub use closer::Closer;
pub use confirm::{ConfirmError, confirm_prune};
pub use error::CloseError;
pub use redrive::{RedriveError, redrive_job, redrive_with_latest};
