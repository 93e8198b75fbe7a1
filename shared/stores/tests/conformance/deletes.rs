//! Late rows do not undo deletes: of single keys, and of what a snapshot lacks.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, Row, StoreCounts, Value, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::rows::{
    Chunks, PAIRS, apply, apply_at_once, counts, deletion, note, notes, order, pair, row, text,
};

fn deleted_row(id: &str) -> Row {
    deletion(vec![text(id), Value::Null])
}

fn deleted(deleted: u64, unchanged: u64, stale: u64) -> StoreCounts {
    StoreCounts {
        deleted,
        ..counts(0, 0, unchanged, stale)
    }
}

/// Returns the ids of the rows.
async fn ids(database: &Database, dataset: &Dataset) -> Vec<String> {
    notes(&database.read(dataset).await).into_keys().collect()
}

pub(crate) async fn present_absent_and_newer_keys(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    apply(store, &dataset, 10, vec![pair("a", "10"), pair("b", "10")]).await;
    apply(store, &dataset, 30, vec![pair("c", "30")]).await;
    let chunk = || vec![deleted_row("a"), deleted_row("c"), deleted_row("d")];
    assert_eq!(
        apply(store, &dataset, 20, chunk()).await,
        deleted(1, 1, 1),
        "a is there, c is newer, d is absent"
    );
    assert_eq!(ids(database, &dataset).await, ["b", "c"]);
    // Redelivered, whole and in part.
    for _ in 0..2 {
        assert_eq!(apply(store, &dataset, 20, chunk()).await, deleted(0, 2, 1));
    }
    assert_eq!(
        apply(
            store,
            &dataset,
            20,
            vec![deleted_row("a"), deleted_row("b")]
        )
        .await,
        deleted(1, 1, 0)
    );
    let found = notes(&database.read(&dataset).await);
    assert_eq!(
        found,
        BTreeMap::from([("c".to_owned(), note("30", 30))]),
        "the newer row is as it was"
    );
    database.drop_table(&dataset).await;
}

pub(crate) async fn late_rows_of_a_deleted_key(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    apply(store, &dataset, 10, vec![pair("a", "10")]).await;
    // Delete a key that never came, too.
    let both = vec![deleted_row("a"), deleted_row("b")];
    assert_eq!(apply(store, &dataset, 20, both).await, deleted(1, 1, 0));
    let late = |note: &str| vec![pair("a", note), pair("b", note), pair("c", note)];
    assert_eq!(
        apply(store, &dataset, 15, late("15")).await,
        counts(1, 0, 0, 2)
    );
    assert_eq!(
        apply(store, &dataset, 15, late("15")).await,
        counts(0, 0, 1, 2)
    );
    assert_eq!(ids(database, &dataset).await, ["c"]);
    assert_eq!(
        apply(store, &dataset, 30, late("30")).await,
        counts(2, 1, 0, 0)
    );
    // A row that comes back is as safe as any other.
    assert_eq!(
        apply(store, &dataset, 20, vec![deleted_row("a")]).await,
        deleted(0, 0, 1)
    );
    assert_eq!(
        apply(store, &dataset, 25, late("25")).await,
        counts(0, 0, 0, 3)
    );
    let found = notes(&database.read(&dataset).await);
    assert!(found.values().all(|found| *found == note("30", 30)));
    assert_eq!(found.len(), 3);
    database.drop_table(&dataset).await;
}

pub(crate) async fn the_newest_delete_counts(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    let delete = || vec![deleted_row("a")];
    assert_eq!(apply(store, &dataset, 5, delete()).await, deleted(0, 1, 0));
    assert_eq!(apply(store, &dataset, 3, delete()).await, deleted(0, 0, 1));
    assert_eq!(apply(store, &dataset, 9, delete()).await, deleted(0, 1, 0));
    assert_eq!(apply(store, &dataset, 5, delete()).await, deleted(0, 0, 1));
    let at = |moment| {
        let dataset = &dataset;
        async move { apply(store, dataset, moment, vec![pair("a", "x")]).await }
    };
    assert_eq!(at(7).await, counts(0, 0, 0, 1));
    assert_eq!(at(10).await, counts(1, 0, 0, 0));
    assert_eq!(apply(store, &dataset, 9, delete()).await, deleted(0, 0, 1));
    // In one object, the later record is newer.
    let later = Row {
        offset: 7,
        ..deleted_row("a")
    };
    assert_eq!(
        apply(store, &dataset, 10, vec![later]).await,
        deleted(1, 0, 0)
    );
    assert_eq!(at(10).await, counts(0, 0, 0, 1));
    assert_eq!(ids(database, &dataset).await, [""; 0]);
    database.drop_table(&dataset).await;
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
    let dataset = dataset(SHOPS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    let rows = vec![
        sale(Some("a"), "", 1),
        sale(Some("a"), "x", 1),
        sale(Some("a"), "x ", 1),
        sale(Some("a"), "x", 2),
    ];
    assert_eq!(
        apply(store, &dataset, 1, rows.clone()).await,
        counts(4, 0, 0, 0)
    );
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
    assert_eq!(apply(store, &dataset, 2, mixed).await, expected);
    assert_eq!(apply(store, &dataset, 1, rows).await, counts(0, 0, 0, 4));
    let mut found: Vec<_> = database
        .read(&dataset)
        .await
        .into_iter()
        .map(|found| found.values)
        .collect();
    found.sort_by(|a, b| a[2].cmp_key(&b[2]));
    let left = [("b", 1), ("a", 2), ("b", 3)];
    let left = left.map(|(note, number)| sale(Some(note), "x", number).values.into_vec());
    assert_eq!(found, left);
    assert_eq!(
        store.prune(&dataset, &order(3)).await.unwrap(),
        3,
        "rows of several key fields are pruned too"
    );
    assert_eq!(database.read(&dataset).await, []);
    database.drop_table(&dataset).await;
}

pub(crate) async fn concurrent_deletes_leave_what_the_greatest_version_says(database: &Database) {
    const KEYS: usize = 40;
    const CHUNKS: i64 = 96;
    for seed in 0..3 {
        let dataset = dataset(PAIRS);
        let mut random = StdRng::seed_from_u64(seed);
        let mut newest = BTreeMap::new();
        let mut chunks = Chunks::new();
        for moment in 1..=CHUNKS {
            let mut keys: Vec<usize> = (0..KEYS).collect();
            keys.shuffle(&mut random);
            keys.truncate(random.random_range(1..KEYS));
            let mut rows = Vec::new();
            for key in keys {
                let id = format!("key {key}");
                // Few texts, so that many newer rows have the values of older ones.
                let text = format!("text {}", random.random_range(0..3));
                if random.random_bool(0.4) {
                    newest.insert(id.clone(), None);
                    rows.push(deleted_row(&id));
                } else {
                    newest.insert(id.clone(), Some(note(&text, moment)));
                    rows.push(pair(&id, &text));
                }
            }
            chunks.push((moment, latest_by_key(rows, &dataset).0.into()));
        }
        let again: Vec<_> = chunks
            .iter()
            .filter(|(moment, _)| moment % 5 == 0)
            .cloned()
            .collect();
        chunks.extend(again);
        chunks.shuffle(&mut random);

        let sum = apply_at_once(database, &dataset, 8, &chunks).await;
        let newest: BTreeMap<_, _> = newest
            .into_iter()
            .filter_map(|(id, note)| Some((id, note?)))
            .collect();
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

pub(crate) async fn a_snapshot_prunes_what_it_no_longer_has(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    let five = ["a", "b", "c", "d", "e"];
    let of = |ids: &[&str], note: &str| ids.iter().map(|id| pair(id, note)).collect::<Vec<_>>();
    apply(store, &dataset, 10, of(&five, "10")).await;
    apply(store, &dataset, 30, of(&["d"], "30")).await;
    // The snapshot has an unchanged row, a changed one and a new one; d is newer.
    let snapshot = || vec![pair("a", "10"), pair("b", "20"), pair("f", "20")];
    assert_eq!(
        apply(store, &dataset, 20, snapshot()).await,
        counts(1, 1, 1, 0)
    );
    assert_eq!(store.prune(&dataset, &order(20)).await.unwrap(), 2);
    assert_eq!(ids(database, &dataset).await, ["a", "b", "d", "f"]);
    // Repeated, also by another worker.
    let other = database.store().await;
    other.prepare(&dataset).await.unwrap();
    for store in [store, other.as_ref()] {
        assert_eq!(store.prune(&dataset, &order(20)).await.unwrap(), 2);
    }
    // Late chunks of older objects are stale as a whole, whether their keys exist or not.
    let late = || vec![pair("a", "late"), pair("c", "late"), pair("z", "late")];
    assert_eq!(
        apply(other.as_ref(), &dataset, 15, late()).await,
        counts(0, 0, 0, 3)
    );
    assert_eq!(
        apply(
            store,
            &dataset,
            15,
            vec![deleted_row("a"), deleted_row("y")]
        )
        .await,
        deleted(0, 0, 2)
    );
    // Chunks of the snapshot itself and of newer objects are not.
    assert_eq!(
        apply(store, &dataset, 20, snapshot()).await,
        counts(0, 0, 3, 0)
    );
    assert_eq!(
        apply(store, &dataset, 25, vec![pair("c", "25"), pair("d", "25")]).await,
        counts(1, 0, 0, 1)
    );
    // An older snapshot that closes late prunes nothing.
    store.prune(&dataset, &order(12)).await.unwrap();
    assert_eq!(
        apply(store, &dataset, 15, late()).await,
        counts(0, 0, 0, 3),
        "the newer snapshot still counts"
    );
    assert_eq!(
        ids(database, &dataset).await,
        ["a", "b", "c", "d", "f"],
        "nothing of the newer snapshot is gone"
    );
    assert_eq!(store.prune(&dataset, &order(40)).await.unwrap(), 5);
    assert_eq!(ids(database, &dataset).await, [""; 0]);
    database.drop_table(&dataset).await;
}

pub(crate) async fn a_snapshot_beside_deleted_keys(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    let four = ["a", "b", "c", "d"].map(|id| pair(id, "1")).to_vec();
    apply(store, &dataset, 1, four).await;
    apply(store, &dataset, 5, vec![deleted_row("a")]).await;
    apply(store, &dataset, 9, vec![deleted_row("b")]).await;
    assert_eq!(
        apply(store, &dataset, 7, vec![pair("c", "7")]).await,
        counts(0, 1, 0, 0)
    );
    assert_eq!(store.prune(&dataset, &order(7)).await.unwrap(), 1);
    assert_eq!(ids(database, &dataset).await, ["c"]);
    let both = |moment: i64| {
        let note = moment.to_string();
        vec![pair("a", &note), pair("b", &note)]
    };
    assert_eq!(
        apply(store, &dataset, 6, both(6)).await,
        counts(0, 0, 0, 2),
        "below the snapshot"
    );
    assert_eq!(
        apply(store, &dataset, 8, both(8)).await,
        counts(1, 0, 0, 1),
        "a is free again, b was deleted after the snapshot"
    );
    assert_eq!(
        apply(store, &dataset, 10, both(10)).await,
        counts(1, 1, 0, 0)
    );
    assert_eq!(ids(database, &dataset).await, ["a", "b", "c"]);
    database.drop_table(&dataset).await;
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
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    apply_at_once(database, &dataset, 4, &early).await;
    apply_at_once(database, &dataset, 1, &snapshot).await;
    let order = order(SNAPSHOT);
    let other = database.store().await;
    other.prepare(&dataset).await.unwrap();
    let (_, first, second) = tokio::join!(
        apply_at_once(database, &dataset, 6, &late),
        store.prune(&dataset, &order),
        other.prune(&dataset, &order),
    );
    assert_eq!(
        first.unwrap(),
        second.unwrap(),
        "two closers return the same"
    );
    let found = notes(&database.read(&dataset).await);
    let expected = newest.into_iter().map(|(id, at)| (id, note("x", at)));
    assert_eq!(found, expected.collect());
    database.drop_table(&dataset).await;
}
