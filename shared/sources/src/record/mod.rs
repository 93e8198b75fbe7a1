//! What is recorded about a source: when it is due, how far its run has come, and what has to be done next.
//!
//! One process at a time works on a source, the holder of its *lease*. Each step of a run is recorded before the one
//! that depends on it, so that another process can continue at any point:
//!
//! 1. *Walking*: pages are fetched and stored. The checkpoint names what is stored safely.
//! 2. *Completing*: the walk is whole. What it proposes as the next state is recorded before its object exists, because
//!    the reply to the request that creates it can be lost.
//! 3. *Ingesting*: the object exists. The proposed state becomes current when its job has succeeded, and never if the
//!    job closes in another way.

mod activity;
#[cfg(test)]
mod tests;

pub use activity::Activity;
use jiff::{SignedDuration, Timestamp};
use landfall_domain::{JobId, JobState};
use serde::{Deserialize, Serialize};

use crate::source::Source;
use crate::walk::{State, Walk, WalkProgress};

/// The maximum number of walks in one run.
const MAX_WALKS: u32 = 5;
/// The time before the second walk of a run. It doubles with each one.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(30);

/// What is recorded about a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When the source is due by [`Self::schedule`]. A source without is due at once.
    pub due: Option<Timestamp>,
    /// The schedule of the definition when `due` was computed.
    pub schedule: Option<String>,
    /// Until when the holder of the lease works on the source.
    pub leased_until: Option<Timestamp>,
    /// How far the source has been read and stored.
    pub current: State,
    /// The number of the last run, from 1.
    pub runs: u64,
    /// When the last run started that read everything.
    pub last_full: Option<Timestamp>,
    /// When the last run started.
    pub last_started: Option<Timestamp>,
    /// The run that is not over.
    pub run: Option<Run>,
}

/// A run that is not over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its number, from 1.
    pub number: u64,
    /// When it started.
    pub started: Timestamp,
    /// Whether it reads everything.
    pub is_full: bool,
    /// The number of walks that were started.
    pub walks: u32,
    /// When the next walk may start, after one that failed, or go on, after a pause that a server asks for.
    pub retry_at: Option<Timestamp>,
    /// Why it has to wait until then.
    #[serde(default)]
    pub retry_reason: Option<String>,
    /// The number of requests that were sent, as far as is recorded.
    pub requests: u64,
    /// What the last walk read, once it is over.
    pub progress: WalkProgress,
    /// How far it has come.
    pub phase: Phase,
}

/// How far a run has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Pages are fetched; from the start without a checkpoint.
    Walking(Option<Box<Checkpoint>>),
    /// All pages are fetched, and the object is created.
    Completing {
        /// The parts of the object, unless it is created by one request.
        upload: Option<Upload>,
        /// The state that the walk proposes.
        proposal: State,
    },
    /// The object exists, and its job decides.
    Ingesting {
        /// The job.
        job: JobId,
        /// The state that the walk proposes.
        proposal: State,
    },
}

/// A walk of which a part is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The walk after its last page that is stored.
    pub walk: Walk,
    /// The parts that are stored, if there are any.
    pub upload: Option<Upload>,
    /// The key of the object with the records that are too few for a part, if there are any.
    pub aside: Option<String>,
}

/// A multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The `ETag`s of its parts: a part that somebody replaces makes it fail.
    pub parts: Vec<String>,
}

/// What has to be done about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is not due, or another process works on it.
    Wait,
    /// Runs were missed and are left out; it is due at this time.
    Skip(Timestamp),
    /// Start a run.
    Start {
        /// When the next run is due.
        next: Timestamp,
        /// Whether it reads everything.
        is_full: bool,
    },
    /// Walk, from the checkpoint or from the start.
    Walk,
    /// Create the object, or find out that it exists.
    Complete,
    /// See whether the job has closed.
    Settle(JobId),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = RunOutcome))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There were no records, or nothing has changed.
    Empty,
    /// The records are stored.
    Succeeded,
    /// The job of the records closed in another way.
    JobFailed,
    /// The records could not be fetched.
    Failed,
}

impl Outcome {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Succeeded => "succeeded",
            Self::JobFailed => "job_failed",
            Self::Failed => "failed",
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When it started.
    pub started: Timestamp,
    /// When it was found to be over.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it read everything.
    pub is_full: bool,
    /// The number of walks that were started.
    pub walks: u32,
    /// The number of requests that were sent.
    pub requests: u64,
    /// What the last walk read.
    pub progress: WalkProgress,
    /// The key of the object with the records, if one was created.
    pub object: Option<String>,
    /// The job of the object.
    pub job: Option<JobId>,
    /// Why the run failed.
    pub reason: Option<String>,
}

impl Record {
    /// Returns what has to be done at `now`. `requested` is when somebody last requested a run.
    pub fn step(&self, source: &Source, now: Timestamp, requested: Option<Timestamp>) -> Step {
        if self.leased_until.is_some_and(|until| until > now) {
            return Step::Wait;
        }
        if let Some(run) = &self.run {
            return match &run.phase {
                Phase::Walking(_) if run.retry_at.is_some_and(|at| at > now) => Step::Wait,
                Phase::Walking(_) => Step::Walk,
                Phase::Completing { .. } => Step::Complete,
                Phase::Ingesting { job, .. } => Step::Settle(*job),
            };
        }
        let is_full = self.is_full_refresh_due(source, now);
        let is_requested = self.is_requested(requested);
        let after_now = || source.schedule.after(now).unwrap_or(Timestamp::MAX);
        match self.due_by(source) {
            None => Step::Start {
                next: after_now(),
                is_full,
            },
            Some(due) if due <= now => {
                let decided = source.schedule.decide(due, now, source.missed);
                if decided.runs || is_requested {
                    Step::Start {
                        next: decided.next,
                        is_full,
                    }
                } else {
                    Step::Skip(decided.next)
                }
            }
            Some(due) if is_requested => Step::Start { next: due, is_full },
            Some(_) => Step::Wait,
        }
    }

    /// Returns whether a time at which everything is read again has come since that was done last.
    fn is_full_refresh_due(&self, source: &Source, now: Timestamp) -> bool {
        let schedule = source
            .incremental
            .as_ref()
            .and_then(|incremental| incremental.full_refresh.as_ref());
        match (schedule, self.last_full) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(schedule), Some(last)) => schedule.after(last).is_some_and(|next| next <= now),
        }
    }

    /// Takes the lease until `until` for a step.
    pub fn lease(&mut self, until: Timestamp) {
        self.leased_until = Some(until);
    }

    /// Gives the lease back.
    pub fn release(&mut self) {
        self.leased_until = None;
    }

    /// Returns when the source is due, or `None` if at once. A schedule that has changed counts from the last start.
    pub fn due_by(&self, source: &Source) -> Option<Timestamp> {
        let due = self.due?;
        let has_changed = |schedule: &String| *schedule != source.schedule.to_string();
        if self.schedule.as_ref().is_some_and(has_changed)
            && let Some(last) = self.last_started
        {
            return Some(source.schedule.after(last).unwrap_or(Timestamp::MAX));
        }
        Some(due)
    }

    /// Records when the source is due next.
    pub fn plan(&mut self, source: &Source, next: Timestamp) {
        self.due = Some(next);
        self.schedule = Some(source.schedule.to_string());
    }

    /// Starts a run.
    pub fn start(&mut self, source: &Source, now: Timestamp, next: Timestamp, is_full: bool) {
        self.runs += 1;
        self.plan(source, next);
        self.last_started = Some(now);
        self.run = Some(Run {
            number: self.runs,
            started: now,
            is_full,
            walks: 1,
            retry_at: None,
            retry_reason: None,
            requests: 0,
            progress: WalkProgress::default(),
            phase: Phase::Walking(None),
        });
    }

    /// Records that the walk failed. Returns whether the run is over: `is_permanent` says that no other walk helps.
    pub fn fail_walk(&mut self, source: &Source, now: Timestamp, is_permanent: bool) -> bool {
        let Some(run) = &mut self.run else {
            return true;
        };
        run.phase = Phase::Walking(None);
        let backoff = FIRST_BACKOFF * (1 << run.walks.saturating_sub(1).min(16));
        let retry_at = now.saturating_add(backoff).unwrap_or(now);
        let is_over = is_permanent || run.walks >= MAX_WALKS || run.is_over_time(source, retry_at);
        if is_over {
            self.run = None;
        } else {
            run.walks += 1;
            run.retry_at = Some(retry_at);
        }
        is_over
    }

    /// Ends the run with the state that its walk proposes: the records are stored, or there are none.
    pub fn succeed(&mut self, proposal: State) {
        self.current = proposal;
        if let Some(run) = self.run.take()
            && run.is_full
        {
            self.last_full = Some(run.started);
        }
    }

    /// Ends the run after its job has closed. Returns the outcome, or `None` if the job is open.
    pub fn settle(&mut self, state: JobState) -> Option<Outcome> {
        let proposal = match &self.run {
            Some(Run {
                phase: Phase::Ingesting { proposal, .. },
                ..
            }) => proposal.clone(),
            _ => return None,
        };
        match state {
            JobState::Open => None,
            JobState::Succeeded => {
                self.succeed(proposal);
                Some(Outcome::Succeeded)
            }
            // Rows may be missing, so they are fetched again.
            JobState::Partial | JobState::Failed | JobState::Cancelled => {
                self.run = None;
                Some(Outcome::JobFailed)
            }
        }
    }
}

impl Run {
    /// Returns whether the time of the run would be over at `now`.
    pub fn is_over_time(&self, source: &Source, now: Timestamp) -> bool {
        let seconds = i64::try_from(source.limits.seconds).unwrap_or(i64::MAX);
        now.duration_since(self.started) > SignedDuration::from_secs(seconds)
    }

    /// Returns what is kept of the run, which is over at `now`.
    pub fn entry(
        &self,
        source: &Source,
        now: Timestamp,
        outcome: Outcome,
        reason: Option<String>,
    ) -> RunEntry {
        let job = match self.phase {
            Phase::Ingesting { job, .. } => Some(job),
            Phase::Walking(_) | Phase::Completing { .. } => None,
        };
        RunEntry {
            number: self.number,
            started: self.started,
            ended: now,
            outcome,
            is_full: self.is_full,
            walks: self.walks,
            requests: self.requests,
            progress: self.progress,
            object: job.map(|_| self.object_key(source)),
            job,
            reason,
        }
    }

    /// Returns the key of the object of the walk. Each walk has its own, so that a late one replaces nothing.
    pub fn object_key(&self, source: &Source) -> String {
        let Source { dataset, name, .. } = source;
        let started = self.started.strftime("%Y%m%dT%H%M%SZ");
        let extension = source.object_format().as_str();
        let (number, walk) = (self.number, self.walks);
        format!("{dataset}/sources/{name}/{started}-{number}-{walk}.{extension}")
    }
}
