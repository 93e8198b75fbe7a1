//! Jobs that somebody cancels.
//!
//! The attribute `cancelled` of the head records who cancelled an open job, and when; it is set once. Workers read it
//! before they write the rows of a chunk, and mark the chunk dead instead. So a cancelled job closes like any other:
//! when all its chunks are marked. Neither a prune nor another outcome can be recorded for it.

use landfall_domain::{DeadCode, JobState, Problem, ProblemCode};
use serde::{Deserialize, Serialize};

use crate::{JobHead, Sums};

/// Who cancelled a job, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancellation {
    /// The name of the token, or what the command line was given.
    pub by: String,
    /// When; RFC 3339.
    pub at: String,
}

/// Why a job cannot be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelRefusal {
    /// The job is closed.
    #[error("the job is closed already ({}), so there is nothing to cancel", .0.as_str())]
    Closed(JobState),
    /// The job is a snapshot, and whether the rows that it lacks are deleted is decided.
    #[error(
        "the job is closing: all its chunks are processed, and it is decided which rows the snapshot deletes"
    )]
    Closing,
}

impl JobHead {
    /// Checks whether the job can be cancelled, or was.
    pub fn check_cancel(&self) -> Result<(), CancelRefusal> {
        match self.state {
            _ if self.cancelled.is_some() => Ok(()),
            JobState::Open if self.prune.is_none() => Ok(()),
            JobState::Open => Err(CancelRefusal::Closing),
            closed => Err(CancelRefusal::Closed(closed)),
        }
    }

    /// Returns the problem that a cancelled job closes with.
    pub(crate) fn cancelled_problem(&self, sums: &Sums) -> Option<Problem> {
        let cancelled = self.cancelled.as_ref()?;
        let by_code = &sums.dead_chunks.by_code;
        let skipped = by_code.get(&DeadCode::Cancelled).copied().unwrap_or(0);
        let failed = sums.dead.saturating_sub(skipped);
        let chunks = self.chunks.unwrap_or(0);
        let mut message = format!(
            "{} cancelled the job: {skipped} of {chunks} chunks were not processed",
            cancelled.by
        );
        if failed > 0 {
            let failed = format!(", and {failed} could not be processed");
            message.push_str(&failed);
        }
        // The splitter seals the job with this problem if it stops early.
        let is_cut_short = self.problem.as_ref();
        if is_cut_short.is_some_and(|problem| problem.code == ProblemCode::Cancelled) {
            message.push_str("; the file was not read to its end");
        }
        message.push_str(
            "; the rows of the other chunks are in the stores; upload the file again to ingest all of it",
        );
        Some(Problem::new(ProblemCode::Cancelled, message))
    }
}
