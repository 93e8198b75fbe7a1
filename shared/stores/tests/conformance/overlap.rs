//! Two files with common keys at the same time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use landfall_domain::{Dataset, Row, RowVersion, StoreCounts, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, notes, order, pair};

/// Rows of one object, and its moment.
type Chunk = (i64, Arc<[Row]>);

/// Chunks of a file with these keys, some of them more than once; and what each key gets by it.
fn file(
    dataset: &Dataset,
    moment: i64,
    keys: std::ops::Range<u32>,
    random: &mut StdRng,
    newest: &mut BTreeMap<String, (String, RowVersion)>,
) -> Vec<Chunk> {
    const ROWS_OF_A_CHUNK: usize = 25;
    let mut rows = Vec::new();
    for _ in 0..keys.len() * 5 / 4 {
        let key = format!("key {:03}", random.random_range(keys.clone()));
        let text = format!("text {}", random.random_range(0..3));
        let offset = rows.len() as u64 * 100;
        newest.insert(key.clone(), (text.clone(), order(moment).at(offset)));
        rows.push(Row {
            offset,
            ..pair(&key, &text)
        });
    }
    let chunks = rows.chunks(ROWS_OF_A_CHUNK);
    chunks
        .map(|rows| (moment, latest_by_key(rows.to_vec(), dataset).0.into()))
        .collect()
}

pub(crate) async fn two_overlapping_files_at_once(database: &Database) {
    const RUNS: i64 = 50;
    const RUNS_OF_A_TABLE: i64 = 10;
    const APPLIERS: usize = 8;
    let mut stores = Vec::new();
    for _ in 0..APPLIERS {
        stores.push(database.store().await);
    }
    let mut random = StdRng::seed_from_u64(7);
    for table in 0..RUNS / RUNS_OF_A_TABLE {
        let dataset = dataset(PAIRS);
        let mut newest = BTreeMap::new();
        for run in 0..RUNS_OF_A_TABLE {
            let mut chunks = Vec::new();
            for (moment, keys) in [(2 * run + 1, 0..120), (2 * run + 2, 60..180)] {
                chunks.extend(file(&dataset, moment, keys, &mut random, &mut newest));
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
