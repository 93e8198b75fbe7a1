//! The greatest version of each key stays, in any order of delivery.

use std::collections::BTreeMap;

use landfall_domain::{Row, StoreCounts, Value, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::rows::{Chunks, PAIRS, apply, apply_at_once, counts, note, notes, pair, row, text};

pub(crate) async fn redelivery_changes_nothing(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let rows = vec![pair("a", "1"), pair("b", "1"), pair("c", "1")];
    assert_eq!(
        apply(store.as_ref(), &dataset, 5, rows.clone()).await,
        counts(3, 0, 0, 0)
    );
    let before = database.read(&dataset).await;
    assert_eq!(
        apply(store.as_ref(), &dataset, 5, rows.clone()).await,
        counts(0, 0, 3, 0)
    );
    // A part of it, as a crash leaves it.
    let some = vec![pair("0", "1"), pair("b", "1"), pair("d", "1")];
    assert_eq!(
        apply(store.as_ref(), &dataset, 5, some).await,
        counts(2, 0, 1, 0)
    );
    let after = notes(&database.read(&dataset).await);
    assert!(
        notes(&before)
            .iter()
            .all(|(id, note)| after.get(id) == Some(note))
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 5, Vec::new()).await,
        StoreCounts::default()
    );
    database.drop_table(&dataset).await;
}

pub(crate) async fn a_newer_row_wins_in_any_order(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    assert_eq!(
        apply(store, &dataset, 20, vec![pair("a", "20"), pair("b", "20")]).await,
        counts(2, 0, 0, 0)
    );
    assert_eq!(
        apply(store, &dataset, 10, vec![pair("a", "10"), pair("c", "10")]).await,
        counts(1, 0, 0, 1)
    );
    let mixed = vec![
        pair("a", "20"),
        pair("b", "15"),
        pair("c", "15"),
        pair("d", "15"),
    ];
    assert_eq!(apply(store, &dataset, 15, mixed).await, counts(1, 1, 0, 2));
    // In one object, the later record is newer.
    let later = Row {
        offset: 7,
        ..pair("d", "later")
    };
    assert_eq!(
        apply(store, &dataset, 15, vec![later]).await,
        counts(0, 1, 0, 0)
    );
    assert_eq!(
        apply(store, &dataset, 15, vec![pair("d", "earlier")]).await,
        counts(0, 0, 0, 1)
    );
    let found = notes(&database.read(&dataset).await);
    assert_eq!(found["a"], note("20", 20));
    assert_eq!(found["b"], note("20", 20));
    assert_eq!(found["c"], note("15", 15));
    assert_eq!(found["d"].0, "later");
    database.drop_table(&dataset).await;
}

pub(crate) async fn an_unchanged_row_still_advances(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    assert_eq!(
        apply(store, &dataset, 1, vec![pair("a", "x")]).await,
        counts(1, 0, 0, 0)
    );
    assert_eq!(
        apply(store, &dataset, 3, vec![pair("a", "x")]).await,
        counts(0, 0, 1, 0)
    );
    // Between the two: the row of moment 3 says "x", and stays.
    assert_eq!(
        apply(store, &dataset, 2, vec![pair("a", "y")]).await,
        counts(0, 0, 0, 1)
    );
    assert_eq!(notes(&database.read(&dataset).await)["a"], note("x", 3));
    database.drop_table(&dataset).await;
}

pub(crate) async fn a_space_at_the_end_is_a_change(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    apply(
        store,
        &dataset,
        1,
        vec![pair("a", "x"), pair("b", "x"), pair("c", "é")],
    )
    .await;
    let changed = vec![pair("a", "x "), pair("b", "X"), pair("c", "e\u{301}")];
    assert_eq!(apply(store, &dataset, 2, changed).await, counts(0, 3, 0, 0));
    let empty = row(0, vec![text("a"), Value::Null]);
    assert_eq!(
        apply(store, &dataset, 3, vec![empty]).await,
        counts(0, 1, 0, 0)
    );
    assert_eq!(
        apply(store, &dataset, 4, vec![pair("a", "")]).await,
        counts(0, 1, 0, 0)
    );
    assert_eq!(notes(&database.read(&dataset).await)["b"], note("X", 2));
    database.drop_table(&dataset).await;
}

pub(crate) async fn a_dataset_of_keys_alone(database: &Database) {
    let dataset = dataset(
        r#"
key = ["id"]
unknown_columns = "drop"
fields = [{ name = "id", type = "text" }]
"#,
    );
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let rows = || vec![row(0, vec![text("a")])];
    assert_eq!(
        apply(store.as_ref(), &dataset, 1, rows()).await,
        counts(1, 0, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 3, rows()).await,
        counts(0, 0, 1, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 2, rows()).await,
        counts(0, 0, 0, 1)
    );
    database.drop_table(&dataset).await;
}

pub(crate) async fn concurrent_appliers_leave_the_greatest_version(database: &Database) {
    const KEYS: usize = 60;
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
            // Few texts, so that many newer rows have the values of older ones.
            let text = format!("text {}", random.random_range(0..3));
            for key in &keys {
                newest.insert(format!("key {key}"), note(&text, moment));
            }
            let rows = keys
                .iter()
                .map(|key| pair(&format!("key {key}"), &text))
                .collect();
            chunks.push((moment, latest_by_key(rows, &dataset).0.into()));
        }
        // Some come twice.
        let again: Vec<_> = chunks
            .iter()
            .filter(|(moment, _)| moment % 7 == 0)
            .cloned()
            .collect();
        chunks.extend(again);
        chunks.shuffle(&mut random);
        let rows: u64 = chunks.iter().map(|(_, rows)| rows.len() as u64).sum();

        let sum = apply_at_once(database, &dataset, 8, &chunks).await;
        assert_eq!(notes(&database.read(&dataset).await), newest, "seed {seed}");
        assert_eq!(sum.inserted, newest.len() as u64, "seed {seed}: {sum:?}");
        assert_eq!(sum.total(), rows, "seed {seed}: {sum:?}");
        database.drop_table(&dataset).await;
    }
}
