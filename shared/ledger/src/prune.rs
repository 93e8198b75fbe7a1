//! Prunes that are held back until somebody confirms them.
//!
//! Four attributes of the head record the steps, each set once: `prune` (the decision, taken before any row is
//! deleted), `prune_confirmed_at`, `pruned` (what was deleted), `prune_published`. What the job closed with stays as
//! it is, so that its first completion event is the same whenever it is published again.

use landfall_domain::{CompletionEvent, Counts, JobState, ObjectOrder, Problem, PruneState};

use crate::JobHead;

/// Why the prune of a job cannot be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PruneRefusal {
    /// The job is open.
    #[error("the job is still open: wait until it has closed")]
    Open,
    /// The job has no prune that was held back.
    #[error("no prune of this job was held back, so there is nothing to confirm")]
    NotHeld,
    /// The dataset is not loaded from snapshots any more.
    #[error(
        "the definition of the dataset is not one of snapshots any more (mode = \"snapshot\"), so no row may be deleted"
    )]
    NoSnapshot,
    /// A newer snapshot has been pruned.
    #[error(
        "a newer snapshot of the dataset has been pruned since, so the table has no row that only this one lacks"
    )]
    Superseded,
}

impl JobHead {
    /// Returns how far the prune is, if it was held back.
    pub fn prune_state(&self) -> Option<PruneState> {
        self.prune.as_ref()?.held.as_ref()?;
        Some(if self.pruned.is_some() {
            PruneState::Done
        } else if self.prune_confirmed_at.is_some() {
            PruneState::Confirmed
        } else {
            PruneState::Held
        })
    }

    /// Checks whether the prune can be confirmed, or was. `floor` is the order of the newest pruned snapshot of the
    /// dataset.
    pub fn check_prune(&self, floor: Option<ObjectOrder>) -> Result<(), PruneRefusal> {
        match (self.state, self.prune_state()) {
            (JobState::Open, _) => Err(PruneRefusal::Open),
            (JobState::Succeeded, Some(PruneState::Done)) => Ok(()),
            (JobState::Succeeded, Some(PruneState::Held | PruneState::Confirmed)) => {
                if floor > Some(self.order) {
                    return Err(PruneRefusal::Superseded);
                }
                Ok(())
            }
            _ => Err(PruneRefusal::NotHeld),
        }
    }

    /// Returns whether a confirmed prune has not run, or its completion event may not be published.
    pub fn awaits_prune(&self) -> bool {
        match self.prune_state() {
            Some(PruneState::Confirmed) => true,
            Some(PruneState::Done) => !self.prune_published,
            Some(PruneState::Held) | None => false,
        }
    }

    /// Returns the problem, which a confirmed prune has solved once it is done.
    pub fn open_problem(&self) -> Option<&Problem> {
        let is_solved = self.prune_state() == Some(PruneState::Done);
        self.problem.as_ref().filter(|_| !is_solved)
    }

    /// Returns the counts of a closed job, with what a confirmed prune has deleted.
    pub fn final_counts(&self) -> Option<Counts> {
        let mut counts = self.counts.clone()?;
        for (store, pruned) in self.pruned.iter().flatten() {
            counts.stores.entry(*store).or_default().pruned = *pruned;
        }
        Some(counts)
    }

    /// Returns the completion event of a confirmed prune, always the same; `None` before it is done.
    pub fn completion_after_prune(&self, rejects_bucket: &str) -> Option<CompletionEvent> {
        let prune = self.prune_state();
        if prune != Some(PruneState::Done) {
            return None;
        }
        Some(CompletionEvent {
            id: CompletionEvent::id_after_prune(self.job, self.attempt),
            problem: None,
            counts: self.final_counts()?,
            prune,
            ..self.completion(rejects_bucket)?
        })
    }
}
