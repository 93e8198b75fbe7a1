//! Seeded simulation: the deployed handlers on fakes, their steps interleaved at random, with
//! notifications and messages duplicated, delayed and reordered, with answers lost and functions
//! dying between any two steps.
//!
//! A failure prints its seed; `LANDFALL_SEED=<seed> cargo nextest run --test simulation` runs that
//! one again.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod fakes;
mod samples;
mod schedule;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::Rng;

const SEEDS: u64 = 400;

fn run(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
                // Without tokio's own turns: the schedule is the seed's alone.
                .block_on(tokio::task::coop::unconstrained(world::simulate(seed)));
        }));
        assert!(outcome.is_ok(), "run it again with LANDFALL_SEED={seed}");
    }
}

#[test]
fn every_row_lands_once_whatever_happens() {
    if let Ok(seed) = std::env::var("LANDFALL_SEED") {
        return run([seed.parse().unwrap()]);
    }
    // Some seeds that are the same each time, and some that are new.
    run(0..SEEDS);
    let mut rng = rand::rng();
    run((0..SEEDS).map(|_| rng.random()));
}
