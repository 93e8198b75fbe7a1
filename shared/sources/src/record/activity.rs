//! What clients see of a record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Phase, Record};
use crate::source::Source;

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Activity {
    /// It waits for its next run.
    Waiting,
    /// Its pages are fetched.
    Fetching,
    /// Its pages could not be fetched, and will be fetched again.
    Retrying,
    /// Its records are being ingested.
    Ingesting,
}

impl Activity {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Retrying => "retrying",
            Self::Ingesting => "ingesting",
        }
    }
}

impl Record {
    /// Returns what the source is doing at `now`.
    pub fn activity(&self, now: Timestamp) -> Activity {
        match &self.run {
            None => Activity::Waiting,
            Some(run) => match run.phase {
                Phase::Walking(_) if run.retry_at.is_some_and(|at| at > now) => Activity::Retrying,
                Phase::Walking(_) | Phase::Completing { .. } => Activity::Fetching,
                Phase::Ingesting { .. } => Activity::Ingesting,
            },
        }
    }

    /// Returns when the next run is due, or `None` if at once. `requested` is when somebody last requested a run.
    pub fn next_run(&self, source: &Source, requested: Option<Timestamp>) -> Option<Timestamp> {
        self.due_by(source)
            .filter(|_| !self.is_requested(requested))
    }

    /// Returns whether a run was requested after the last one has started.
    pub(super) fn is_requested(&self, requested: Option<Timestamp>) -> bool {
        requested.is_some_and(|at| self.last_started.is_none_or(|last| at > last))
    }

    /// Returns the number of the last run that is over, or 0 if there is none.
    pub fn last_ended(&self) -> u64 {
        self.runs - u64::from(self.run.is_some()).min(self.runs)
    }
}
