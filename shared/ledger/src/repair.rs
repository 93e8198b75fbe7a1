use jiff::Timestamp;
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};

use crate::head::now;
use crate::progress::SHARDS_AT_ONCE;
use crate::{HeadUpdate, JobHead, Ledger, LedgerError, SHARD_CHUNKS, Shard, chunks_in, shards_of};

/// The maximum length of an error of the splitter in characters.
const MAX_ERROR_CHARS: usize = 500;

/// The attempts to repair a job since its last progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    /// Their number.
    pub attempts: u32,
    /// When the last one began; RFC 3339.
    pub last_at: String,
    /// The chunk whose message alone was sent again. Once it is marked, all messages before it have been received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
}

/// What is missing in a job.
#[derive(Clone, Debug, Default)]
pub struct Unfinished {
    /// Shards with missing chunks.
    pub shards: Vec<Shard>,
    /// When a chunk was last marked in the full shards that were read; RFC 3339.
    pub marked_at: Option<String>,
}

impl JobHead {
    /// Returns when the job last made progress, as far as the head records it.
    pub fn last_progress(&self) -> Option<Timestamp> {
        let times = [
            &self.progressed_at,
            &self.closed_at,
            &self.prune_confirmed_at,
        ];
        let redriven = self.redrives.last().map(|redrive| &redrive.at);
        let times = times
            .into_iter()
            .flatten()
            .chain(redriven)
            .chain([&self.created_at]);
        times.filter_map(|time| time.parse().ok()).max()
    }
}

impl Ledger {
    /// Records that a job makes progress that nothing else in the ledger shows.
    pub async fn record_progress(&self, job: JobId) -> Result<(), LedgerError> {
        let update = HeadUpdate::Progress;
        self.table.update_head(job, &update).await.map(drop)
    }

    /// Adds an unfinished job to those that [`JobIndex::open_jobs`](crate::JobIndex::open_jobs) lists. Jobs that an
    /// earlier release created are missing there.
    pub async fn list_as_open(&self, job: JobId) -> Result<(), LedgerError> {
        let update = HeadUpdate::ListAsOpen;
        self.table.update_head(job, &update).await.map(drop)
    }

    /// Records that an attempt to repair a job begins. Returns whether it may: no other caller has begun one since
    /// `head` was read.
    pub async fn begin_repair(
        &self,
        head: &JobHead,
        attempts: u32,
        probe: Option<u32>,
    ) -> Result<bool, LedgerError> {
        let repairs = Repairs {
            attempts,
            last_at: now(),
            probe,
        };
        let update = HeadUpdate::Repair {
            seen: head.repairs.clone(),
            repairs: repairs.clone(),
        };
        let head = self.table.update_head(head.job, &update).await?;
        Ok(head.repairs.as_ref() == Some(&repairs))
    }

    /// Returns the first shards of a sealed job with chunks that are neither done nor dead, at most 100, in order.
    ///
    /// A shard that is full although the head does not say so is added to the head: a caller died before that. In a job
    /// that was opened again, a shard may be full in the head although chunks of it are missing again, so all shards
    /// are read.
    pub async fn unfinished_shards(&self, head: &JobHead) -> Result<Unfinished, LedgerError> {
        let chunks = head.chunks.unwrap_or(0);
        let reads_all = head.attempt > 1;
        let shards = (0..shards_of(chunks)).filter(|shard| reads_all || !head.full.contains(shard));
        let shards: Vec<u32> = shards.collect();
        let mut unfinished = Unfinished::default();
        for page in shards.chunks(SHARDS_AT_ONCE) {
            let mut found = self.table.shards(head.job, page).await?;
            found.sort_unstable_by_key(|shard| shard.index);
            for mut shard in found {
                // A second splitter may have set another size.
                shard.chunks = chunks_in(shard.index, chunks);
                if !shard.is_full() {
                    unfinished.shards.push(shard);
                    continue;
                }
                if !head.full.contains(&shard.index) {
                    let full = HeadUpdate::Full(shard.index);
                    self.table.update_head(head.job, &full).await?;
                }
                // Times of the same form sort like texts.
                unfinished.marked_at = unfinished.marked_at.max(shard.marked_at);
            }
            if !reads_all || !unfinished.shards.is_empty() {
                break;
            }
        }
        Ok(unfinished)
    }

    /// Returns how many chunks of a job are planned so far.
    pub async fn planned(&self, job: JobId) -> Result<u32, LedgerError> {
        let mut planned = 0;
        loop {
            let first = planned / SHARD_CHUNKS;
            let shards: Vec<u32> = (first..).take(SHARDS_AT_ONCE).collect();
            let mut blocks = self.table.plan(job, &shards).await?;
            blocks.sort_unstable_by_key(|block| block.shard);
            for (block, shard) in blocks.iter().zip(first..) {
                if block.shard != shard {
                    return Ok(planned);
                }
                planned = block.end();
                if !block.is_full() {
                    return Ok(planned);
                }
            }
            if blocks.len() < shards.len() {
                return Ok(planned);
            }
        }
    }

    /// Records why the splitter has given up its attempts on the object of a job, unless the job is sealed.
    pub async fn record_split_error(&self, job: JobId, error: &str) -> Result<(), LedgerError> {
        let error = error.chars().take(MAX_ERROR_CHARS).collect();
        let update = HeadUpdate::SplitError(error);
        self.table.update_head(job, &update).await.map(drop)
    }
}
