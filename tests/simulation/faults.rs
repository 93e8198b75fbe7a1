//! Outages and pauses beside crashes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use landfall_ledger::{Ledger, LedgerTable};
use rand::Rng;
use rand::rngs::StdRng;

use crate::world::World;

/// What goes wrong beside crashes, and until when.
pub struct Faults {
    /// The steps between which a store is down, or the dataset is paused.
    outage: Option<(usize, usize)>,
    pause: Option<(usize, usize)>,
    kills_until: usize,
}

impl Faults {
    /// Returns faults that take at most so many steps each.
    pub fn random(rng: &mut StdRng, longest: usize) -> Self {
        let mut span = |probability| {
            let from = rng.random_range(0..500);
            let to = from + rng.random_range(1..longest);
            rng.random_bool(probability).then_some((from, to))
        };
        Self {
            outage: span(0.4),
            pause: span(0.3),
            kills_until: rng.random_range(0..3_000),
        }
    }

    pub async fn apply(&self, world: &World, dataset: &str, step: usize) {
        if let Some((from, to)) = self.outage {
            let is_down = (from..to).contains(&step);
            let store = &world.stores[from % 2].is_down;
            store.store(is_down, Ordering::Relaxed);
        }
        if let Some((from, to)) = self.pause {
            let ledger = Ledger::new(Arc::clone(&world.table) as Arc<dyn LedgerTable>);
            if step == from {
                ledger.pause(dataset, "operator").await.unwrap();
            } else if step == to {
                ledger.resume(dataset).await.unwrap();
            }
        }
    }

    pub fn may_kill(&self, step: usize) -> bool {
        step < self.kills_until
    }

    pub fn are_over(&self, step: usize) -> bool {
        let ends = [self.outage, self.pause].into_iter().flatten();
        ends.map(|(_, to)| to).all(|to| to < step)
    }
}
