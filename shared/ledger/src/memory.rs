use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use landfall_domain::{Counts, JobId, JobState, Problem};

use crate::{
    ChunkOutcome, JobHead, JobIndex, JobsCursor, JobsPage, JobsQuery, LedgerError, LedgerTable,
    SHARD_CHUNKS, Seal, Shard, shard_of,
};

/// A ledger table in memory, for tests and the simulation.
#[derive(Default)]
pub struct MemoryTable {
    items: Mutex<Items>,
}

#[derive(Default)]
pub(crate) struct Items {
    heads: HashMap<JobId, JobHead>,
    shards: HashMap<(JobId, u32), Shard>,
    generations: HashMap<String, u64>,
    pub(crate) permits: HashMap<(String, i64), u32>,
}

impl Items {
    fn head(&mut self, job: JobId) -> Result<&mut JobHead, LedgerError> {
        self.heads
            .get_mut(&job)
            .ok_or_else(|| LedgerError::Missing(format!("job {job}")))
    }

    fn shard(&mut self, job: JobId, shard: u32) -> Result<&mut Shard, LedgerError> {
        self.shards
            .get_mut(&(job, shard))
            .ok_or_else(|| LedgerError::Missing(format!("shard {shard} of job {job}")))
    }
}

impl MemoryTable {
    pub(crate) fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LedgerTable for MemoryTable {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        Ok(items
            .heads
            .entry(head.job)
            .or_insert_with(|| head.clone())
            .clone())
    }

    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        Ok(self.items().heads.get(&job).cloned())
    }

    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError> {
        let empty = Shard {
            index: shard,
            chunks: SHARD_CHUNKS,
            ..Shard::default()
        };
        self.items().shards.entry((job, shard)).or_insert(empty);
        Ok(())
    }

    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        let items = self.items();
        Ok(shards
            .iter()
            .filter_map(|shard| items.shards.get(&(job, *shard)).cloned())
            .collect())
    }

    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        let mut items = self.items();
        let shard = items.shard(job, shard_of(ordinal))?;
        let added = !shard.has(ordinal);
        if added {
            match outcome {
                ChunkOutcome::Done(counts) => {
                    shard.done.insert(ordinal);
                    shard.counts += counts;
                }
                ChunkOutcome::Dead => {
                    shard.dead.insert(ordinal);
                }
            }
        }
        Ok((shard.clone(), added))
    }

    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError> {
        let mut items = self.items();
        let shard = items.shard(job, shard)?;
        shard.chunks = chunks;
        Ok(shard.clone())
    }

    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        let head = items.head(job)?;
        head.full.insert(shard);
        Ok(head.clone())
    }

    async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError> {
        let mut items = self.items();
        let head = items.head(job)?;
        if head.state == JobState::Open && head.problem.is_none() {
            head.problem = Some(problem.clone());
        }
        Ok(())
    }

    async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        let head = items.head(job)?;
        if head.chunks.is_none() {
            head.chunks = Some(seal.chunks);
            if seal.problem.is_some() {
                head.problem.clone_from(&seal.problem);
            }
        }
        Ok(head.clone())
    }

    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError> {
        *self
            .items()
            .generations
            .entry(dataset.to_owned())
            .or_default() += 1;
        Ok(())
    }

    async fn close(
        &self,
        job: JobId,
        state: JobState,
        problem: Option<&Problem>,
        counts: &Counts,
        dead: u32,
        closed_at: &str,
    ) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        let head = items.head(job)?;
        if head.state == JobState::Open {
            head.state = state;
            head.problem = problem.cloned();
            head.counts = Some(counts.clone());
            head.dead = dead;
            head.closed_at = Some(closed_at.to_owned());
        }
        Ok(head.clone())
    }

    async fn set_published(&self, job: JobId, at: &str) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        let head = items.head(job)?;
        head.published = true;
        head.published_at.get_or_insert_with(|| at.to_owned());
        Ok(head.clone())
    }
}

#[async_trait]
impl JobIndex for MemoryTable {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        let items = self.items();
        let mut heads: Vec<&JobHead> = items
            .heads
            .values()
            .filter(|head| query.matches(head))
            .filter(|head| {
                let position = JobsCursor::of(head);
                query.after.as_ref().is_none_or(|after| position < *after)
            })
            .collect();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(JobsCursor::of(head)));
        let more = heads.len() > query.limit;
        let heads: Vec<JobHead> = heads.into_iter().take(query.limit).cloned().collect();
        let next = heads.last().filter(|_| more).map(JobsCursor::of);
        Ok(JobsPage { heads, next })
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        let items = self.items();
        Ok(items.generations.get(dataset).copied().unwrap_or(0))
    }
}
