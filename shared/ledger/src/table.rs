use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use landfall_domain::{
    Counts, DeadChunk, DeadChunks, JobId, JobState, ObjectOrder, Problem, PruneDecision, StoreKind,
    Warning,
};

use crate::{
    Cancellation, JobHead, LedgerError, Maintenance, Pause, PlanBlock, RecordedCheckpoint, Redrive,
    Reopen, Repairs, Shard,
};

/// How a chunk ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkOutcome {
    /// Its rows are in every store or among the rejects.
    Done(Counts),
    /// It could not be processed.
    Dead(DeadChunk),
}

/// A conditional update of the head of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadUpdate {
    /// Adds a shard to the full ones, unless it is one of them.
    Full(u32),
    /// Sets the problem of an open job that has none.
    Problem(Problem),
    /// Seals a job that is not sealed.
    Seal(Seal),
    /// Cancels an open job, unless it is cancelled, or the decision on its prune is taken.
    Cancel(Cancellation),
    /// Sets the decision on the prune of an open job that has none, unless it is cancelled.
    Prune(PruneDecision),
    /// Closes an open job in this attempt, as cancelled if and only if it is.
    Close(Close),
    /// Sets that the completion event of a closed job is published.
    Published {
        /// The attempt that it closed in.
        attempt: u32,
        /// When that was first recorded.
        at: String,
    },
    /// Opens a closed job, whose event is published, as the next attempt.
    Reopen(Reopen),
    /// Adds a derived job to the redrives of a closed job, whose event is published.
    Derive(Reopen),
    /// Sets that all dead chunks of an open job are sent again in this attempt.
    Resent {
        /// The attempt.
        attempt: u32,
    },
    /// Sets when the prune that was held back was first confirmed.
    ConfirmPrune(String),
    /// Sets how many rows the confirmed prune has deleted in each store, unless that is set.
    Pruned(BTreeMap<StoreKind, u64>),
    /// Sets that the completion event of the confirmed prune is published.
    PrunePublished,
    /// Sets that the job makes progress now.
    Progress,
    /// Sets the attempts to repair the job, unless somebody else has tried since the last one that the caller has seen.
    Repair {
        /// The attempts that the caller has seen.
        seen: Option<Repairs>,
        /// The attempts with the one that begins.
        repairs: Repairs,
    },
    /// Sets why the splitter has given up its attempts on the object of a job that is not sealed.
    SplitError(String),
    /// Adds an unfinished job to the index of open jobs.
    ListAsOpen,
    /// Sets how far the maintenance is that the job has caused, unless it is finished.
    Maintains(Maintenance),
    /// Sets that maintenance waits, unless it has begun.
    AwaitsMaintenance(Maintenance),
    /// Sets when the maintenance was finished, unless there was none.
    Maintained(String),
}

/// What a splitter records once it has sent every chunk of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Seal {
    /// Number of chunks.
    pub chunks: u32,
    /// The problem of the object, if it has one. Otherwise the job keeps the problem that it has.
    pub problem: Option<Problem>,
    /// What may be wrong with the object.
    pub warnings: Vec<Warning>,
}

/// How a job closes.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// See [`JobHead::attempt`].
    pub attempt: u32,
    /// See [`JobHead::redrives`].
    pub redrives: Vec<Redrive>,
    /// The final state.
    pub state: JobState,
    /// See [`JobHead::problem`].
    pub problem: Option<Problem>,
    /// See [`JobHead::counts`].
    pub counts: Counts,
    /// See [`JobHead::dead`].
    pub dead: u32,
    /// See [`JobHead::dead_chunks`].
    pub dead_chunks: DeadChunks,
    /// See [`JobHead::closed_at`].
    pub closed_at: String,
}

impl Close {
    /// Returns whether this is the present attempt, and the outcome takes into account whether the job is cancelled.
    pub(crate) fn fits(&self, head: &JobHead) -> bool {
        head.attempt == self.attempt
            && head.cancelled.is_some() == (self.state == JobState::Cancelled)
    }
}

/// The atomic updates of single items that the ledger consists of.
///
/// Each is one conditional write: it may be repeated after a lost response.
#[async_trait]
pub trait LedgerTable: Send + Sync {
    /// Stores the head of a job that has none. Returns the stored head.
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError>;

    /// Returns the head of a job.
    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError>;

    /// Stores an empty shard, unless it exists.
    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError>;

    /// Returns these shards of a job, at most 100, without those that do not exist.
    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError>;

    /// Stores the planned chunks of a shard, unless as many are stored.
    async fn put_plan(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError>;

    /// Returns the planned chunks of these shards of a job, at most 100, without the shards that have none.
    async fn plan(&self, job: JobId, shards: &[u32]) -> Result<Vec<PlanBlock>, LedgerError>;

    /// Stores a checkpoint, unless one is stored that is as far. Returns the stored one.
    async fn put_checkpoint(
        &self,
        job: JobId,
        checkpoint: &RecordedCheckpoint,
    ) -> Result<RecordedCheckpoint, LedgerError>;

    /// Returns the checkpoint of a job.
    async fn checkpoint(&self, job: JobId) -> Result<Option<RecordedCheckpoint>, LedgerError>;

    /// Adds a chunk and its counts to its shard, unless it is in one of the sets, or it is dead in an attempt before
    /// the one in which dead chunks were last taken out of the shard. What is known of a dead chunk is kept for the
    /// first [`MAX_LISTED_DEAD_CHUNKS`](landfall_domain::MAX_LISTED_DEAD_CHUNKS) of a shard, and for the others only
    /// the code. Returns the shard as it is afterwards, and whether this call added the chunk.
    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError>;

    /// Sets the number of chunks in a shard. Returns the shard as it is afterwards.
    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError>;

    /// Moves dead chunks of a shard to those that are about to be sent again, unless that was done in this attempt.
    /// Returns the shard as it is afterwards.
    async fn reset_dead(
        &self,
        job: JobId,
        shard: &Shard,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<Shard, LedgerError>;

    /// Removes chunks from those that are about to be sent again, unless that began in another attempt.
    async fn remove_resent(
        &self,
        job: JobId,
        shard: u32,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<(), LedgerError>;

    /// Updates the head of a job, if the condition of the update is met. Returns the head as it is afterwards.
    async fn update_head(&self, job: JobId, update: &HeadUpdate) -> Result<JobHead, LedgerError>;

    /// Raises the generation of a dataset: what was read in an earlier one may lack rows of a closed job. It may be
    /// raised more than once.
    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError>;

    /// Raises the order of the newest pruned snapshot of a dataset, unless it is greater.
    async fn raise_floor(&self, dataset: &str, order: ObjectOrder) -> Result<(), LedgerError>;

    /// Returns the order of the newest pruned snapshot of a dataset.
    async fn floor(&self, dataset: &str) -> Result<Option<ObjectOrder>, LedgerError>;

    /// Pauses a dataset, unless it is paused. Returns the pause as it is afterwards.
    async fn pause(&self, dataset: &str, pause: &Pause) -> Result<Pause, LedgerError>;

    /// Ends the pause of a dataset.
    async fn resume(&self, dataset: &str) -> Result<(), LedgerError>;

    /// Returns the pause of a dataset.
    async fn find_pause(&self, dataset: &str) -> Result<Option<Pause>, LedgerError>;
}
