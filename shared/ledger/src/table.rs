use async_trait::async_trait;
use landfall_domain::{Counts, JobId, JobState, Problem};

use crate::{JobHead, LedgerError, Seal, Shard};

/// How a chunk ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkOutcome {
    /// Its rows are in every store or among the rejects.
    Done(Counts),
    /// It was given up.
    Dead,
}

/// The atomic updates of single items that the ledger is made of.
///
/// Each is one conditional write: it may be repeated, and a lost answer does no harm.
#[async_trait]
pub trait LedgerTable: Send + Sync {
    /// Stores the head of a job that has none. Gives the head that is there.
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError>;

    /// The head of a job.
    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError>;

    /// Stores an empty shard where there is none.
    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError>;

    /// Shards of a job, the given ones; missing ones are left out.
    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError>;

    /// Adds a chunk to its shard, with its counts, unless it is in one of the sets.
    /// Gives the shard as it then is, and whether the chunk was added now.
    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError>;

    /// Says how many chunks a shard has. Gives the shard as it then is.
    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError>;

    /// Adds a shard to the full ones. Gives the head as it then is.
    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError>;

    /// Notes the problem of an open job that has none.
    async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError>;

    /// Seals a job that is not; a seal without a problem leaves the one that is there. Gives the head as
    /// it then is.
    async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError>;

    /// Raises the generation of a dataset: what was read of it under an earlier one may lack rows of a job
    /// that is closed. Raising it more than once does no harm.
    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError>;

    /// Closes a job that is open. Gives the head as it then is, whoever closed it.
    async fn close(
        &self,
        job: JobId,
        state: JobState,
        problem: Option<&Problem>,
        counts: &Counts,
        dead: u32,
        closed_at: &str,
    ) -> Result<JobHead, LedgerError>;

    /// Remembers that the completion event of a closed job was taken, and when that was first said. Gives the
    /// head as it then is.
    async fn set_published(&self, job: JobId, at: &str) -> Result<JobHead, LedgerError>;
}
