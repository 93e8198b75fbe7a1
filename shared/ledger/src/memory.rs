use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use landfall_domain::{
    DeadChunks, JobId, JobState, MAX_LISTED_DEAD_CHUNKS, ObjectOrder, StoreKind,
};

use crate::destination::MemoryDestination;
use crate::head::now;
use crate::memory_notification::MemoryNotifications;
use crate::parent::MemoryParents;
use crate::request_key::MemoryRequests;
use crate::source::MemorySources;
use crate::write::MemoryWrites;
use crate::{
    ChunkOutcome, Circuit, HeadUpdate, JobHead, LedgerError, LedgerTable, Pause, PlanBlock,
    RecordedCheckpoint, SHARD_CHUNKS, Shard, shard_of,
};

/// A ledger table in memory, for tests and the simulation.
#[derive(Default)]
pub struct MemoryTable {
    items: Mutex<Items>,
}

#[derive(Default)]
pub(crate) struct Items {
    pub(crate) heads: HashMap<JobId, JobHead>,
    /// Jobs that are missing in the index of open jobs.
    pub(crate) unlisted: HashSet<JobId>,
    shards: HashMap<(JobId, u32), Shard>,
    checkpoints: HashMap<JobId, RecordedCheckpoint>,
    plans: HashMap<(JobId, u32), PlanBlock>,
    pub(crate) generations: HashMap<String, u64>,
    floors: HashMap<String, ObjectOrder>,
    pauses: HashMap<String, Pause>,
    pub(crate) permits: HashMap<(String, i64), u32>,
    pub(crate) circuits: BTreeMap<StoreKind, Circuit>,
    pub(crate) cursors: HashMap<String, String>,
    pub(crate) sources: MemorySources,
    pub(crate) destinations: HashMap<String, MemoryDestination>,
    /// When the slots of a host are free, in microseconds since 1970.
    pub(crate) slots: HashMap<String, i64>,
    /// The number of requests to a host on a day.
    pub(crate) requests: HashMap<String, u64>,
    pub(crate) notifications: MemoryNotifications,
    pub(crate) writes: MemoryWrites,
    pub(crate) request_keys: MemoryRequests,
    pub(crate) parents: MemoryParents,
}

impl Items {
    pub(crate) fn destination(&mut self, name: &str) -> &mut MemoryDestination {
        self.destinations.entry(name.to_owned()).or_default()
    }

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
    /// Removes a job from the index of open jobs, as if an earlier release had created it.
    pub fn unlist(&self, job: JobId) {
        self.items().unlisted.insert(job);
    }

    pub(crate) fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LedgerTable for MemoryTable {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        let stored = items.heads.entry(head.job);
        Ok(stored.or_insert_with(|| head.clone()).clone())
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

    async fn put_plan(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError> {
        let mut items = self.items();
        let stored = items.plans.entry((job, block.shard));
        let stored = stored.or_insert_with(|| block.clone());
        if stored.chunks.len() < block.chunks.len() {
            *stored = block.clone();
        }
        Ok(())
    }

    async fn plan(&self, job: JobId, shards: &[u32]) -> Result<Vec<PlanBlock>, LedgerError> {
        let items = self.items();
        Ok(shards
            .iter()
            .filter_map(|shard| items.plans.get(&(job, *shard)).cloned())
            .collect())
    }

    async fn put_checkpoint(
        &self,
        job: JobId,
        checkpoint: &RecordedCheckpoint,
    ) -> Result<RecordedCheckpoint, LedgerError> {
        let mut items = self.items();
        let stored = items.checkpoints.entry(job);
        let stored = stored.or_insert_with(|| checkpoint.clone());
        if stored.checkpoint.scanned < checkpoint.checkpoint.scanned {
            *stored = checkpoint.clone();
        }
        Ok(stored.clone())
    }

    async fn checkpoint(&self, job: JobId) -> Result<Option<RecordedCheckpoint>, LedgerError> {
        Ok(self.items().checkpoints.get(&job).cloned())
    }

    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        let mut items = self.items();
        let shard = items.shard(job, shard_of(ordinal))?;
        let is_late = match outcome {
            ChunkOutcome::Done(_) => false,
            ChunkOutcome::Dead(dead) => dead.attempt < shard.attempt,
        };
        let added = !shard.has(ordinal) && !is_late;
        if added {
            shard.marked_at = Some(now());
            match outcome {
                ChunkOutcome::Done(counts) => {
                    shard.done.insert(ordinal);
                    shard.counts += counts;
                }
                ChunkOutcome::Dead(dead) => {
                    if shard.dead.len() < MAX_LISTED_DEAD_CHUNKS {
                        shard.dead_chunks.insert(ordinal, dead.clone());
                    }
                    shard.dead.insert(ordinal);
                    shard
                        .dead_by_code
                        .entry(dead.code)
                        .or_default()
                        .insert(ordinal);
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

    async fn reset_dead(
        &self,
        job: JobId,
        shard: &Shard,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<Shard, LedgerError> {
        let mut items = self.items();
        let shard = items.shard(job, shard.index)?;
        if shard.attempt < attempt {
            shard.attempt = attempt;
            shard.resend.extend(ordinals);
            let is_kept = |ordinal: &u32| !ordinals.contains(ordinal);
            shard.dead.retain(is_kept);
            shard.dead_chunks.retain(|ordinal, _| is_kept(ordinal));
            for chunks in shard.dead_by_code.values_mut() {
                chunks.retain(is_kept);
            }
        }
        Ok(shard.clone())
    }

    async fn remove_resent(
        &self,
        job: JobId,
        shard: u32,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<(), LedgerError> {
        let mut items = self.items();
        let shard = items.shard(job, shard)?;
        if shard.attempt == attempt {
            shard.resend.retain(|ordinal| !ordinals.contains(ordinal));
        }
        Ok(())
    }

    async fn update_head(&self, job: JobId, update: &HeadUpdate) -> Result<JobHead, LedgerError> {
        let mut items = self.items();
        if matches!(
            update,
            HeadUpdate::ListAsOpen | HeadUpdate::Reopen(_) | HeadUpdate::ConfirmPrune(_)
        ) {
            items.unlisted.remove(&job);
        }
        let head = items.head(job)?;
        let is_open = head.state == JobState::Open;
        match update {
            HeadUpdate::Full(shard) => {
                if head.full.insert(*shard) {
                    head.progressed_at = Some(now());
                }
            }
            HeadUpdate::Problem(problem) if is_open => {
                head.problem.get_or_insert_with(|| problem.clone());
            }
            HeadUpdate::Seal(seal) if head.chunks.is_none() => {
                head.chunks = Some(seal.chunks);
                head.plan_problem.clone_from(&seal.problem);
                head.problem = seal.problem.clone().or(head.problem.take());
                head.warnings.clone_from(&seal.warnings);
                head.progressed_at = Some(now());
            }
            HeadUpdate::Cancel(cancelled) if is_open && head.prune.is_none() => {
                head.cancelled.get_or_insert_with(|| cancelled.clone());
            }
            HeadUpdate::Prune(decision) if is_open && head.cancelled.is_none() => {
                head.prune.get_or_insert_with(|| decision.clone());
            }
            HeadUpdate::Close(close) if is_open && close.fits(head) => {
                head.state = close.state;
                head.problem.clone_from(&close.problem);
                head.counts = Some(close.counts.clone());
                head.dead = close.dead;
                head.dead_chunks.clone_from(&close.dead_chunks);
                head.closed_at = Some(close.closed_at.clone());
                head.redrives.clone_from(&close.redrives);
            }
            HeadUpdate::Published { attempt, at } if !is_open && head.attempt == *attempt => {
                head.published = true;
                head.published_at.get_or_insert_with(|| at.clone());
            }
            HeadUpdate::Derive(derive) if derive.fits(head) => {
                head.redrives.clone_from(&derive.redrives);
            }
            HeadUpdate::Reopen(reopen) if reopen.fits(head) => {
                *head = JobHead {
                    state: JobState::Open,
                    attempt: reopen.attempt + 1,
                    resending: true,
                    redrives: reopen.redrives.clone(),
                    problem: reopen.problem.clone(),
                    cancelled: None,
                    counts: None,
                    dead: 0,
                    dead_chunks: DeadChunks::default(),
                    closed_at: None,
                    published: false,
                    published_at: None,
                    ..head.clone()
                };
            }
            HeadUpdate::Resent { attempt } if head.attempt == *attempt => head.resending = false,
            HeadUpdate::ConfirmPrune(at) => {
                head.prune_confirmed_at.get_or_insert_with(|| at.clone());
            }
            HeadUpdate::Pruned(pruned) => {
                head.pruned.get_or_insert_with(|| pruned.clone());
            }
            HeadUpdate::PrunePublished => head.prune_published = true,
            HeadUpdate::Progress => head.progressed_at = Some(now()),
            HeadUpdate::Repair { seen, repairs } if head.repairs == *seen => {
                head.repairs = Some(repairs.clone());
            }
            HeadUpdate::SplitError(error) if head.chunks.is_none() => {
                head.split_error = Some(error.clone());
            }
            HeadUpdate::Maintains(maintenance) if head.can_maintain() => {
                head.maintenance = Some(maintenance.clone());
            }
            HeadUpdate::AwaitsMaintenance(maintenance) => {
                let known = &mut head.maintenance;
                known.get_or_insert_with(|| maintenance.clone());
            }
            HeadUpdate::Maintained(at) if head.can_maintain() => {
                if let Some(maintenance) = &mut head.maintenance {
                    (maintenance.step, maintenance.error) = (None, None);
                    maintenance.finished_at = Some(at.clone());
                }
            }
            HeadUpdate::ListAsOpen
            | HeadUpdate::Problem(_)
            | HeadUpdate::Seal(_)
            | HeadUpdate::Cancel(_)
            | HeadUpdate::Prune(_)
            | HeadUpdate::Close(_)
            | HeadUpdate::Published { .. }
            | HeadUpdate::Reopen(_)
            | HeadUpdate::Derive(_)
            | HeadUpdate::Resent { .. }
            | HeadUpdate::Repair { .. }
            | HeadUpdate::SplitError(_)
            | HeadUpdate::Maintains(_)
            | HeadUpdate::Maintained(_) => {}
        }
        Ok(head.clone())
    }

    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError> {
        let mut items = self.items();
        *items.generations.entry(dataset.to_owned()).or_default() += 1;
        Ok(())
    }

    async fn raise_floor(&self, dataset: &str, order: ObjectOrder) -> Result<(), LedgerError> {
        let mut items = self.items();
        let floor = items.floors.entry(dataset.to_owned()).or_insert(order);
        *floor = (*floor).max(order);
        Ok(())
    }

    async fn floor(&self, dataset: &str) -> Result<Option<ObjectOrder>, LedgerError> {
        Ok(self.items().floors.get(dataset).copied())
    }

    async fn pause(&self, dataset: &str, pause: &Pause) -> Result<Pause, LedgerError> {
        let mut items = self.items();
        let stored = items.pauses.entry(dataset.to_owned());
        Ok(stored.or_insert_with(|| pause.clone()).clone())
    }

    async fn resume(&self, dataset: &str) -> Result<(), LedgerError> {
        self.items().pauses.remove(dataset);
        Ok(())
    }

    async fn find_pause(&self, dataset: &str) -> Result<Option<Pause>, LedgerError> {
        Ok(self.items().pauses.get(dataset).cloned())
    }
}
