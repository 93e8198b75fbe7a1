//! Work on whole tables goes on after crashes, and beside writers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_domain::{PrunePreview, Row};
use landfall_stores::{Step, Store, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::databases::Database;
use crate::rows::{Notes, PAIRS, counts, deleted_pair, dies_after, note, order, pair};
use crate::totals;
use crate::worker::Worker;

/// Many steps, whatever the table is: `PostgreSQL` has 20 rows or more on a page.
const OPTIONS: StoreOptions = StoreOptions {
    connections: 2,
    timeout: Duration::from_mins(1),
    step_rows: 20,
    small_table_rows: 100_000,
};

fn id(number: usize) -> String {
    // Not in the order in which they are inserted.
    format!("key {:03}", (number * 7) % 1_000)
}

fn pairs(ids: Range<usize>, text: &str) -> Vec<Row> {
    ids.map(|number| pair(&id(number), text)).collect()
}

fn notes_of(ids: Range<usize>, text: &str, moment: i64) -> Notes {
    ids.map(|number| (id(number), note(text, moment))).collect()
}

async fn store(worker: &Worker<'_>) -> Arc<dyn Store> {
    let store = worker.database.store_with(OPTIONS).await;
    store.prepare(&worker.dataset).await.unwrap();
    store
}

/// Prunes in many steps, some of which die, each of another process. Returns the number of deleted rows.
async fn prune_with_crashes(worker: &Worker<'_>, moment: i64, random: &mut StdRng) -> u64 {
    let (mut steps, mut crashes) = (0, 0);
    let mut running = store(worker).await;
    loop {
        let order = order(moment);
        let step = running.prune(&worker.dataset, &order);
        // At least one step dies, in the middle: no database answers between two polls.
        if crashes == 0 || random.random_bool(0.3) {
            let polls = if crashes == 0 {
                0
            } else {
                random.random_range(0..10)
            };
            let Some(step) = dies_after(polls, step).await else {
                crashes += 1;
                running = store(worker).await;
                continue;
            };
            step.unwrap();
            continue;
        }
        steps += 1;
        if let Step::Done(pruned) = step.await.unwrap() {
            assert!(steps > 3, "{steps} steps");
            return pruned;
        }
    }
}

pub(crate) async fn a_prune_survives_crashes_between_and_within_steps(database: &Database) {
    for seed in 0..3 {
        let worker = Worker::of(database, PAIRS).await;
        worker.apply(10, pairs(0..800, "10")).await;
        let deletes = (750..800).map(|number| deleted_pair(&id(number)));
        worker.apply(11, deletes.collect()).await;
        worker.apply(60, pairs(300..320, "60")).await;
        worker.apply(50, pairs(0..100, "50")).await;
        let preview = store(&worker).await;
        let mut steps = 0;
        let counted = loop {
            steps += 1;
            let step = preview.preview_prune(&worker.dataset, &order(50)).await;
            if let Step::Done(counted) = step.unwrap() {
                break counted;
            }
        };
        assert!(steps > 3, "{steps} steps");
        let (rows, deletes) = (750, 630);
        assert_eq!(counted, PrunePreview { rows, deletes });
        let random = &mut StdRng::seed_from_u64(seed);
        assert_eq!(prune_with_crashes(&worker, 50, random).await, deletes);
        assert_eq!(worker.other().await.prune(50).await, deletes);
        let mut left = notes_of(0..100, "50", 50);
        left.extend(notes_of(300..320, "60", 60));
        assert_eq!(worker.notes().await, left, "seed {seed}");
        // Late rows are below the floor, also of keys whose tombstones are gone.
        let late = pairs(90..800, "12");
        let late_rows = late.len() as u64;
        worker.applies(12, late, counts(0, 0, 0, late_rows)).await;
        worker.drop_table().await;
    }
}

pub(crate) async fn writers_go_on_beside_a_prune(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(10, pairs(0..800, "10")).await;
    worker.apply(50, pairs(0..100, "50")).await;
    // The floor is raised.
    let step = store(&worker)
        .await
        .prune(&worker.dataset, &order(50))
        .await;
    assert_eq!(step.unwrap(), Step::Continues);
    let (done, other) = (AtomicBool::new(false), worker.other().await);
    let write = async {
        let mut moment = 60;
        let mut left: Notes = BTreeMap::new();
        while !done.load(Ordering::Relaxed) || moment < 70 {
            moment += 1;
            let first = usize::try_from(moment * 13 % 700).unwrap();
            let newer = first..first + 40;
            other.apply(moment, pairs(newer.clone(), "newer")).await;
            left.extend(notes_of(newer, "newer", moment));
            let older = pairs(first + 20..first + 90, "older");
            other.applies(20, older, counts(0, 0, 0, 70)).await;
        }
        left
    };
    let prune = async {
        let random = &mut StdRng::seed_from_u64(4);
        let pruned = prune_with_crashes(&worker, 50, random).await;
        done.store(true, Ordering::Relaxed);
        pruned
    };
    let (newer, pruned) = tokio::join!(write, prune);
    assert!(pruned <= 700, "{pruned}");
    let mut left = notes_of(0..100, "50", 50);
    left.extend(newer);
    assert_eq!(worker.notes().await, left);
    worker.drop_table().await;
}

pub(crate) async fn a_newer_snapshot_takes_over_a_prune(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(10, pairs(0..800, "10")).await;
    worker.apply(20, pairs(0..100, "20")).await;
    let older = store(&worker).await;
    let step = older.prune(&worker.dataset, &order(20)).await;
    assert_eq!(step.unwrap(), Step::Continues);
    worker.apply(30, pairs(50..60, "30")).await;
    let newer = store(&worker).await;
    let step = newer.prune(&worker.dataset, &order(30)).await;
    assert_eq!(step.unwrap(), Step::Continues);
    // Whichever of the two goes on, the last step leaves only what is in the newer one.
    assert_eq!(worker.prune(20).await, 0);
    assert_eq!(worker.notes().await, notes_of(50..60, "30", 30));
    let pruned = worker.prune(30).await;
    assert!((90..=790).contains(&pruned), "{pruned}");
    worker.drop_table().await;
}

pub(crate) async fn totals_are_exact_after_each_step_of_a_prune(database: &Database) {
    let worker = totals::worker_of(database).await;
    let dataset = &worker.dataset;
    let random = &mut StdRng::seed_from_u64(10);
    worker
        .apply(1, totals::any_products(dataset, 0..300, random))
        .await;
    worker
        .apply(2, totals::any_products(dataset, 100..150, random))
        .await;
    let store = store(&worker).await;
    let mut steps = 0;
    loop {
        steps += 1;
        let step = store.prune(dataset, &order(2)).await.unwrap();
        totals::check(database, dataset).await;
        let newer = totals::any_products(dataset, 200..210, random);
        worker.apply(2 + steps, newer).await;
        totals::check(database, dataset).await;
        if let Step::Done(pruned) = step {
            assert!((230..=250).contains(&pruned), "{pruned}");
            break;
        }
    }
    assert!(steps > 3, "{steps} steps");
    worker.drop_table().await;
}
