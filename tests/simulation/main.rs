//! Seeded simulation: runs the deployed handlers on fakes and interleaves their steps at random. Notifications and
//! messages are duplicated, delayed and reordered, responses are lost, and functions die between any two steps.
//!
//! A failure prints its seed; `LANDFALL_SEED=<seed> cargo nextest run --test simulation` repeats it.

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
                // Without tokio's budget, only the seed determines the schedule.
                .block_on(tokio::task::coop::unconstrained(world::simulate(seed)));
        }));
        assert!(outcome.is_ok(), "repeat with LANDFALL_SEED={seed}");
    }
}

#[test]
fn every_row_lands_once_whatever_happens() {
    if let Ok(seed) = std::env::var("LANDFALL_SEED") {
        return run([seed.parse().unwrap()]);
    }
    // Some seeds are the same in every run, others are new.
    run(0..SEEDS);
    let mut rng = rand::rng();
    run((0..SEEDS).map(|_| rng.random()));
}
