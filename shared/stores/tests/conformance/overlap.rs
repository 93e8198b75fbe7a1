//! Two files with common keys at the same time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use landfall_domain::{Dataset, Row, RowVersion, StoreCounts, Value, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, deletion, notes, order, pair, text};

/// Rows of one object, and its moment.
type Chunk = (i64, Arc<Vec<Row>>);

/// Returns chunks of a file with these keys, some of them more than once, and the expected rows.
fn file(
    dataset: &Dataset,
    moment: i64,
    keys: std::ops::Range<u32>,
    rows_of_a_chunk: usize,
    random: &mut StdRng,
    newest: &mut BTreeMap<String, (String, RowVersion)>,
) -> Vec<Chunk> {
    let mut rows = Vec::new();
    for _ in 0..keys.len() * 5 / 4 {
        let key = format!("key {:05}", random.random_range(keys.clone()));
        let text = format!("text {}", random.random_range(0..3));
        let offset = rows.len() as u64 * 100;
        newest.insert(key.clone(), (text.clone(), order(moment).at(offset)));
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
        let mut newest = BTreeMap::new();
        for run in 0..runs {
            let mut chunks = Vec::new();
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
            let running: Vec<_> = stores
                .iter()
                .map(|store| {
                    let (store, dataset) = (Arc::clone(store), dataset.clone());
                    let chunks = Arc::clone(&chunks);
                    tokio::spawn(async move {
                        let mut sum = StoreCounts::default();
                        store.prepare(&dataset).await.unwrap();
                        let next = || chunks.lock().unwrap().pop_front();
                        while let Some((moment, rows)) = next() {
                            sum += store.apply(&dataset, &order(moment), &rows).await.unwrap();
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = StoreCounts::default();
            for task in running {
                sum += task.await.unwrap();
            }
            assert_eq!(sum.total(), rows, "table {table}, run {run}: {sum:?}");
            let expected: BTreeMap<_, _> = newest
                .iter()
                .map(|(key, (text, version))| {
                    let version = version.as_bytes().to_vec();
                    (key.clone(), (text.clone(), version))
                })
                .collect();
            let found = notes(&database.read(&dataset).await);
            assert_eq!(found, expected, "table {table}, run {run}");
        }
        database.drop_table(&dataset).await;
    }
}

/// A store that splits big chunks must not do so beside changes that concern all keys.
pub(crate) async fn the_first_deletes_beside_big_chunks(database: &Database) {
    const ROWS: usize = 5_000;
    let stores = [database.store().await, database.store().await];
    for _ in 0..3 {
        let dataset = dataset(PAIRS);
        let key = |id: usize| format!("key {id:05}");
        let big: Vec<_> = (0..ROWS).map(|id| pair(&key(id), "x")).collect();
        let few = (0..ROWS).step_by(500);
        let deletes: Vec<_> = few
            .clone()
            .map(|id| deletion(vec![text(&key(id)), Value::Null]))
            .collect();
        stores[0].prepare(&dataset).await.unwrap();
        stores[1].prepare(&dataset).await.unwrap();
        let (big, deletes) = (Arc::new(big), Arc::new(deletes));
        let (older, newer) = (order(1), order(2));
        let both = tokio::join!(
            stores[0].apply(&dataset, &older, &big),
            stores[1].apply(&dataset, &newer, &deletes)
        );
        let counts = both.0.unwrap();
        both.1.unwrap();
        assert_eq!(counts.total(), ROWS as u64, "{counts:?}");
        let found = notes(&database.read(&dataset).await);
        assert_eq!(found.len(), ROWS - few.clone().count());
        assert!(few.clone().all(|id| !found.contains_key(&key(id))));
        database.drop_table(&dataset).await;
    }
}
