//! Jobs as people and programs outside see them: in answers of the HTTP API and in pushes of the socket.

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{Counts, JobId, JobState, Problem};
use serde::{Deserialize, Serialize};

use crate::ledger::SHARDS_AT_ONCE;
use crate::{JobHead, LedgerError, LedgerTable, shards_of};

/// Shards that are first asked for of a job whose number of chunks is not yet known. Keys that are not there
/// cost as much as those that are, so it is few, and four times as many each further time.
const FIRST_UNSEALED: usize = 4;
/// The most progress that is shown of a job whose number of chunks is not yet known.
const MOST_UNSEALED: f64 = 0.99;

/// What has been done of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Number of its chunks that are done.
    pub done: u32,
    /// Number of those that were given up.
    pub dead: u32,
    /// Summed counts of the done ones.
    pub counts: Counts,
}

impl Progress {
    /// Chunks done or dead.
    pub fn taken(&self) -> u32 {
        self.done + self.dead
    }

    /// What has been done so far: of a closed job by its head alone; of an open one by its shards, which are
    /// read up to the first that is not there where it is not sealed.
    pub async fn read<T: LedgerTable + ?Sized>(
        table: &T,
        head: &JobHead,
    ) -> Result<Self, LedgerError> {
        if let Some(counts) = &head.counts {
            return Ok(Self {
                done: head.chunks.unwrap_or_default().saturating_sub(head.dead),
                dead: head.dead,
                counts: counts.clone(),
            });
        }
        let mut progress = Self::default();
        let (most, mut at_once) = match head.chunks {
            Some(chunks) => (shards_of(chunks), SHARDS_AT_ONCE),
            None => (u32::MAX, FIRST_UNSEALED),
        };
        let mut next = 0;
        while next < most {
            let asked: Vec<u32> = (next..most).take(at_once).collect();
            let shards = table.shards(head.job, &asked).await?;
            for shard in &shards {
                let dead = u32::try_from(shard.dead.len()).unwrap_or(u32::MAX);
                progress.done += shard.taken().saturating_sub(dead);
                progress.dead += dead;
                progress.counts += &shard.counts;
            }
            if shards.len() < asked.len() {
                break;
            }
            next += u32::try_from(asked.len()).unwrap_or(u32::MAX);
            at_once = (at_once * 4).min(SHARDS_AT_ONCE);
        }
        Ok(progress)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Job))]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The dataset that the object's key names, whether or not it is defined.
    pub dataset: Option<String>,
    /// Its object.
    pub object: ObjectView,
    /// Where it stands.
    pub state: JobState,
    /// When its object was first told of; RFC 3339.
    pub created_at: String,
    /// When it closed; RFC 3339.
    pub closed_at: Option<String>,
    /// Its chunks.
    pub chunks: ChunksView,
    /// The part of it that is done, 0 to 1. Until the number of chunks is known, an estimate by bytes; none
    /// for an object without bytes.
    pub progress: Option<f64>,
    /// Rows taken in a second, from its creation until its close or now; none before the first.
    pub rows_per_second: Option<f64>,
    /// What became of the rows that have been taken.
    pub counts: Option<Counts>,
    /// Why it is not a plain success, and what to do.
    pub problem: Option<Problem>,
}

/// The object of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobObject))]
pub struct ObjectView {
    /// Its key in the inbox.
    pub key: String,
    /// Its version there.
    pub version: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// Numbers of a job's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobChunks))]
pub struct ChunksView {
    /// All of them; not known until the whole object has been read once.
    pub planned: Option<u32>,
    /// Those whose rows are in every store or among the rejects.
    pub done: u32,
    /// Those that were given up.
    pub dead: u32,
    /// Those that are still to be taken.
    pub remaining: Option<u32>,
}

impl JobView {
    /// A job, with what has been done of it, as it is seen now.
    pub fn new(head: &JobHead, progress: &Progress, now: Timestamp) -> Self {
        let planned = head.chunks;
        let taken = progress.taken();
        Self {
            id: head.job,
            dataset: head.object.dataset_name().map(ToOwned::to_owned),
            object: ObjectView {
                key: head.object.key.clone(),
                version: head.object.version.clone(),
                size: head.object.size,
            },
            state: head.state,
            created_at: head.created_at.clone(),
            closed_at: head.closed_at.clone(),
            chunks: ChunksView {
                planned,
                done: progress.done,
                dead: progress.dead,
                remaining: planned.map(|planned| planned.saturating_sub(taken)),
            },
            progress: share_done(head, taken),
            rows_per_second: rate(head, progress.counts.rows, now),
            counts: (taken > 0 || head.state != JobState::Open).then(|| progress.counts.clone()),
            problem: head.problem.clone(),
        }
    }

    /// A job as it is in the ledger now.
    pub async fn read<T: LedgerTable + ?Sized>(
        table: &T,
        head: &JobHead,
    ) -> Result<Self, LedgerError> {
        let progress = Progress::read(table, head).await?;
        Ok(Self::new(head, &progress, Timestamp::now()))
    }
}

fn share_done(head: &JobHead, taken: u32) -> Option<f64> {
    if head.state != JobState::Open {
        return Some(1.0);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    match head.chunks {
        Some(0) => Some(1.0),
        Some(planned) => Some((f64::from(taken) / f64::from(planned)).min(1.0)),
        None => {
            let bytes = f64::from(taken) * head.chunk_bytes as f64;
            let share = bytes / head.object.size as f64;
            share.is_finite().then(|| share.min(MOST_UNSEALED))
        }
    }
}

fn rate(head: &JobHead, rows: u64, now: Timestamp) -> Option<f64> {
    let created: Timestamp = head.created_at.parse().ok()?;
    let until = match &head.closed_at {
        Some(closed_at) => closed_at.parse().ok()?,
        None => now,
    };
    let lasted = until.duration_since(created);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 53 bits"
    )]
    (rows > 0 && lasted > SignedDuration::ZERO).then(|| rows as f64 / lasted.as_secs_f64())
}
