//! **Janitor**: finds jobs that make no progress and gets them on, and starts jobs whose notification was lost.
//!
//! *Input*: a schedule, every minute; and the dead-letter queues of the chunk queue and of the splitter, which is also
//! that of the split queue.
//!
//! *Output*: messages of the chunk queue that were lost, rebuilt from the ledger's plan; close messages; messages of
//! the split queue and notifications for the splitter; dead chunks and problems in the ledger. The janitor itself
//! writes to no store and closes no job.
//!
//! A run looks at the open jobs, oldest first, and at a part of the inbox. Each job is decided from its head, and if
//! chunks are missing, from its shards:
//!
//! | job | without progress for | the janitor |
//! |---|---|---|
//! | not sealed | 10 minutes, 16 if its object is compressed | enqueues a message of the split queue |
//! | redriven, and not all of its dead chunks are sent again | 2 minutes | sends a message for a worker to do so |
//! | sealed, chunks missing, chunk queue empty | 2 minutes | sends the messages of all missing chunks again |
//! | sealed, chunks missing, chunk queue not empty | 6 minutes | sends one message again, of the last missing chunk |
//! | complete, but not closed or not published | 2 minutes | sends a close message |
//!
//! The pause doubles with each attempt, up to 64 minutes (192 while the queue is not empty), and starts over with any
//! progress. An attempt begins with a conditional write, so of two runs at the same time, only one acts. After six
//! attempts without progress, the janitor gives up: it seals the job as failed (`split_failed`), marks the missing
//! chunks dead (`lost`), or lets a snapshot that cannot be pruned fail without a prune (`close_failed`). That is four
//! hours after the last progress, and six for a job that is not sealed. A job whose event cannot be published is
//! closed, and publishing is attempted forever, every 64 minutes. So is a redrive, which fails only with the ledger or
//! the queue.
//!
//! A job that is redriven has shards that are full in its head, although their dead chunks were taken out. So it counts
//! as complete only if all its shards are.
//!
//! A job that was open before the ledger got its index of open jobs is in no such list. For an hour after its first
//! run, the janitor walks through the list of all jobs, 1,000 in each run, and adds the open ones to the index.
//!
//! # Why a probe
//!
//! Chunks may wait in a long queue for hours, and their number must not grow meanwhile. SQS does not say which messages
//! wait. So only one message is sent again, that of the last chunk. It arrives after all that were sent before it,
//! approximately. Once that chunk is marked, the other messages are lost, and are sent again.
//!
//! # Dead letters
//!
//! A chunk is marked dead by its worker, so its message becomes a dead letter only if no worker could reach the ledger,
//! or every worker died. It is dropped once, because the sweep sends it again. After that, the janitor marks the chunk
//! dead. A write by the API is not sent again: it has failed (`lost`). A failed notification adds its error to the head
//! of the job, which the sweep splits again or fails. If there is no job, the inventory starts it again, until the
//! object is 12 hours old: then the job is created to fail. What is neither stays in its queue, where an alarm reports
//! it.
//!
//! # Inventory
//!
//! Every 10 minutes or more, the janitor begins a round through all versions of all objects in the inbox, 5,000 in each
//! run. It runs the splitter for those that have no job at the ages of 16, 32, 64, … minutes, up to 7 days. The order
//! of such an object is that of its time in S3, cut to seconds.
//!
//! # Numbers
//!
//! A request that creates a numbered row gets the number first, and then sends the row. If it dies in between, the
//! number has no row. The ledger lists parents with numbers that are not checked. In the first run that finds one, the
//! janitor records its last numbers. An hour later, it enqueues a message for a worker to check them, every hour until
//! they are checked; those without a row become voids. A message of a row never takes as long, unless a store is down
//! or the dataset is paused: then a worker checks nothing.
//!
//! *Failure policy*: a job or an object that cannot be repaired is logged and counted, and the next run tries again. A
//! failure that stops a run is an error, which an alarm counts. Every step may be repeated.
//!
//! *Memory*: the heads of 100 jobs, the plans of 100 shards, 100 parents, or 1,000 versions of objects.

mod aws;
mod context;
mod dead_letters;
mod decision;
mod error;
mod handler;
mod inventory;
mod notification;
mod numbers;
mod patience;
mod report;
mod sweep;
mod upgrade;

pub use context::{Backlog, Clock, Context, Splitter};
pub use error::JanitorError;
pub use handler::{handle, run};
pub use inventory::{Inventory, StoredVersion, VersionMarker};
pub use patience::Patience;
pub use report::Report;
