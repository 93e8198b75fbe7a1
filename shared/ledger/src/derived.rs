//! Jobs that process the dead chunks of another job with a newer definition.
//!
//! A derived job is a job of its own over the same object, with the same order and thus the same versions of rows. Its
//! chunks are the dead chunks of its origin, numbered from 0. The origin stays closed and lists it among its redrives;
//! it cannot be redriven again until the derived job is sealed, so the chunks are the same whenever they are planned.

use landfall_domain::{ChunkMessage, Dataset, DatasetRef, JobId, Mode};

use crate::progress::SHARDS_AT_ONCE;
use crate::{HeadUpdate, JobHead, Ledger, LedgerError, Reopen, chunks_in, shards_of};

impl JobHead {
    /// Returns the job that the last redrive has derived, if it has.
    pub fn last_derived(&self) -> Option<JobId> {
        self.redrives.last()?.job
    }

    /// Returns the head of the derived job with this id, which processes the dead chunks with this definition.
    #[must_use]
    pub fn derive(&self, job: JobId, dataset: &Dataset, reference: DatasetRef) -> Self {
        let mode = match dataset.mode {
            // A part of a snapshot deletes nothing.
            Mode::Snapshot => Mode::Upsert,
            mode => mode,
        };
        Self {
            packed: self.packed.clone(),
            dataset: Some(reference),
            chunk_bytes: self.chunk_bytes,
            cutting_rules: self.cutting_rules,
            reject_limits: dataset.limits.rejects,
            mode,
            rejects_of: self.rejects_of.clone(),
            redrive_of: Some(self.job),
            ..Self::new(job, self.object.clone(), self.order)
        }
    }
}

impl Ledger {
    /// Records that another job processes the dead chunks of a closed job. Check [`JobHead::check_redrive`] before.
    /// Returns the head as it is afterwards, also if another redrive was faster.
    pub async fn record_derived(
        &self,
        head: &JobHead,
        job: JobId,
        by: &str,
    ) -> Result<JobHead, LedgerError> {
        let redrives = head.with_redrive(by, Some(job));
        let update = HeadUpdate::Derive(Reopen {
            attempt: head.attempt,
            problem: head.problem.clone(),
            redrives,
        });
        self.table.update_head(head.job, &update).await
    }

    /// Returns the messages of the dead chunks of a closed job, `limit` from the one with this number among them.
    pub async fn dead_messages(
        &self,
        head: &JobHead,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<ChunkMessage>, LedgerError> {
        let chunks = head.chunks.unwrap_or(0);
        let shards: Vec<u32> = (0..shards_of(chunks)).collect();
        let mut dead = Vec::new();
        for requested in shards.chunks(SHARDS_AT_ONCE) {
            let mut found = self.table.shards(head.job, requested).await?;
            found.sort_unstable_by_key(|shard| shard.index);
            for mut shard in found {
                shard.chunks = chunks_in(shard.index, chunks);
                dead.extend(shard.planned_dead());
            }
            if dead.len() >= skip.saturating_add(limit) {
                break;
            }
        }
        let ordinals: Vec<u32> = dead.into_iter().skip(skip).take(limit).collect();
        self.planned_chunks(head, &ordinals).await
    }
}
