use async_trait::async_trait;
use landfall_domain::{Counts, JobId, JobState, Problem};

use crate::{JobHead, LedgerError, Seal, Shard};

/// How a chunk ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkOutcome {
    /// Its rows are in every store or among the rejects.
    Done(Counts),
    /// It could not be processed.
    Dead,
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

    /// Returns these shards of a job, without those that do not exist.
    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError>;

    /// Adds a chunk and its counts to its shard, unless it is in one of the sets. Returns the shard as it is
    /// afterwards, and whether this call added the chunk.
    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError>;

    /// Sets the number of chunks in a shard. Returns the shard as it is afterwards.
    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError>;

    /// Adds a shard to the full ones. Returns the head as it is afterwards.
    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError>;

    /// Sets the problem of an open job that has none.
    async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError>;

    /// Seals a job that is not sealed. A seal without a problem keeps the problem of the job. Returns the head as it is
    /// afterwards.
    async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError>;

    /// Raises the generation of a dataset: what was read in an earlier one may lack rows of a closed job. It may be
    /// raised more than once.
    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError>;

    /// Closes an open job. Returns the head as it is afterwards, also if another caller closed the job.
    async fn close(
        &self,
        job: JobId,
        state: JobState,
        problem: Option<&Problem>,
        counts: &Counts,
        dead: u32,
        closed_at: &str,
    ) -> Result<JobHead, LedgerError>;

    /// Sets that the completion event of a closed job is published, and when that was first recorded. Returns the head
    /// as it is afterwards.
    async fn set_published(&self, job: JobId, at: &str) -> Result<JobHead, LedgerError>;
}
