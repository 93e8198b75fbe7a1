//! Tombstones go once they have expired, also if no more deletes come.

use std::time::Duration;

use futures::TryStreamExt as _;
use landfall_domain::Row;
use landfall_stores::{Store, StoreOptions};

use crate::databases::{Database, collections};
use crate::rows::{PAIRS, counts, deleted_pair, pair};
use crate::worker::Worker;

const OPTIONS: StoreOptions = StoreOptions {
    connections: 2,
    timeout: Duration::from_mins(1),
    step_rows: 20,
    small_table_rows: 100_000,
};

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|id| format!("{prefix} {id:03}")).collect()
}

fn deletes(ids: &[String]) -> Vec<Row> {
    ids.iter().map(|id| deleted_pair(id)).collect()
}

fn pairs(ids: &[String], note: &str) -> Vec<Row> {
    ids.iter().map(|id| pair(id, note)).collect()
}

/// Makes the tombstones of keys with this prefix older than any that is kept.
async fn expire(worker: &Worker<'_>, prefix: &str) {
    let tombstones = format!("_deleted_{}", worker.dataset.name);
    let update = format!(
        "UPDATE {tombstones} SET _deleted_at = '2020-01-01 00:00:00' WHERE id LIKE '{prefix}%'"
    );
    worker.database.execute(&update).await;
}

/// Returns whether the dataset may have tombstones. Others may, too, and come and go.
async fn has_tombstones(store: &dyn Store, dataset: &str) -> bool {
    let mut place = None;
    while let Some(next) = store.next_to_sweep(place.as_deref()).await.unwrap() {
        if next == dataset {
            return true;
        }
        assert!(Some(&next) > place.as_ref(), "{next} after {place:?}");
        place = Some(next);
    }
    false
}

pub(crate) async fn expired_tombstones_are_swept_in_steps(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let store = database.store_with(OPTIONS).await;
    let name = worker.dataset.name.as_str();
    let (old, new) = (ids("old", 50), ids("new", 3));
    worker.apply(10, pairs(&old, "10")).await;
    assert!(!has_tombstones(&*store, name).await);
    assert_eq!(store.sweep(name).await.unwrap(), 0);
    worker.apply(20, deletes(&old)).await;
    worker.apply(20, deletes(&new)).await;
    expire(&worker, "old").await;
    assert!(has_tombstones(&*store, name).await);
    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        steps.push(store.sweep(name).await.unwrap());
    }
    assert_eq!(steps, [20, 20, 10, 0]);
    // Only the expired ones are forgotten.
    assert!(has_tombstones(&*store, name).await);
    let late = [&old[..1], &new[..]].concat();
    let late = || pairs(&late, "15");
    worker.applies(15, late(), counts(1, 0, 0, 3)).await;
    expire(&worker, "new").await;
    assert_eq!(store.sweep(name).await.unwrap(), 3);
    assert_eq!(store.sweep(name).await.unwrap(), 0);
    assert!(!has_tombstones(&*store, name).await);
    worker.applies(15, late(), counts(3, 0, 1, 0)).await;
    // Later deletes count as the first ones did.
    worker.apply(30, deletes(&old)).await;
    assert!(has_tombstones(&*store, name).await);
    worker.applies(25, late(), counts(0, 0, 3, 1)).await;
    worker.drop_table().await;
}

pub(crate) async fn sweeps_beside_writers(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let name = worker.dataset.name.as_str();
    let (old, new) = (ids("old", 200), ids("new", 200));
    worker.apply(10, deletes(&old)).await;
    expire(&worker, "old").await;
    let (one, other) = tokio::join!(database.store_with(OPTIONS), database.store_with(OPTIONS));
    let sweep = async |store: &dyn Store| {
        let mut sum = 0;
        loop {
            match store.sweep(name).await.unwrap() {
                0 => return sum,
                swept => sum += swept,
            }
        }
    };
    // Without deletes: a chunk with some sweeps expired tombstones itself.
    let write = async {
        for part in new.chunks(10) {
            worker.apply(20, pairs(part, "20")).await;
        }
    };
    let (one, other, ()) = tokio::join!(sweep(&*one), sweep(&*other), write);
    assert_eq!(one + other, 200);
    assert_eq!(worker.notes().await.len(), 200);
    worker.drop_table().await;
}

pub(crate) async fn the_server_deletes_expired_tombstones(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(10, deletes(&ids("old", 1))).await;
    assert!(!has_tombstones(&*worker.store, &worker.dataset.name).await);
    let Database::Mongodb(uri) = database else {
        panic!("a test for MongoDB");
    };
    let [_, tombstones, _] = collections(uri, &worker.dataset).await;
    let indexes = tombstones.list_indexes().await.unwrap();
    let indexes: Vec<mongodb::IndexModel> = indexes.try_collect().await.unwrap();
    let expires = indexes
        .iter()
        .filter_map(|index| index.options.as_ref()?.expire_after);
    let expires: Vec<Duration> = expires.collect();
    assert_eq!(expires, [Duration::from_hours(30 * 24)]);
    worker.drop_table().await;
}
