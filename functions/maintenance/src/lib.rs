//! **Maintenance**: creates what a definition adds to tables that are no longer small, while chunks go on, and deletes
//! expired tombstones.
//!
//! *Input*: messages of the maintenance queue, each with the definition of a dataset. A worker sends one when it
//! prepares a table and leaves indexes or totals out, because creating them would take longer than a chunk may. And a
//! schedule, every day.
//!
//! *Output*: the missing indexes and totals in every store, one after the other. Until then, rows are written and read
//! without them. The head of the job in the ledger shows what is created.
//!
//! For the schedule, the expired tombstones in every SQL database are deleted, of one dataset after the other. A chunk
//! with deletes sweeps those of its dataset, too, but a dataset that gets no more deletes would keep them forever. The
//! registry of the database says which datasets have tombstones, also those whose definition is gone.
//!
//! *Failure policy*: each index is a step, and totals are built in steps. If the function dies, times out or fails, the
//! message is redelivered, and continues with what is still missing. One invocation at a time works on a dataset in a
//! store. Others find it busy and return their message for up to five minutes, as often as they must. This also applies
//! if the function has died or timed out, and the server is still creating what it began. If a step ends shortly before
//! the timeout, the function sends a new message for the rest. A message whose definition is gone, or does not fit the
//! table, is dropped, as the chunks of that definition say why. After 100 attempts, a message goes to the dead-letter
//! queue. If the ledger fails, the maintenance goes on, and its progress is recorded later.
//!
//! Sweeps are short transactions, safe beside each other and beside chunks. What one run does not reach, for lack of
//! time or because a database is down, is left to Lambda's retries and the next day: tombstones may be late to go.
//!
//! *Permissions of its role*: `s3:GetObject` and `GetObjectVersion` in the configuration bucket; `dynamodb:UpdateItem`
//! on the heads of the ledger; `sqs:SendMessage`, `ReceiveMessage`, `DeleteMessage`, `GetQueueAttributes` and
//! `ChangeMessageVisibility` on its queue; `secretsmanager:GetSecretValue` on the addresses of the databases; its logs.
//!
//! *Memory*: a definition. The databases do the work.

mod context;
mod error;
mod handler;
mod progress;
mod sweep;

pub use context::Context;
pub use error::MaintenanceError;
pub use handler::handle;
