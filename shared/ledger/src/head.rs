use std::collections::BTreeSet;

use jiff::Timestamp;
use landfall_domain::{
    CompletionEvent, Counts, DatasetRef, JobId, JobState, Mode, ObjectOrder, ObjectRef, Problem,
    ProblemCode, RejectLimits, RejectsLocation,
};
use serde::{Deserialize, Serialize};

use crate::{SHARD_CHUNKS, chunks_in, shards_of};

/// Seconds after which `DynamoDB` may drop the items of a job.
const KEPT_SECONDS: i64 = 90 * 24 * 3600;

/// When an item that is made now may be dropped; seconds since 1970.
pub(crate) fn expiry() -> i64 {
    Timestamp::now().as_second() + KEPT_SECONDS
}

/// The time, RFC 3339. Always with six digits, so that the order of texts is that of times.
pub(crate) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// The head of a job. What a second event of the object, or a second try of the splitter, goes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobHead {
    /// The job.
    pub job: JobId,
    /// Its object.
    pub object: ObjectRef,
    /// Where the object stands in the order of objects.
    pub order: ObjectOrder,
    /// The definition it is planned with; none where the key names no dataset that is defined.
    pub dataset: Option<DatasetRef>,
    /// Bytes of a chunk, about. Pinned: a second plan must cut where the first did.
    pub chunk_bytes: u64,
    /// Version of the rules by which it is cut.
    pub cutting_rules: u32,
    /// With how many rejects it can succeed.
    pub reject_limits: RejectLimits,
    /// What the object is of the table.
    #[serde(default)]
    pub mode: Mode,
    /// Where it stands.
    pub state: JobState,
    /// Number of chunks, once sealed.
    pub chunks: Option<u32>,
    /// Shards whose chunks are all done or dead.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub full: BTreeSet<u32>,
    /// What the splitter, and at the end the closer, has to say.
    pub problem: Option<Problem>,
    /// Summed counts, once closed.
    pub counts: Option<Counts>,
    /// Number of chunks that were given up, once closed.
    #[serde(default)]
    pub dead: u32,
    /// When it was created; RFC 3339.
    pub created_at: String,
    /// When it closed; RFC 3339.
    pub closed_at: Option<String>,
    /// Whether its completion event has been taken by the event bus.
    #[serde(default)]
    pub published: bool,
    /// When that was first noted; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// When the item may be dropped; seconds since 1970.
    pub expires_at: i64,
}

/// What a job is planned by, pinned when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pinned {
    /// See [`JobHead::dataset`].
    pub dataset: Option<DatasetRef>,
    /// See [`JobHead::chunk_bytes`].
    pub chunk_bytes: u64,
    /// See [`JobHead::cutting_rules`].
    pub cutting_rules: u32,
    /// See [`JobHead::reject_limits`].
    pub reject_limits: RejectLimits,
    /// See [`JobHead::mode`].
    pub mode: Mode,
}

impl JobHead {
    /// The head of a job that starts now.
    pub fn new(job: JobId, object: ObjectRef, order: ObjectOrder, pinned: Pinned) -> Self {
        Self {
            job,
            object,
            order,
            dataset: pinned.dataset,
            chunk_bytes: pinned.chunk_bytes,
            cutting_rules: pinned.cutting_rules,
            reject_limits: pinned.reject_limits,
            mode: pinned.mode,
            state: JobState::Open,
            chunks: None,
            full: BTreeSet::new(),
            problem: None,
            counts: None,
            dead: 0,
            created_at: now(),
            closed_at: None,
            published: false,
            published_at: None,
            expires_at: expiry(),
        }
    }

    /// Whether the number of chunks is known and every one of them is done or dead.
    pub fn is_complete(&self) -> bool {
        self.chunks.is_some_and(|chunks| {
            let shards = shards_of(chunks);
            self.full.range(..shards).count() == shards as usize
        })
    }

    /// How the job ends, given its sums: its state and what there is to say.
    pub fn outcome(&self, counts: &Counts, dead: u32) -> (JobState, Option<Problem>) {
        if let Some(problem) = &self.problem
            && problem.code.fails()
        {
            return (JobState::Failed, self.problem.clone());
        }
        if dead > 0 {
            let message = format!(
                "{dead} of {} chunks were given up; their rows may be missing",
                self.chunks.unwrap_or_default()
            );
            let problem = Problem::new(ProblemCode::DeadChunks, message);
            return (JobState::Partial, Some(problem));
        }
        if self.reject_limits.exceeded(counts.rows, counts.rejected) {
            let message = format!(
                "{} of {} rows were rejected, more than the dataset allows; the others are in the stores",
                counts.rejected, counts.rows
            );
            let problem = Problem::new(ProblemCode::TooManyRejects, message);
            return (JobState::Failed, Some(problem));
        }
        if self.mode == Mode::Snapshot && counts.rejected > 0 {
            let message = format!(
                "{} of {} rows were rejected, so this snapshot is not complete: rows that it does not have stay",
                counts.rejected, counts.rows
            );
            let problem = Problem::new(ProblemCode::NotPruned, message);
            return (JobState::Succeeded, Some(problem));
        }
        (JobState::Succeeded, self.problem.clone())
    }

    /// Whether what the object does not have is deleted before a job that ends like this closes.
    pub(crate) fn prunes(&self, state: JobState, problem: Option<&Problem>) -> bool {
        // An empty file is more likely a mistake than a table without rows: it has a problem.
        self.mode == Mode::Snapshot && state == JobState::Succeeded && problem.is_none()
    }

    /// The completion event of a closed job; the same each time.
    pub fn completion(&self, rejects_bucket: &str) -> CompletionEvent {
        let counts = self.counts.clone().unwrap_or_default();
        let rejects = self
            .dataset
            .as_ref()
            .filter(|_| counts.rejected > 0)
            .map(|dataset| RejectsLocation::new(rejects_bucket, &dataset.name, self.job));
        CompletionEvent {
            id: CompletionEvent::id_of(self.job),
            job: self.job,
            dataset: self.dataset.as_ref().map(|dataset| dataset.name.clone()),
            object: self.object.clone(),
            state: self.state,
            problem: self.problem.clone(),
            counts,
            chunks: self.chunks.unwrap_or_default(),
            rejects,
            created_at: self.created_at.clone(),
            closed_at: self.closed_at.clone().unwrap_or_default(),
        }
    }
}

/// What a splitter says when it has sent the last chunk of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Seal {
    /// Number of chunks.
    pub chunks: u32,
    /// What there is to say about the object.
    pub problem: Option<Problem>,
}

/// A shard of a job's chunks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {
    /// Its number in the job, from 0.
    pub index: u32,
    /// Number of chunks it is planned with; [`crate::SHARD_CHUNKS`] until the seal says less.
    pub chunks: u32,
    /// Ordinals of the chunks that are done.
    pub done: BTreeSet<u32>,
    /// Ordinals of the chunks that were given up.
    pub dead: BTreeSet<u32>,
    /// Summed counts of the done ones.
    pub counts: Counts,
}

impl Shard {
    /// Whether a chunk is done or dead.
    pub fn has(&self, ordinal: u32) -> bool {
        self.done.contains(&ordinal) || self.dead.contains(&ordinal)
    }

    /// Number of its planned chunks that are done or dead.
    ///
    /// A chunk beyond the plan is one that a splitter sent before it died, of an object that was gone
    /// when the next one came to it.
    pub fn taken(&self) -> u32 {
        self.taken_of(self.chunks)
    }

    fn taken_of(&self, chunks: u32) -> u32 {
        let first = self.index * SHARD_CHUNKS;
        let planned = first..first + chunks;
        let taken = self
            .done
            .union(&self.dead)
            .filter(|ordinal| planned.contains(ordinal));
        u32::try_from(taken.count()).unwrap_or(u32::MAX)
    }

    /// Whether every planned chunk is done or dead.
    pub fn is_full(&self) -> bool {
        self.taken() == self.chunks
    }

    /// Whether every chunk of it is done or dead in a job of so many chunks.
    pub fn is_full_in(&self, job_chunks: u32) -> bool {
        let chunks = chunks_in(self.index, job_chunks);
        self.taken_of(chunks) == chunks
    }
}
