use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use landfall_domain::{CompletionEvent, Counts, JobId, JobState, Problem, StoreKind};
use tracing::info;

use crate::head::now;
use crate::{
    ChunkOutcome, JobHead, LedgerError, LedgerTable, Progress, Seal, Shard, chunks_in, shard_of,
    shards_of,
};

/// Shards read at once when a job's counts are summed.
pub(crate) const SHARDS_AT_ONCE: usize = 100;

/// Where completion events go.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes an event; returns when the bus has taken it. The text of an error says why not.
    async fn publish(&self, event: &CompletionEvent) -> Result<(), String>;
}

/// Deletes what a complete snapshot does not have.
#[async_trait]
pub trait Pruner: Send + Sync {
    /// Deletes in every store, and gives how many rows those were in each; the same when repeated.
    async fn prune(&self, head: &JobHead) -> Result<BTreeMap<StoreKind, u64>, PruneError>;
}

/// Why a snapshot could not be pruned.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct PruneError {
    /// What the store says.
    pub reason: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

/// The steps of a job, each of them safe to repeat.
#[derive(Clone)]
pub struct Ledger {
    table: Arc<dyn LedgerTable>,
    publisher: Arc<dyn Publisher>,
    pruner: Option<Arc<dyn Pruner>>,
    rejects_bucket: String,
}

impl Ledger {
    /// A ledger over a table. Events say that rejects are in `rejects_bucket`.
    pub fn new(
        table: Arc<dyn LedgerTable>,
        publisher: Arc<dyn Publisher>,
        rejects_bucket: impl Into<String>,
    ) -> Self {
        Self {
            table,
            publisher,
            pruner: None,
            rejects_bucket: rejects_bucket.into(),
        }
    }

    /// With the stores at hand, so that snapshots can be closed.
    #[must_use]
    pub fn with_pruner(self, pruner: Arc<dyn Pruner>) -> Self {
        Self {
            pruner: Some(pruner),
            ..self
        }
    }

    /// Starts a job, or finds the one that an earlier event of its object started.
    pub async fn start(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        self.table.create(head).await
    }

    /// Makes room for a chunk, before its message is sent.
    pub async fn expect_chunk(&self, job: JobId, ordinal: u32) -> Result<(), LedgerError> {
        if ordinal == shard_of(ordinal) * crate::SHARD_CHUNKS {
            self.table.create_shard(job, shard_of(ordinal)).await?;
        }
        Ok(())
    }

    /// Says how many chunks a job has, once all their messages are sent. Closes it if all are done.
    pub async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError> {
        let head = self.table.head(job).await?;
        if let Some(head) = head.filter(|head| head.chunks.is_some()) {
            return self.finish_sealed(head, seal).await;
        }
        if let Some(last) = shards_of(seal.chunks).checked_sub(1) {
            // Before the seal, so that a sealed job lacks nothing but its chunks. A worker that came
            // before the shard's size was known could not see that it was full.
            let size = chunks_in(last, seal.chunks);
            if self.table.size_shard(job, last, size).await?.is_full() {
                self.table.add_full(job, last).await?;
            }
        }
        let head = self.table.seal(job, seal).await?;
        self.finish_sealed(head, seal).await
    }

    async fn finish_sealed(&self, head: JobHead, seal: &Seal) -> Result<JobHead, LedgerError> {
        match head.chunks {
            Some(sealed) if sealed != seal.chunks => Err(LedgerError::PlanChanged {
                job: head.job,
                sealed,
                planned: seal.chunks,
            }),
            _ => self.finish(head).await,
        }
    }

    /// Whether a chunk is done or dead. If so, whatever its taker may have died before is done too.
    pub async fn is_taken(&self, job: JobId, ordinal: u32) -> Result<bool, LedgerError> {
        let shards = self.table.shards(job, &[shard_of(ordinal)]).await?;
        let Some(shard) = shards.first() else {
            return Err(LedgerError::Missing(format!(
                "shard of chunk {ordinal} of job {job}"
            )));
        };
        if !shard.has(ordinal) {
            return Ok(false);
        }
        self.after_chunk(job, ordinal, shard).await?;
        Ok(true)
    }

    /// Marks a chunk as done or dead, once; closes the job and publishes its completion if it was
    /// the last. Gives whether it was counted now.
    pub async fn finish_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<bool, LedgerError> {
        let (shard, added) = self.table.add_chunk(job, ordinal, outcome).await?;
        self.after_chunk(job, ordinal, &shard).await?;
        Ok(added)
    }

    /// Notes why a job is going to fail, unless something is noted already.
    pub async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError> {
        self.table.add_problem(job, problem).await
    }

    /// Does what remains of a sealed job whose chunks are all done: closes it, publishes its event.
    ///
    /// A snapshot whose rows are all there stays open where there is no [`Pruner`].
    pub async fn finish(&self, mut head: JobHead) -> Result<JobHead, LedgerError> {
        if !head.is_complete() || head.published {
            return Ok(head);
        }
        let job = head.job;
        if head.state == JobState::Open {
            let Some((mut counts, dead)) = self.sums(&head).await? else {
                return Ok(head);
            };
            let (state, problem) = head.outcome(&counts, dead);
            if head.prunes(state, problem.as_ref()) {
                let Some(pruner) = &self.pruner else {
                    return Ok(head);
                };
                let pruned = pruner.prune(&head).await;
                let pruned = pruned.map_err(|error| LedgerError::Prune { job, error })?;
                for (store, pruned) in pruned {
                    counts.stores.entry(store).or_default().pruned = pruned;
                }
            }
            // Before the close: whoever has seen a job closed finds its rows wherever the dataset is read.
            if let Some(dataset) = &head.dataset {
                self.table.raise_generation(&dataset.name).await?;
            }
            head = self
                .table
                .close(job, state, problem.as_ref(), &counts, dead, &now())
                .await?;
        }
        self.publisher
            .publish(&head.completion(&self.rejects_bucket))
            .await
            .map_err(|reason| LedgerError::Publish { job, reason })?;
        head = self.table.set_published(job, &now()).await?;
        info!(%job, state = head.state.as_str(), "job closed");
        Ok(head)
    }

    /// The head of a job.
    pub async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        self.table.head(job).await
    }

    /// What has been done of a job so far.
    pub async fn progress(&self, head: &JobHead) -> Result<Progress, LedgerError> {
        Progress::read(&*self.table, head).await
    }

    async fn after_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        shard: &Shard,
    ) -> Result<(), LedgerError> {
        if shard.is_full() {
            let head = self.table.add_full(job, shard_of(ordinal)).await?;
            self.finish(head).await?;
        }
        Ok(())
    }

    /// What the shards of a sealed job add up to, and its dead chunks; none while a chunk is missing.
    ///
    /// A splitter that found the object gone half-way may have sized a shard below what the one beside
    /// it has sealed. Such a shard passes for full at each further mark, so the last one closes the job.
    async fn sums(&self, head: &JobHead) -> Result<Option<(Counts, u32)>, LedgerError> {
        let chunks = head.chunks.unwrap_or_default();
        let shards: Vec<u32> = (0..shards_of(chunks)).collect();
        let mut counts = Counts::default();
        let mut dead = 0;
        for asked in shards.chunks(SHARDS_AT_ONCE) {
            let found = self.table.shards(head.job, asked).await?;
            if found.len() < asked.len() {
                return Err(LedgerError::Missing(format!("shard of job {}", head.job)));
            }
            for shard in found {
                if !shard.is_full_in(chunks) {
                    return Ok(None);
                }
                counts += &shard.counts;
                dead += u32::try_from(shard.dead.len()).unwrap_or(u32::MAX);
            }
        }
        Ok(Some((counts, dead)))
    }
}
