//! Jobs whose dead chunks are processed again.
//!
//! A redrive reopens a closed job as its next **attempt**. Workers then send the dead chunks of one shard after the
//! other again, from the plan in the ledger:
//!
//! 1. One update of the shard moves its dead chunks to the set `resend`, once per attempt.
//! 2. Their messages are sent.
//! 3. They are removed from `resend`.
//!
//! If a worker dies in between, the next one repeats the messages of the chunks that are left in `resend`. Until the
//! last shard is done, the head has the attribute `resending`, with which no job closes. From then on, the job closes
//! like any other: once every chunk is done or dead. Messages say which attempt they belong to, so that workers can
//! ignore those of earlier ones, and a close, a publication or a dead chunk of an earlier attempt does not fit the
//! ledger any more.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{ChunkMessage, JobId, JobState, Problem, ProblemCode};
use serde::{Deserialize, Serialize};

use crate::head::now;
use crate::{HeadUpdate, JobHead, Ledger, LedgerError, Shard, chunks_in, shards_of};

/// How long a job can be redriven. The stores forget after 30 days which keys were deleted, and messages may wait for
/// 14 days.
const REDRIVE_WITHIN: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How often a job can be redriven.
const MAX_REDRIVES: usize = 20;

/// A redrive of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Redrive {
    /// The name of the token, or what the command line was given.
    pub by: String,
    /// When; RFC 3339.
    pub at: String,
    /// Number of chunks that were dead, and are processed again.
    pub chunks: u32,
    /// What the job closed as, once it has.
    pub state: Option<JobState>,
    /// Number of chunks that were dead then.
    pub dead: Option<u32>,
    /// The job that processes the chunks, if that is another one: with the latest definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// Why a job cannot be redriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedriveRefusal {
    /// The job is open.
    #[error("the job is still open: wait until it has closed")]
    Open,
    /// No chunk is dead.
    #[error("no chunk of the job is dead, so there is nothing to send again")]
    NothingDead,
    /// The splitter did not read the file to its end.
    #[error("the job was cancelled before its file was read to the end: upload the file again")]
    CutShort,
    /// The ledger does not have the plan of the job.
    #[error(
        "the job was started by a release that did not record its chunks: upload the file again"
    )]
    NoPlan,
    /// The chunks of the last redrive are not sent yet.
    #[error("another redrive of the job has just begun: try again shortly")]
    Busy,
    /// The latest definition is the one that the job has.
    #[error(
        "the definition has not changed since the job was planned: redrive it without the latest definition"
    )]
    SameDefinition,
    /// The definition that the job was planned with, or the latest one, cannot be read.
    #[error(
        "the definition of the job or the latest one is gone or invalid: upload the file again"
    )]
    NoDefinition,
    /// The latest definition divides the object into other records.
    #[error(
        "the latest definition reads files in another way (format, encoding, csv, json, limits.record_bytes or \
         positions), so that other records would result: upload the file again"
    )]
    OtherRecords,
    /// Deletes may be forgotten that are newer than the object.
    #[error(
        "the job is older than 14 days, so that rows deleted since could return: upload the file again"
    )]
    TooOld,
    /// The job was redriven too often.
    #[error("the job was redriven {MAX_REDRIVES} times: upload the file again")]
    TooOften,
}

/// A closed job that is opened again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reopen {
    /// The attempt that it was closed in.
    pub attempt: u32,
    /// The problem that it keeps: the one that the splitter found.
    pub problem: Option<Problem>,
    /// Its redrives, with the new one.
    pub redrives: Vec<Redrive>,
}

impl Reopen {
    /// Returns whether the job is closed in this attempt, and no other redrive was faster.
    pub(crate) fn fits(&self, head: &JobHead) -> bool {
        head.state != JobState::Open
            && head.published
            && head.attempt == self.attempt
            && head.redrives.len() + 1 == self.redrives.len()
    }
}

impl JobHead {
    /// Returns the redrives of the job and one that begins now.
    pub(crate) fn with_redrive(&self, by: &str, job: Option<JobId>) -> Vec<Redrive> {
        let mut redrives = self.redrives.clone();
        redrives.push(Redrive {
            by: by.to_owned(),
            at: now(),
            chunks: self.dead,
            state: None,
            dead: None,
            job,
        });
        redrives
    }

    /// Checks whether the dead chunks of the job can be sent again.
    pub fn check_redrive(&self) -> Result<(), RedriveRefusal> {
        let is_old = |created: Timestamp| Timestamp::now().duration_since(created) > REDRIVE_WITHIN;
        let plan_problem = self.plan_problem.as_ref().map(|problem| problem.code);
        if self.state == JobState::Open || !self.published {
            Err(RedriveRefusal::Open)
        } else if plan_problem == Some(ProblemCode::Cancelled) {
            Err(RedriveRefusal::CutShort)
        } else if self.dead == 0 {
            Err(RedriveRefusal::NothingDead)
        } else if self.created_at.parse().is_ok_and(is_old) {
            Err(RedriveRefusal::TooOld)
        } else if self.redrives.len() >= MAX_REDRIVES {
            Err(RedriveRefusal::TooOften)
        } else {
            Ok(())
        }
    }

    /// Returns the redrives, with the outcome of the last one if the job closes like this.
    pub(crate) fn redrives_closed(&self, state: JobState, dead: u32) -> Vec<Redrive> {
        let mut redrives = self.redrives.clone();
        if let Some(last) = redrives.last_mut() {
            last.state = Some(state);
            last.dead = Some(dead);
        }
        redrives
    }
}

impl Ledger {
    /// Opens a closed job again, as its next attempt. Check [`JobHead::check_redrive`] before. Returns the head as it
    /// is afterwards, also if another caller was faster.
    pub async fn reopen(&self, head: &JobHead, by: &str) -> Result<JobHead, LedgerError> {
        let redrives = head.with_redrive(by, None);
        let update = HeadUpdate::Reopen(Reopen {
            attempt: head.attempt,
            problem: head.plan_problem.clone(),
            redrives,
        });
        self.table.update_head(head.job, &update).await
    }

    /// Returns the shards of a reopened job from this one on, at most 100, that have chunks to send again, and the
    /// shard to continue with.
    pub async fn shards_to_resend(
        &self,
        head: &JobHead,
        from: u32,
    ) -> Result<(Vec<u32>, Option<u32>), LedgerError> {
        let chunks = head.chunks.unwrap_or(0);
        let end = shards_of(chunks);
        let next = end.min(from.saturating_add(100));
        let requested: Vec<u32> = (from..next).collect();
        let found = self.table.shards(head.job, &requested).await?;
        let mut shards: Vec<u32> = found
            .into_iter()
            .filter(|shard| !to_resend(shard, chunks).is_empty())
            .map(|shard| shard.index)
            .collect();
        shards.sort_unstable();
        Ok((shards, Some(next).filter(|next| *next < end)))
    }

    /// Takes the dead chunks out of a shard of a reopened job, once per attempt. Returns the messages to send, with
    /// those of an earlier call after which [`record_resent`](Self::record_resent) was not reached.
    pub async fn take_dead(
        &self,
        head: &JobHead,
        index: u32,
    ) -> Result<Vec<ChunkMessage>, LedgerError> {
        let chunks = head.chunks.unwrap_or(0);
        let found = self.table.shards(head.job, &[index]).await?;
        let missing = || LedgerError::Missing(format!("shard {index} of job {}", head.job));
        let mut shard = found.into_iter().next().ok_or_else(missing)?;
        shard.chunks = chunks_in(index, chunks);
        let dead = shard.planned_dead();
        if shard.attempt < head.attempt && !dead.is_empty() {
            // If the job is cancelled again, it closes with these chunks, and no other caller may take them.
            let taken = if head.cancelled.is_none() {
                dead
            } else {
                BTreeSet::new()
            };
            let reset = self
                .table
                .reset_dead(head.job, &shard, &taken, head.attempt);
            shard = reset.await?;
        }
        let ordinals: Vec<u32> = shard.resend.into_iter().collect();
        self.planned_chunks(head, &ordinals).await
    }

    /// Records that the messages of these chunks of a shard are sent again.
    pub async fn record_resent(
        &self,
        head: &JobHead,
        index: u32,
        ordinals: &BTreeSet<u32>,
    ) -> Result<(), LedgerError> {
        if ordinals.is_empty() {
            return Ok(());
        }
        let removed = self
            .table
            .remove_resent(head.job, index, ordinals, head.attempt);
        removed.await
    }

    /// Records that all dead chunks of a reopened job are sent again, so that it may close. Returns the head as it is
    /// afterwards.
    pub async fn record_all_resent(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let update = HeadUpdate::Resent {
            attempt: head.attempt,
        };
        self.table.update_head(head.job, &update).await
    }
}

/// Returns the chunks of a shard that are dead or were taken out, in a job with so many chunks.
fn to_resend(shard: &Shard, chunks: u32) -> BTreeSet<u32> {
    let mut shard = shard.clone();
    shard.chunks = chunks_in(shard.index, chunks);
    shard.planned_dead().union(&shard.resend).copied().collect()
}
