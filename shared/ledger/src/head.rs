use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use landfall_domain::{
    CompletionEvent, Content, Counts, DatasetRef, DeadChunks, JobId, JobState, Mode, ObjectOrder,
    ObjectRef, Packed, Problem, ProblemCode, PruneDecision, PruneState, RejectLimits,
    RejectsLocation, RejectsOrigin, StoreKind, Warning, WarningCode,
};
use serde::{Deserialize, Serialize};

use crate::{Cancellation, Maintenance, Redrive, Repairs, Sums, shards_of};

/// How many dead chunks a completion event lists.
const DEAD_IN_EVENT: usize = 5;

/// Seconds after which `DynamoDB` may delete the items of a job.
const LIFETIME_SECONDS: i64 = 90 * 24 * 3600;

/// Returns when an item that is created now may be deleted, in seconds since 1970.
pub(crate) fn expiry() -> i64 {
    Timestamp::now().as_second() + LIFETIME_SECONDS
}

/// Returns the current time as RFC 3339, always with six fractional digits so that texts sort like times. Within a
/// process, every call returns a later time.
pub(crate) fn now() -> String {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Timestamp::now().as_microsecond();
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    let next = if now > last {
        now
    } else {
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    };
    let time = Timestamp::from_microsecond(next).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

/// The head of a job. It pins everything that a second notification or a retry of the splitter must plan by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobHead {
    /// The job.
    pub job: JobId,
    /// Its object.
    pub object: ObjectRef,
    /// Position of the object in the order of objects.
    pub order: ObjectOrder,
    /// Where the text of the object is, if it is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
    /// The definition that it is planned with; `None` if the key names no defined dataset.
    pub dataset: Option<DatasetRef>,
    /// Approximate size of a chunk in bytes. Pinned, because a second plan must have the same chunks.
    pub chunk_bytes: u64,
    /// Version of the rules by which the object is cut into chunks.
    pub cutting_rules: u32,
    /// How many rejects a succeeded job may have.
    pub reject_limits: RejectLimits,
    /// How the object relates to the rows that exist.
    #[serde(default)]
    pub mode: Mode,
    /// The job whose fixed rejects the object holds. `order` is that of its object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects_of: Option<RejectsOrigin>,
    /// The job whose dead chunks are the chunks of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<JobId>,
    /// The state of the job.
    pub state: JobState,
    /// Number of chunks, once the job is sealed.
    pub chunks: Option<u32>,
    /// Shards whose chunks are all done or dead.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub full: BTreeSet<u32>,
    /// Why the job is not a plain success, as set by the splitter, a worker or the close.
    pub problem: Option<Problem>,
    /// What the splitter found that may be wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Summed counts, once the job is closed.
    pub counts: Option<Counts>,
    /// Number of dead chunks, once the job is closed.
    #[serde(default)]
    pub dead: u32,
    /// The dead chunks, once the job is closed.
    #[serde(default, skip_serializing_if = "DeadChunks::is_empty")]
    pub dead_chunks: DeadChunks,
    /// The attempt, from 1: one more after each redrive.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// Whether dead chunks are still to be sent again in this attempt.
    #[serde(default)]
    pub resending: bool,
    /// How often its dead chunks were sent again, by whom, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redrives: Vec<Redrive>,
    /// The problem that the splitter found, whatever the job has closed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_problem: Option<Problem>,
    /// Who cancelled the job, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancellation>,
    /// Whether the rows that a snapshot lacks are deleted before the job closes, once that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneDecision>,
    /// When the prune that was held back was first confirmed; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_confirmed_at: Option<String>,
    /// Number of rows that the confirmed prune has deleted, by store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<BTreeMap<StoreKind, u64>>,
    /// Whether the event bus has accepted the completion event of the confirmed prune.
    #[serde(default)]
    pub prune_published: bool,
    /// When it was created; RFC 3339.
    pub created_at: String,
    /// When it closed; RFC 3339.
    pub closed_at: Option<String>,
    /// Whether the event bus has accepted the completion event.
    #[serde(default)]
    pub published: bool,
    /// When that was first recorded; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// When the job was sealed, a shard of it became full, or a long prune took steps, whichever was last; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<String>,
    /// The attempts to repair it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<Repairs>,
    /// The last error with which the splitter gave up its attempts on the object, while it is not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_error: Option<String>,
    /// The release that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// How far the maintenance is that the job has caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// When the item may be deleted, in seconds since 1970.
    pub expires_at: i64,
}

fn first_attempt() -> u32 {
    1
}

impl JobHead {
    /// Returns the head of a job that starts now. The caller adds what else it pins.
    pub fn new(job: JobId, object: ObjectRef, order: ObjectOrder) -> Self {
        Self {
            job,
            object,
            order,
            packed: None,
            dataset: None,
            chunk_bytes: 0,
            cutting_rules: 0,
            reject_limits: RejectLimits::default(),
            mode: Mode::default(),
            rejects_of: None,
            redrive_of: None,
            state: JobState::Open,
            chunks: None,
            full: BTreeSet::new(),
            problem: None,
            warnings: Vec::new(),
            counts: None,
            dead: 0,
            dead_chunks: DeadChunks::default(),
            attempt: first_attempt(),
            resending: false,
            redrives: Vec::new(),
            plan_problem: None,
            cancelled: None,
            prune: None,
            prune_confirmed_at: None,
            pruned: None,
            prune_published: false,
            created_at: now(),
            closed_at: None,
            published: false,
            published_at: None,
            progressed_at: None,
            repairs: None,
            split_error: None,
            release: Some(env!("CARGO_PKG_VERSION").to_owned()),
            maintenance: None,
            expires_at: expiry(),
        }
    }

    /// Returns the text that is ingested.
    pub fn content(&self) -> Content<'_> {
        Content {
            object: &self.object,
            packed: self.packed.as_ref(),
        }
    }

    /// Returns the job as the one whose rejects are fixed.
    pub fn as_origin(&self) -> RejectsOrigin {
        RejectsOrigin {
            job: self.job,
            object: self.object.clone(),
            is_packed: self.packed.is_some(),
        }
    }

    /// Returns whether the number of chunks is known and every chunk is done or dead.
    pub fn is_complete(&self) -> bool {
        !self.resending
            && self.chunks.is_some_and(|chunks| {
                let shards = shards_of(chunks);
                self.full.range(..shards).count() == shards as usize
            })
    }

    /// Returns whether the maintenance that the job has caused is not finished, or has not begun.
    pub(crate) fn can_maintain(&self) -> bool {
        let maintenance = self.maintenance.as_ref();
        maintenance.is_none_or(|maintenance| maintenance.finished_at.is_none())
    }

    /// Returns whether the job is complete, but not closed, or its completion event may not be published.
    pub fn awaits_close(&self) -> bool {
        self.is_complete() && !self.published
    }

    /// Returns whether the job is open, its completion event may not be published, or a confirmed prune is not done.
    pub fn is_unfinished(&self) -> bool {
        !self.published || self.awaits_prune()
    }

    /// Returns the final state of a complete job and its problem, given what its chunks add up to.
    pub fn outcome(&self, sums: &Sums) -> (JobState, Option<Problem>) {
        if let Some(problem) = self.cancelled_problem(sums) {
            return (JobState::Cancelled, Some(problem));
        }
        let (counts, dead) = (&sums.counts, sums.dead);
        if let Some(problem) = &self.problem
            && problem.code.fails()
        {
            return (JobState::Failed, self.problem.clone());
        }
        if dead > 0 {
            debug_assert!(
                self.chunks >= Some(dead),
                "{dead} chunks are dead: {self:?}"
            );
            let total = self.chunks.map(|chunks| format!(" of {chunks}"));
            let first = sums.dead_chunks.first.first();
            let message = format!(
                "{dead}{} chunks could not be processed, so rows may be missing; remove the cause, then redrive the \
                 job or upload the file again{}",
                total.unwrap_or_default(),
                first.map(|chunk| format!("; {chunk}")).unwrap_or_default()
            );
            let problem = Problem::new(ProblemCode::DeadChunks, message);
            return (JobState::Partial, Some(problem));
        }
        if let Some(headers) = counts.warnings.get(&WarningCode::OtherHeaders) {
            let warning = WarningCode::OtherHeaders.counted(*headers);
            let message = format!(
                "{}, because rows after them may have their values in the wrong columns",
                warning.message
            );
            let problem = Problem::new(ProblemCode::HeaderMismatch, message);
            return (JobState::Failed, Some(problem));
        }
        let invalid = counts.warnings.get(&WarningCode::InvalidText);
        if let Some(invalid) = invalid.filter(|invalid| **invalid * 100 > counts.rows) {
            let message = format!(
                "{invalid} of {} rows are not UTF-8: set encoding in the definition to that of the file, or save the \
                 file as UTF-8; the other rows are in the stores",
                counts.rows
            );
            let problem = Problem::new(ProblemCode::InvalidText, message);
            return (JobState::Failed, Some(problem));
        }
        if self.reject_limits.exceeded(counts.rows, counts.rejected) {
            let message = format!(
                "{} of {} rows were rejected, more than the dataset allows; the other rows are in the stores",
                counts.rejected, counts.rows
            );
            let problem = Problem::new(ProblemCode::TooManyRejects, message);
            return (JobState::Failed, Some(problem));
        }
        let warnings = self.warnings(counts);
        if let Some(warning) = warnings.first()
            && self.reject_limits.warnings_fail
        {
            let message = format!(
                "there are warnings, and limits.warnings = \"fail\"; the rows are in the stores: {}",
                warning.message
            );
            let problem = Problem::new(ProblemCode::Warnings, message);
            return (JobState::Failed, Some(problem));
        }
        if self.mode == Mode::Snapshot && counts.rejected > 0 {
            let message = format!(
                "{} of {} rows were rejected, so this snapshot is incomplete: rows that it lacks were not deleted",
                counts.rejected, counts.rows
            );
            let problem = Problem::new(ProblemCode::NotPruned, message);
            return (JobState::Succeeded, Some(problem));
        }
        (JobState::Succeeded, self.problem.clone())
    }

    /// Returns the warnings of a job with these counts.
    pub fn warnings(&self, counts: &Counts) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        let nulls: Vec<&str> = counts
            .null_columns
            .iter()
            .filter(|(_, chunks)| self.chunks.map(u64::from) == Some(**chunks))
            .map(|(field, _)| field.as_str())
            .collect();
        if !nulls.is_empty() && counts.rejected < counts.rows {
            let message = format!("no row has a value for {}", nulls.join(", "));
            warnings.push(Warning::new(WarningCode::NullColumns, message));
        }
        if !counts.truncated.is_empty() {
            let fields = counts.truncated.iter();
            let fields: Vec<_> = fields
                .map(|(field, values)| format!("{values} of {field}"))
                .collect();
            let message = format!(
                "values have more precision than a microsecond, or a leap second, and were truncated: {}; to keep \
                 them, make the field a text",
                fields.join(", ")
            );
            warnings.push(Warning::new(WarningCode::TruncatedValues, message));
        }
        let counted = counts.warnings.iter().filter(|(_, count)| **count > 0);
        warnings.extend(counted.map(|(code, count)| code.counted(*count)));
        warnings
    }

    /// Returns whether the rows that the object lacks must be deleted before the job closes with this outcome.
    pub fn must_prune(&self, state: JobState, problem: Option<&Problem>) -> bool {
        // An empty file is more likely a mistake than an empty table. It has a problem, so it deletes nothing.
        self.mode == Mode::Snapshot && state == JobState::Succeeded && problem.is_none()
    }

    /// Returns the completion event of a closed job, always the same; `None` if the job is open.
    pub fn completion(&self, rejects_bucket: &str) -> Option<CompletionEvent> {
        let (counts, chunks) = (self.counts.clone()?, self.chunks?);
        let closed_at = self.closed_at.clone()?;
        let rejects = self
            .dataset
            .as_ref()
            .filter(|_| counts.rejected > 0)
            .map(|dataset| RejectsLocation::new(rejects_bucket, &dataset.name, self.job));
        Some(CompletionEvent {
            id: CompletionEvent::id_for(self.job, self.attempt),
            job: self.job,
            attempt: self.attempt,
            dataset: self.dataset.as_ref().map(|dataset| dataset.name.clone()),
            object: self.object.clone(),
            codec: self.packed.as_ref().map(|packed| packed.codec),
            rejects_of: self.rejects_of.as_ref().map(|origin| origin.job),
            state: self.state,
            problem: self.problem.clone(),
            warnings: self.warnings(&counts),
            counts,
            // Of the moment of the close, whatever has happened since.
            prune: self.prune_state().map(|_| PruneState::Held),
            chunks,
            dead: self.dead,
            dead_chunks: self.dead_chunks.clone().shortened(DEAD_IN_EVENT),
            rejects,
            created_at: self.created_at.clone(),
            closed_at,
        })
    }
}
