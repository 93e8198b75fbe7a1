//! Two files with common keys at the same time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use landfall_domain::{Dataset, Row, StoreCounts, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::databases::{Database, dataset};
use crate::rows::{Chunks, Notes, PAIRS, deleted_pair, notes, order, pair};
use crate::worker::Worker;

/// Returns chunks of a file with these keys, some of them more than once, and the expected rows.
fn file(
    dataset: &Dataset,
    moment: i64,
    keys: std::ops::Range<u32>,
    rows_of_a_chunk: usize,
    random: &mut StdRng,
    newest: &mut Notes,
) -> Chunks {
    let mut rows = Vec::new();
    for _ in 0..keys.len() * 5 / 4 {
        let key = format!("key {:05}", random.random_range(keys.clone()));
        let text = format!("text {}", random.random_range(0..3));
        let offset = rows.len() as u64 * 100;
        let version = order(moment).at(offset).to_string();
        newest.insert(key.clone(), (text.clone(), version));
        rows.push(Row {
            offset,
            ..pair(&key, &text)
        });
    }
    let chunks = rows.chunks(rows_of_a_chunk);
    chunks
        .map(|rows| (moment, latest_by_key(rows.to_vec(), dataset).0.into()))
        .collect()
}

pub(crate) async fn two_overlapping_files_at_once(database: &Database) {
    overlapping(database, (5, 10), 60, 25).await;
}

/// The same with chunks so big that a store may split them.
pub(crate) async fn two_big_overlapping_files_at_once(database: &Database) {
    overlapping(database, (4, 2), 6_000, 2_500).await;
}

/// Loads two files, of which `half` the keys are common, into so many tables, so many times.
async fn overlapping(
    database: &Database,
    (tables, runs): (i64, i64),
    half: u32,
    rows_of_a_chunk: usize,
) {
    const APPLIERS: usize = 8;
    let mut stores = Vec::new();
    for _ in 0..APPLIERS {
        stores.push(database.store().await);
    }
    let mut random = StdRng::seed_from_u64(7);
    for table in 0..tables {
        let dataset = dataset(PAIRS);
        let mut newest = Notes::new();
        for run in 0..runs {
            let mut chunks = Chunks::new();
            for (moment, keys) in [(2 * run + 1, 0..2 * half), (2 * run + 2, half..3 * half)] {
                let random = &mut random;
                chunks.extend(file(
                    &dataset,
                    moment,
                    keys,
                    rows_of_a_chunk,
                    random,
                    &mut newest,
                ));
            }
            let rows: u64 = chunks.iter().map(|(_, rows)| rows.len() as u64).sum();
            chunks.shuffle(&mut random);
            let chunks = Arc::new(Mutex::new(VecDeque::from(chunks)));
            let mut running = JoinSet::new();
            for store in &stores {
                let (store, dataset) = (Arc::clone(store), dataset.clone());
                let chunks = Arc::clone(&chunks);
                running.spawn(async move {
                    let mut sum = StoreCounts::default();
                    store.prepare(&dataset).await.unwrap();
                    let next = || chunks.lock().unwrap().pop_front();
                    while let Some((moment, rows)) = next() {
                        sum += store.apply(&dataset, &order(moment), &rows).await.unwrap();
                    }
                    sum
                });
            }
            let mut sum = StoreCounts::default();
            for counts in running.join_all().await {
                sum += counts;
            }
            assert_eq!(sum.total(), rows, "table {table}, run {run}: {sum:?}");
            let found = notes(&database.read(&dataset).await);
            assert_eq!(found, newest, "table {table}, run {run}");
        }
        database.drop_table(&dataset).await;
    }
}

/// A store that splits big chunks must not do so beside changes that concern all keys.
pub(crate) async fn the_first_deletes_beside_big_chunks(database: &Database) {
    const ROWS: usize = 5_000;
    for _ in 0..3 {
        let one = Worker::of(database, PAIRS).await;
        let two = one.other().await;
        let key = |id: usize| format!("key {id:05}");
        let big = (0..ROWS).map(|id| pair(&key(id), "x")).collect();
        let few = (0..ROWS).step_by(500);
        let deletes = few.clone().map(|id| deleted_pair(&key(id))).collect();
        tokio::join!(one.apply(1, big), two.apply(2, deletes));
        let found = one.notes().await;
        assert_eq!(found.len(), ROWS - few.clone().count());
        assert!(few.clone().all(|id| !found.contains_key(&key(id))));
        one.drop_table().await;
    }
}
