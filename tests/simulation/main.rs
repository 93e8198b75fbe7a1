//! Seeded simulation: runs the deployed handlers on fakes and interleaves their steps at random. Notifications and
//! messages are duplicated, delayed and reordered, responses are lost, and functions die between any two steps.
//! `world` simulates ingestion, `failing` chunks that cannot be processed and stores that are down, `losing` lost
//! messages, redrives that end half-way, and the janitor, `unprunable` snapshots that cannot be pruned, `writes` rows
//! that clients write one by one, `numbers` numbered rows, and `live` the pushes of the socket. `relay` simulates
//! destinations and notifications. `closing` stops the closer at each of its steps.
//!
//! A failure prints its seed; `LANDFALL_SEED=<seed> cargo nextest run --test simulation` repeats it.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod closing;
mod derived;
mod failing;
mod fakes;
mod faults;
mod files;
mod fixed;
mod giving_up;
mod instances;
mod live;
mod losing;
mod maintenance;
mod numbers;
mod outages;
mod outcome;
mod packed;
mod planned;
mod queue;
mod relay;
mod repair;
mod samples;
mod schedule;
mod sources;
mod stores;
mod sweep;
mod too_old;
mod unknown;
mod unprunable;
mod world;
mod writes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::Rng;

/// The number of fixed seeds, and of random ones, unless `LANDFALL_SEEDS` is set.
const SEEDS: u64 = 120;
/// A seed of sources is most of an hour, with hundreds of pages.
const SEEDS_OF_SOURCES: u64 = 12;
/// A seed of the relay is most of an hour, with hundreds of calls.
const SEEDS_OF_RELAYS: u64 = 12;
/// A seed of notifications is more than three days.
const SEEDS_OF_NOTIFICATIONS: u64 = 5;
/// A seed of numbers is several hours.
const SEEDS_OF_NUMBERS: u64 = 30;
/// A seed of writes builds two apis, with their documents.
const SEEDS_OF_WRITES: u64 = 40;

/// Simulates the seed of `LANDFALL_SEED`, or some fixed and some random seeds.
fn run(simulate: impl AsyncFn(u64)) {
    run_some(SEEDS, simulate);
}

fn run_some(number: u64, simulate: impl AsyncFn(u64)) {
    let seeds = if let Ok(seed) = std::env::var("LANDFALL_SEED") {
        vec![seed.parse().unwrap()]
    } else {
        let given = std::env::var("LANDFALL_SEEDS").ok();
        let number = given.map_or(number, |number| number.parse().unwrap());
        let mut rng = rand::rng();
        let random = (0..number).map(|_| rng.random());
        (0..number).chain(random).collect()
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
                // Without tokio's budget, only the seed determines the schedule.
                .block_on(tokio::task::coop::unconstrained(simulate(seed)));
        }));
        assert!(outcome.is_ok(), "repeat with LANDFALL_SEED={seed}");
    }
}

#[test]
fn every_row_lands_once_whatever_happens() {
    run(world::simulate);
}

#[test]
fn objects_of_an_unknown_dataset_agree_on_its_definition() {
    run(unknown::agree);
}

#[test]
fn the_problem_of_an_unknown_dataset_has_a_definition() {
    run(unknown::fail);
}

#[test]
fn every_job_closes_whatever_fails() {
    run(async |seed| {
        failing::simulate(seed).await;
    });
}

#[test]
fn every_job_closes_whatever_is_lost() {
    run(async |seed| {
        losing::simulate(seed).await;
    });
}

#[test]
fn a_source_is_never_ahead_of_what_is_stored() {
    run_some(SEEDS_OF_SOURCES, sources::simulate);
}

#[test]
fn every_service_has_the_last_row_of_each_key_whatever_happens() {
    run_some(SEEDS_OF_RELAYS, relay::simulate);
}

#[test]
fn every_webhook_gets_each_event_that_it_wants_whatever_happens() {
    run_some(SEEDS_OF_NOTIFICATIONS, relay::simulate_notifications);
}

#[test]
fn every_snapshot_closes_even_if_it_cannot_be_pruned() {
    run(unprunable::simulate);
}

#[test]
fn a_job_closes_as_partial_if_its_store_does_not_return() {
    for seed in 0..5 {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(tokio::task::coop::unconstrained(
                failing::simulate_endless_outage(seed),
            ));
    }
}

#[test]
fn a_seed_determines_the_schedule() {
    fn trace<T>(simulation: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(tokio::task::coop::unconstrained(simulation))
    }
    for seed in 0..20 {
        let failing = || trace(failing::simulate(seed));
        assert_eq!(failing(), failing(), "seed {seed}");
        let losing = || trace(losing::simulate(seed));
        assert_eq!(losing(), losing(), "seed {seed}");
    }
}

#[test]
fn writes_of_a_key_end_in_the_order_in_which_they_were_acknowledged() {
    run_some(SEEDS_OF_WRITES, writes::simulate);
}

#[test]
fn every_number_ends_as_a_row_or_a_void() {
    run_some(SEEDS_OF_NUMBERS, numbers::simulate);
}

#[test]
fn every_index_is_created_whatever_happens() {
    run(maintenance::simulate);
}

#[test]
fn every_subscriber_receives_the_last_state_whatever_happens() {
    run(live::simulate);
}
