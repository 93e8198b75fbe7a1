//! Late rows do not undo deletes: of single keys, and of what a snapshot lacks.

use std::collections::BTreeMap;

use landfall_domain::{Row, StoreCounts, Value, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::rows::{
    Chunks, PAIRS, apply_at_once, counts, deleted_pair, deletion, note, notes, pair, random_chunks,
    row, text,
};
use crate::worker::Worker;

fn deleted(deleted: u64, unchanged: u64, stale: u64) -> StoreCounts {
    StoreCounts {
        deleted,
        ..counts(0, 0, unchanged, stale)
    }
}

/// Returns rows of these ids with the same note.
fn pairs(ids: &[&str], note: &str) -> Vec<Row> {
    ids.iter().map(|id| pair(id, note)).collect()
}

fn deletes(ids: &[&str]) -> Vec<Row> {
    ids.iter().map(|id| deleted_pair(id)).collect()
}

async fn assert_ids(worker: &Worker<'_>, expected: &[&str]) {
    let found: Vec<String> = worker.notes().await.into_keys().collect();
    assert_eq!(found, expected);
}

pub(crate) async fn present_absent_and_newer_keys(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(10, pairs(&["a", "b"], "10")).await;
    worker.apply(30, pairs(&["c"], "30")).await;
    // The key a is there, c is newer, d is absent.
    let chunk = || deletes(&["a", "c", "d"]);
    worker.applies(20, chunk(), deleted(1, 1, 1)).await;
    assert_ids(&worker, &["b", "c"]).await;
    // Redelivered, whole and in part.
    for _ in 0..2 {
        worker.applies(20, chunk(), deleted(0, 2, 1)).await;
    }
    let part = deletes(&["a", "b"]);
    worker.applies(20, part, deleted(1, 1, 0)).await;
    // The newer row is as it was.
    let left = BTreeMap::from([("c".to_owned(), note("30", 30))]);
    assert_eq!(worker.notes().await, left);
    worker.drop_table().await;
}

pub(crate) async fn late_rows_of_a_deleted_key(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(10, pairs(&["a"], "10")).await;
    // Delete a key that never came, too.
    let both = deletes(&["a", "b"]);
    worker.applies(20, both, deleted(1, 1, 0)).await;
    let late = |note| pairs(&["a", "b", "c"], note);
    worker.applies(15, late("15"), counts(1, 0, 0, 2)).await;
    worker.applies(15, late("15"), counts(0, 0, 1, 2)).await;
    assert_ids(&worker, &["c"]).await;
    worker.applies(30, late("30"), counts(2, 1, 0, 0)).await;
    // A row that comes back is as safe as any other.
    worker.applies(20, deletes(&["a"]), deleted(0, 0, 1)).await;
    worker.applies(25, late("25"), counts(0, 0, 0, 3)).await;
    let found = worker.notes().await;
    assert!(found.values().all(|found| *found == note("30", 30)));
    assert_eq!(found.len(), 3);
    worker.drop_table().await;
}

pub(crate) async fn the_newest_delete_counts(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let delete = || deletes(&["a"]);
    worker.applies(5, delete(), deleted(0, 1, 0)).await;
    worker.applies(3, delete(), deleted(0, 0, 1)).await;
    worker.applies(9, delete(), deleted(0, 1, 0)).await;
    worker.applies(5, delete(), deleted(0, 0, 1)).await;
    let row = || pairs(&["a"], "x");
    worker.applies(7, row(), counts(0, 0, 0, 1)).await;
    worker.applies(10, row(), counts(1, 0, 0, 0)).await;
    worker.applies(9, delete(), deleted(0, 0, 1)).await;
    // In one object, the later record is newer.
    let later = Row {
        offset: 7,
        ..deleted_pair("a")
    };
    worker.applies(10, vec![later], deleted(1, 0, 0)).await;
    worker.applies(10, row(), counts(0, 0, 0, 1)).await;
    assert_ids(&worker, &[]).await;
    worker.drop_table().await;
}

const SHOPS: &str = r#"
key = ["day", "shop", "number"]
fields = [
    { name = "note", type = "text" },
    { name = "shop", type = "text" },
    { name = "number", type = "integer" },
    { name = "day", type = "date" },
    { name = "price", type = "decimal" },
]
"#;

fn sale(note: Option<&str>, shop: &str, number: i64) -> Row {
    let values = vec![
        note.map_or(Value::Null, text),
        text(shop),
        Value::Integer(number),
        Value::Date(jiff::civil::date(2026, 11, 20)),
        note.map_or(Value::Null, |_| Value::Decimal("1.5".parse().unwrap())),
    ];
    match note {
        Some(_) => row(0, values),
        None => deletion(values),
    }
}

pub(crate) async fn rows_and_deletes_in_one_chunk(database: &Database) {
    let worker = Worker::of(database, SHOPS).await;
    let rows = vec![
        sale(Some("a"), "", 1),
        sale(Some("a"), "x", 1),
        sale(Some("a"), "x ", 1),
        sale(Some("a"), "x", 2),
    ];
    worker.applies(1, rows.clone(), counts(4, 0, 0, 0)).await;
    let mixed = vec![
        sale(None, "", 1),
        sale(Some("b"), "x", 1),
        sale(None, "x ", 1),
        sale(Some("a"), "x", 2),
        sale(Some("b"), "x", 3),
        sale(None, "x", 4),
    ];
    let expected = StoreCounts {
        deleted: 2,
        ..counts(1, 1, 2, 0)
    };
    worker.applies(2, mixed, expected).await;
    worker.applies(1, rows, counts(0, 0, 0, 4)).await;
    let left = [("b", 1), ("a", 2), ("b", 3)];
    let left = left.map(|(note, number)| sale(Some(note), "x", number).values.into_vec());
    assert_eq!(worker.values_by(2).await, left);
    // Rows of several key fields are pruned too.
    assert_eq!(worker.prune(3).await, 3);
    assert_eq!(worker.read().await, []);
    worker.drop_table().await;
}

pub(crate) async fn concurrent_deletes_leave_what_the_greatest_version_says(database: &Database) {
    for seed in 0..3 {
        let dataset = dataset(PAIRS);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut chunks, newest) = random_chunks(&dataset, 0.4, &mut random);
        let sum = apply_at_once(database, &dataset, 8, &chunks).await;
        assert_eq!(notes(&database.read(&dataset).await), newest, "seed {seed}");
        // In MongoDB, one of two concurrent deliveries may delete what the other has counted.
        if !database.is_mongodb() {
            let left = newest.len() as u64;
            assert_eq!(sum.inserted - sum.deleted, left, "seed {seed}: {sum:?}");
        }
        // All of it again, in another order.
        chunks.shuffle(&mut random);
        let again = apply_at_once(database, &dataset, 2, &chunks).await;
        let unwritten = again.unchanged + again.stale;
        assert_eq!(unwritten, again.total(), "seed {seed}: {again:?}");
        assert_eq!(notes(&database.read(&dataset).await), newest, "seed {seed}");
        database.drop_table(&dataset).await;
    }
}

pub(crate) async fn a_prune_is_counted_before_it_runs(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    assert_eq!(worker.preview_prune(19).await, (0, 0));
    let ids = ["a", "b", "c", "d", "e"];
    worker.apply(10, pairs(&ids, "10")).await;
    worker.apply(12, deletes(&["e"])).await;
    worker.apply(30, pairs(&["d"], "30")).await;
    worker.apply(20, pairs(&["a", "f"], "20")).await;
    // Deleted keys are no rows; d is newer.
    assert_eq!(worker.preview_prune(20).await, (5, 2));
    assert_eq!(worker.preview_prune(10).await, (5, 0));
    assert_eq!(worker.preview_prune(40).await, (5, 5));
    assert_ids(&worker, &["a", "b", "c", "d", "f"]).await;
    assert_eq!(worker.prune(20).await, 2);
    assert_eq!(worker.preview_prune(20).await, (3, 0));
    worker.drop_table().await;
}

pub(crate) async fn a_snapshot_prunes_what_it_no_longer_has(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker
        .apply(10, pairs(&["a", "b", "c", "d", "e"], "10"))
        .await;
    worker.apply(30, pairs(&["d"], "30")).await;
    // The snapshot has an unchanged row, a changed one and a new one; d is newer.
    let snapshot = || vec![pair("a", "10"), pair("b", "20"), pair("f", "20")];
    worker.applies(20, snapshot(), counts(1, 1, 1, 0)).await;
    assert_eq!(worker.prune(20).await, 2);
    assert_ids(&worker, &["a", "b", "d", "f"]).await;
    // Repeated, also by another worker.
    let other = worker.other().await;
    assert_eq!(worker.prune(20).await, 2);
    assert_eq!(other.prune(20).await, 2);
    // Late chunks of older objects are stale as a whole, whether their keys exist or not.
    let late = || pairs(&["a", "c", "z"], "late");
    other.applies(15, late(), counts(0, 0, 0, 3)).await;
    let late_deletes = deletes(&["a", "y"]);
    worker.applies(15, late_deletes, deleted(0, 0, 2)).await;
    // Chunks of the snapshot itself and of newer objects are not.
    worker.applies(20, snapshot(), counts(0, 0, 3, 0)).await;
    let newer = pairs(&["c", "d"], "25");
    worker.applies(25, newer, counts(1, 0, 0, 1)).await;
    // An older snapshot that closes late prunes nothing, and the newer one still counts.
    worker.prune(12).await;
    worker.applies(15, late(), counts(0, 0, 0, 3)).await;
    assert_ids(&worker, &["a", "b", "c", "d", "f"]).await;
    assert_eq!(worker.prune(40).await, 5);
    assert_ids(&worker, &[]).await;
    worker.drop_table().await;
}

pub(crate) async fn a_snapshot_beside_deleted_keys(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, pairs(&["a", "b", "c", "d"], "1")).await;
    worker.apply(5, deletes(&["a"])).await;
    worker.apply(9, deletes(&["b"])).await;
    let row = pairs(&["c"], "7");
    worker.applies(7, row, counts(0, 1, 0, 0)).await;
    assert_eq!(worker.prune(7).await, 1);
    assert_ids(&worker, &["c"]).await;
    let both = |note| pairs(&["a", "b"], note);
    // Below the snapshot; above it, where a is free again and b was deleted later; above both.
    worker.applies(6, both("6"), counts(0, 0, 0, 2)).await;
    worker.applies(8, both("8"), counts(1, 0, 0, 1)).await;
    worker.applies(10, both("10"), counts(1, 1, 0, 0)).await;
    assert_ids(&worker, &["a", "b", "c"]).await;
    worker.drop_table().await;
}

pub(crate) async fn late_rows_beside_a_snapshot_that_closes(database: &Database) {
    const KEYS: usize = 60;
    const SNAPSHOT: i64 = 50;
    let dataset = dataset(PAIRS);
    let mut random = StdRng::seed_from_u64(7);
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    let (mut early, mut snapshot, mut late) = (Chunks::new(), Chunks::new(), Chunks::new());
    for moment in 1..=60 {
        let share = if moment == SNAPSHOT { 0.5 } else { 0.2 };
        let keys: Vec<usize> = (0..KEYS).filter(|_| random.random_bool(share)).collect();
        for key in &keys {
            newest.insert(format!("key {key}"), moment);
        }
        let rows = keys.iter().map(|key| pair(&format!("key {key}"), "x"));
        let chunk = (moment, latest_by_key(rows.collect(), &dataset).0.into());
        match moment {
            SNAPSHOT => snapshot.push(chunk),
            _ if moment % 2 == 0 => early.push(chunk),
            _ => late.push(chunk),
        }
    }
    newest.retain(|_, moment| *moment >= SNAPSHOT);
    late.shuffle(&mut random);
    let worker = Worker::new(database, dataset.clone()).await;
    apply_at_once(database, &dataset, 4, &early).await;
    apply_at_once(database, &dataset, 1, &snapshot).await;
    let other = worker.other().await;
    let (_, first, second) = tokio::join!(
        apply_at_once(database, &dataset, 6, &late),
        worker.prune(SNAPSHOT),
        other.prune(SNAPSHOT),
    );
    assert_eq!(first, second, "two closers return the same");
    let expected = newest.into_iter().map(|(id, at)| (id, note("x", at)));
    assert_eq!(worker.notes().await, expected.collect());
    worker.drop_table().await;
}
