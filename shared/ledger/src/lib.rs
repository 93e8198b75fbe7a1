//! The ledger: the progress of each job.
//!
//! A counter of remaining chunks counts twice when a message is redelivered, and loses a count when its caller
//! dies. The ledger therefore stores *sets*, and numbers follow from them:
//!
//! - `job/<id>`, the **head**: what was pinned at the start (object version, definition, order, chunk size,
//!   limits), the number of chunks once the job is *sealed*, `full` (the set of full shards), the state, the counts
//!   once closed, and whether the completion event has been published.
//! - `job/<id>/<n>`, one **shard** of [`SHARD_CHUNKS`] chunks: `done`, `dead`, and the summed counts as numbers.
//!   One `UpdateItem` marks a chunk: `ADD done :ordinal, rows :n, …`, on the condition that the item exists and
//!   neither set contains the ordinal. A failed condition means *already counted*. The caller still runs the
//!   completion check, because the process that counted the chunk may have died right afterwards.
//! - `plan/<id>/<n>`, the **plan** of the shard: its chunks, recorded before their messages are sent.
//!   [`Ledger::planned_chunks`] rebuilds the messages.
//! - `plan/<id>`, the **checkpoint** of a splitter that has not reached the end of its object.
//!
//! A dead chunk is also in the set of its reason, `dead_code_<code>`. The first 20 dead chunks of a shard have an
//! attribute of their own with place and reason, `dead_chunk_<ordinal>`. The close copies at most 20 to the head.
//!
//! Shards keep items near 1 KB, the unit in which DynamoDB bills writes, and spread a job's writes over partitions.
//! The head's set of full shards holds one number per 128 chunks. A shard is assumed to have 128 chunks until the
//! total is known, so the splitter *sizes* the last shard just before it seals the job. In that order, a sealed job
//! waits for nothing but its chunks.
//!
//! A sealed job whose shards are all full can be closed: a conditional write sets the state, then the event is
//! published, then the head is marked as published. Every step is safe to repeat. A caller that finds a step done
//! continues with the next one, so a crash between two steps is repaired by the redelivery that follows.
//! `tests/simulation/closing/crashes.rs` kills a caller before and after every step of every job size, and the rest of
//! `tests/simulation` does the same to the handlers.
//!
//! An open job can be cancelled: the attribute `cancelled` of its head, which workers read before they write a chunk,
//! and splitters before they create a shard. Cancellation, prune and close exclude one another by the conditions of
//! their updates.
//!
//! A closed job with dead chunks can be redriven, as its next attempt: `attempt`, `resending` and `redrives` of the
//! head, and `resend` and `attempt` of the shards. Its done chunks stay done, and its shards may be full while others
//! are not, so only the sums of all shards decide whether it is complete.
//!
//! A dataset has a **generation**, the number in the item `dataset#<name>`. It is raised after the last row of a
//! job is applied and before the job closes. An answer that was read under the present generation therefore
//! contains the rows of all closed jobs. It is a counter rather than the time of the last close, because the clocks
//! of functions differ. If a worker dies between raising it and closing the job, the next one raises it again,
//! which costs one extra read.
//!
//! The same item says who has *paused* the dataset, and has the *floor* of the dataset: the order of its newest
//! snapshot that has been pruned.
//!
//! Heads are indexed by creation, by dataset, and while they are [unfinished](JobHead::is_unfinished). Each index has 8
//! partitions per value, selected by the job id, because a partition accepts about 1,000 writes per second.
//!
//! The janitor finds jobs that make no progress. For that, a shard has the time of its last mark, `marked_at`, and the
//! head `progressed_at`, the time of its seal or of its last full shard, and `repairs`, what has been tried since.
//!
//! The head also has `maintenance`: how far the indexes and totals are that the job's definition adds to big tables. It
//! is recorded after the close, too. Once it is finished, it stays so.
//!
//! The table also counts the requests of each token, see [`PermitTable`], and records which stores are down, see
//! [`CircuitTable`].
//!
//! It has the writes of single rows by the API at `write/<id>` for seven days, the clocks that order them at
//! `clock/<n>`, see [`WriteTable`], and the idempotency keys of such requests for a day, see [`RequestTable`]. The item
//! of a dataset says whether rows may have been deleted so.
//!
//! It has the rows that are parents of numbered rows at `parent#<dataset>/<key>`, see [`ParentTable`]: what was given
//! out of the numbers of each child, and how far the janitor has checked them. The index of open jobs lists those with
//! numbers that are not checked, in partitions of their own.
//!
//! It has the notifications that webhooks are to receive, at `notification#<id>`, with an index of those that are not
//! delivered, see [`NotificationTable`].
//!
//! It has the records of sources and their runs, see [`SourceTable`], and the time slots for requests to their hosts,
//! see [`PaceTable`]. Likewise, it has the circuits, pauses and tasks of destinations, see [`DestinationTable`].
//!
//! [`Ledger`] implements these steps on the atomic updates of a [`LedgerTable`]: [`DynamoTable`] in the functions,
//! [`MemoryTable`] in the simulation and in tests. Readers use [`JobIndex`] and present a job as a [`JobView`].
//!
//! The ledger only records. The `Closer` checks, prunes, closes and publishes.

mod cancel;
mod checkpoint;
mod circuit;
mod cursor;
mod derived;
mod destination;
mod destination_view;
mod dynamo;
mod dynamo_head;
mod dynamo_index;
mod dynamo_notification;
mod dynamo_parent;
mod error;
mod head;
mod index;
mod item;
mod ledger;
mod maintenance;
mod marks;
mod memory;
mod memory_index;
mod memory_notification;
mod notification;
mod notification_view;
mod pace;
mod parent;
mod partitions;
mod pause;
mod permits;
mod plan;
mod progress;
mod prune;
mod redrive;
mod repair;
mod request_key;
mod shard;
mod source;
mod source_view;
mod table;
mod task;
mod view;
mod write;

pub use cancel::{CancelRefusal, Cancellation};
pub use checkpoint::{Checkpoint, RecordedCheckpoint};
pub use circuit::{Circuit, CircuitTable, StoreDown};
pub use cursor::CursorTable;
pub use destination::{
    DestinationError, DestinationNotes, DestinationTable, StoredDestination, StoredTasks,
    change_tasks, request_task,
};
pub use destination_view::{CircuitState, DestinationView};
pub use dynamo::DynamoTable;
pub use error::LedgerError;
pub use head::JobHead;
pub use index::{JobIndex, JobsCursor, JobsPage, JobsQuery, OrderQuery};
pub use item::job_of_item;
pub use ledger::{Ledger, Mark, Sums};
pub use maintenance::{Maintenance, MaintenanceStep};
pub use memory::MemoryTable;
pub use notification::{
    ListedNotification, Notification, NotificationClaim, NotificationEnd, NotificationPlace,
    NotificationState, NotificationTable, NotificationsPage, NotificationsQuery,
};
pub use notification_view::NotificationView;
pub use pace::{Block, Granted, PaceTable};
pub use parent::{CheckedNumbers, Listed, ListedStage, Parent, ParentTable, Relisting};
pub use pause::Pause;
pub use permits::PermitTable;
pub use plan::PlanBlock;
pub use progress::Progress;
pub use prune::PruneRefusal;
pub use redrive::{Redrive, RedriveRefusal, Reopen};
pub use repair::{Repairs, Unfinished};
pub use request_key::{Claim, Claimed, RequestTable};
pub use shard::{SHARD_CHUNKS, Shard, chunks_in, shard_of, shards_of};
pub use source::{MAX_RUNS, SourceTable, StoredSource};
pub use source_view::{CurrentRun, RunView, SourceDefinition, SourceView};
pub use table::{ChunkOutcome, Close, HeadUpdate, LedgerTable, Seal};
pub use task::{
    MAX_OPEN_TASKS, MAX_TASK_BYTES, Task, TaskKind, TaskRequest, TaskSelection, TaskView, Tasks,
    TooManyTasks,
};
pub use view::{ChunksView, ClosingStep, JobView, ObjectView};
pub use write::{Write, WriteEnd, WriteTable};
