use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_domain::{
    Counts, DatasetRef, DeadChunks, JobId, JobState, ObjectOrder, Problem, PruneDecision, StoreKind,
};

use crate::head::now;
use crate::progress::SHARDS_AT_ONCE;
use crate::{
    Cancellation, ChunkOutcome, Close, HeadUpdate, JobHead, LedgerError, LedgerTable, SHARD_CHUNKS,
    Seal, Shard, chunks_in, shard_of, shards_of,
};

/// Records the steps of a job and answers questions about them. Each step may be repeated.
///
/// It does not close jobs: a caller that gets a head which [awaits its close](JobHead::awaits_close) has it closed.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) table: Arc<dyn LedgerTable>,
}

/// A chunk that is done or dead.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Whether this call counted the chunk.
    pub added: bool,
    /// The head of the job, if it awaits its close.
    pub to_close: Option<JobHead>,
}

/// What the chunks of a complete job add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Summed counts of the done chunks.
    pub counts: Counts,
    /// Number of dead chunks.
    pub dead: u32,
    /// The dead chunks.
    pub dead_chunks: DeadChunks,
}

impl Ledger {
    /// Returns a ledger over a table.
    pub fn new(table: Arc<dyn LedgerTable>) -> Self {
        Self { table }
    }

    /// Starts a job, or finds the one that an earlier notification of its object started.
    pub async fn start(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        self.table.create(head).await
    }

    /// Creates the shard of a chunk, if it is the first one. Must precede the message of the chunk.
    ///
    /// Returns whether the chunk may be sent: not if the job is cancelled and no splitter has sent chunks of the shard.
    /// A splitter that resumes a cancelled job thus plans every chunk that was sent.
    pub async fn expect_chunk(&self, job: JobId, ordinal: u32) -> Result<bool, LedgerError> {
        let shard = shard_of(ordinal);
        if ordinal != shard * SHARD_CHUNKS {
            return Ok(true);
        }
        if self.require_head(job).await?.cancelled.is_some()
            && self.table.shards(job, &[shard]).await?.is_empty()
        {
            return Ok(false);
        }
        self.table.create_shard(job, shard).await?;
        Ok(true)
    }

    /// Returns the head of a job that exists.
    pub async fn require_head(&self, job: JobId) -> Result<JobHead, LedgerError> {
        let head = self.table.head(job).await?;
        head.ok_or_else(|| LedgerError::Missing(format!("job {job}")))
    }

    /// Records that an open job is cancelled. Check [`JobHead::check_cancel`] before and afterwards.
    pub async fn cancel(&self, job: JobId, by: &str) -> Result<JobHead, LedgerError> {
        let cancelled = Cancellation {
            by: by.to_owned(),
            at: now(),
        };
        let update = HeadUpdate::Cancel(cancelled);
        self.table.update_head(job, &update).await
    }

    /// Records how many chunks a job has, once all their messages are sent.
    pub async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError> {
        let head = self.table.head(job).await?;
        if let Some(head) = head.filter(|head| head.chunks.is_some()) {
            return check_plan(head, seal);
        }
        if let Some(last) = shards_of(seal.chunks).checked_sub(1) {
            // Sized before the seal, so that a sealed job lacks nothing but its chunks. A worker that came before
            // could not see that the shard was full.
            let size = chunks_in(last, seal.chunks);
            if self.table.size_shard(job, last, size).await?.is_full() {
                self.table.update_head(job, &HeadUpdate::Full(last)).await?;
            }
        }
        let update = HeadUpdate::Seal(seal.clone());
        check_plan(self.table.update_head(job, &update).await?, seal)
    }

    /// Returns the mark of a chunk that is done or dead.
    pub async fn find_mark(&self, job: JobId, ordinal: u32) -> Result<Option<Mark>, LedgerError> {
        let shards = self.table.shards(job, &[shard_of(ordinal)]).await?;
        let Some(shard) = shards.first() else {
            let missing = format!("shard of chunk {ordinal} of job {job}");
            return Err(LedgerError::Missing(missing));
        };
        if !shard.has(ordinal) {
            return Ok(None);
        }
        self.marked(job, shard, false).await.map(Some)
    }

    /// Marks a chunk as done or dead, unless it is marked already.
    pub async fn mark_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<Mark, LedgerError> {
        let (shard, added) = self.table.add_chunk(job, ordinal, outcome).await?;
        self.marked(job, &shard, added).await
    }

    /// Records why a job will fail, unless it has a problem already.
    pub async fn add_problem(&self, job: JobId, problem: Problem) -> Result<(), LedgerError> {
        let update = HeadUpdate::Problem(problem);
        self.table.update_head(job, &update).await.map(drop)
    }

    /// Returns the head of a job.
    pub async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        self.table.head(job).await
    }

    /// Returns what the shards of a job add up to; `None` while a chunk is missing or the job is not sealed.
    ///
    /// A splitter that found the object deleted half-way may have set the size of a shard below what another splitter
    /// has sealed. Such a shard counts as full after each further mark, so the last mark completes the job.
    pub async fn sums(&self, head: &JobHead) -> Result<Option<Sums>, LedgerError> {
        let Some(chunks) = head.chunks else {
            return Ok(None);
        };
        let shards: Vec<u32> = (0..shards_of(chunks)).collect();
        let mut sums = Sums::default();
        for requested in shards.chunks(SHARDS_AT_ONCE) {
            let found = self.table.shards(head.job, requested).await?;
            if found.len() < requested.len() {
                return Err(LedgerError::Missing(format!("shard of job {}", head.job)));
            }
            for mut shard in found {
                shard.chunks = chunks_in(shard.index, chunks);
                if !shard.is_full() {
                    return Ok(None);
                }
                sums.counts += &shard.counts;
                sums.dead += shard.dead_count();
                sums.dead_chunks += shard.dead_chunks();
            }
        }
        Ok(Some(sums))
    }

    /// Records that an open job is closed. Returns the head, also if another caller closed the job first.
    pub async fn record_close(
        &self,
        head: &JobHead,
        state: JobState,
        problem: Option<Problem>,
        sums: Sums,
    ) -> Result<JobHead, LedgerError> {
        debug_assert!(head.is_complete(), "an incomplete job is closed: {head:?}");
        // Before the close: a reader that sees the job closed finds its rows in every response.
        if let Some(dataset) = &head.dataset {
            self.table.raise_generation(&dataset.name).await?;
        }
        let close = HeadUpdate::Close(Close {
            attempt: head.attempt,
            redrives: head.redrives_closed(state, sums.dead),
            state,
            problem,
            counts: sums.counts,
            dead: sums.dead,
            dead_chunks: sums.dead_chunks,
            closed_at: now(),
        });
        self.table.update_head(head.job, &close).await
    }

    /// Records that the completion event of a closed job is published.
    pub async fn record_published(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let update = HeadUpdate::Published {
            attempt: head.attempt,
            at: now(),
        };
        self.table.update_head(head.job, &update).await
    }

    /// Records the decision on the prune of an open job, unless it is taken. Returns the head with the one that counts.
    pub async fn decide_prune(
        &self,
        job: JobId,
        decision: PruneDecision,
    ) -> Result<JobHead, LedgerError> {
        let update = HeadUpdate::Prune(decision);
        self.table.update_head(job, &update).await
    }

    /// Outdates cached answers about a dataset, once a row of no job is applied.
    pub async fn raise_generation(&self, dataset: &DatasetRef) -> Result<(), LedgerError> {
        self.table.raise_generation(&dataset.name).await
    }

    /// Records that every store has pruned what a snapshot of this order lacks.
    pub async fn raise_floor(
        &self,
        dataset: &DatasetRef,
        order: ObjectOrder,
    ) -> Result<(), LedgerError> {
        self.table.raise_floor(&dataset.name, order).await
    }

    /// Returns the order of the newest pruned snapshot of a dataset.
    pub async fn floor(&self, dataset: &DatasetRef) -> Result<Option<ObjectOrder>, LedgerError> {
        self.table.floor(&dataset.name).await
    }

    /// Records that the prune of a job, which was held back, is confirmed. Check [`JobHead::check_prune`] first, and
    /// have the job closed afterwards.
    pub async fn confirm_prune(&self, job: JobId) -> Result<JobHead, LedgerError> {
        let update = HeadUpdate::ConfirmPrune(now());
        self.table.update_head(job, &update).await
    }

    /// Records how many rows a confirmed prune has deleted, unless it is recorded.
    pub async fn record_pruned(
        &self,
        job: JobId,
        dataset: &DatasetRef,
        pruned: BTreeMap<StoreKind, u64>,
    ) -> Result<JobHead, LedgerError> {
        // As before a close: a reader that sees the prune done finds no pruned row in any response.
        self.table.raise_generation(&dataset.name).await?;
        let update = HeadUpdate::Pruned(pruned);
        self.table.update_head(job, &update).await
    }

    /// Records that the completion event of a confirmed prune is published.
    pub async fn record_prune_published(&self, job: JobId) -> Result<JobHead, LedgerError> {
        let update = HeadUpdate::PrunePublished;
        self.table.update_head(job, &update).await
    }

    /// Adds a full shard to the head, also if the chunk was counted earlier: the caller that counted it may have died.
    async fn marked(&self, job: JobId, shard: &Shard, added: bool) -> Result<Mark, LedgerError> {
        let mut to_close = None;
        if shard.is_full() {
            let full = HeadUpdate::Full(shard.index);
            let head = self.table.update_head(job, &full).await?;
            to_close = Some(head).filter(JobHead::awaits_close);
        }
        Ok(Mark { added, to_close })
    }
}

fn check_plan(head: JobHead, seal: &Seal) -> Result<JobHead, LedgerError> {
    match head.chunks {
        // Splitters that find out at different times that a job is cancelled plan different numbers of chunks.
        Some(sealed) if sealed != seal.chunks && head.cancelled.is_none() => {
            Err(LedgerError::PlanChanged {
                job: head.job,
                sealed,
                planned: seal.chunks,
            })
        }
        _ => Ok(head),
    }
}
