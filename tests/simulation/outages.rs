//! When stores are down, and for how long.

use std::sync::atomic::Ordering;

use rand::Rng;
use rand::rngs::StdRng;

use crate::world::World;

/// Times in milliseconds from and until which a store is down, for each store.
pub struct Outages([Vec<(i64, i64)>; 2]);

impl Outages {
    /// Returns outages of each store that last from a second to about an hour, and a few for half a day.
    pub fn random(rng: &mut StdRng) -> Self {
        let mut of_one = || {
            let mut at = 0;
            let outages = (0..rng.random_range(0..3)).map(|_| {
                let longest = if rng.random_ratio(1, 50) { 4.6 } else { 3.6 };
                let seconds = 10_f64.powf(rng.random_range(0.0..longest));
                let from = at + rng.random_range(0..5_000);
                #[expect(clippy::cast_possible_truncation, reason = "less than a day")]
                let until = from + (seconds * 1_000.0) as i64;
                at = until;
                (from, until)
            });
            outages.collect()
        };
        Self([of_one(), of_one()])
    }

    /// Returns an outage of one store that does not end.
    pub fn endless(rng: &mut StdRng) -> Self {
        let outage = vec![(rng.random_range(0..300), i64::MAX)];
        if rng.random() {
            Self([outage, Vec::new()])
        } else {
            Self([Vec::new(), outage])
        }
    }

    /// Makes the stores reachable or not, as the time says.
    pub fn apply(&self, world: &World) {
        let now = world.queue.time.millis();
        for (store, outages) in world.stores.iter().zip(&self.0) {
            let is_down = outages
                .iter()
                .any(|(from, until)| (*from..*until).contains(&now));
            store.is_down.store(is_down, Ordering::Relaxed);
        }
    }

    /// Returns when all stores are up for good, or for chunks that do not wait longer, when they are down for too long.
    pub fn end(&self, store_wait: i64) -> i64 {
        let outages = self.0.iter().flatten();
        let ends = outages.map(|(from, until)| (*until).min(from + store_wait));
        ends.max().unwrap_or_default()
    }
}
