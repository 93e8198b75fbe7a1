//! The greatest version of each key stays, in any order of delivery.

use landfall_domain::{Row, Value};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, apply_at_once, counts, note, notes, pair, random_chunks, row, text};
use crate::worker::Worker;

pub(crate) async fn redelivery_changes_nothing(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let rows = vec![pair("a", "1"), pair("b", "1"), pair("c", "1")];
    worker.applies(5, rows.clone(), counts(3, 0, 0, 0)).await;
    let before = worker.notes().await;
    worker.applies(5, rows, counts(0, 0, 3, 0)).await;
    // A part of it, as a crash leaves it.
    let some = vec![pair("0", "1"), pair("b", "1"), pair("d", "1")];
    worker.applies(5, some, counts(2, 0, 1, 0)).await;
    let after = worker.notes().await;
    assert!(before.iter().all(|(id, note)| after.get(id) == Some(note)));
    worker.applies(5, Vec::new(), counts(0, 0, 0, 0)).await;
    worker.drop_table().await;
}

pub(crate) async fn a_newer_row_wins_in_any_order(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let both = |one, other, note| vec![pair(one, note), pair(other, note)];
    worker
        .applies(20, both("a", "b", "20"), counts(2, 0, 0, 0))
        .await;
    worker
        .applies(10, both("a", "c", "10"), counts(1, 0, 0, 1))
        .await;
    let mut mixed = both("b", "c", "15");
    mixed.extend([pair("a", "20"), pair("d", "15")]);
    worker.applies(15, mixed, counts(1, 1, 0, 2)).await;
    // In one object, the later record is newer.
    let later = Row {
        offset: 7,
        ..pair("d", "later")
    };
    worker.applies(15, vec![later], counts(0, 1, 0, 0)).await;
    let earlier = vec![pair("d", "earlier")];
    worker.applies(15, earlier, counts(0, 0, 0, 1)).await;
    let found = worker.notes().await;
    assert_eq!(found["a"], note("20", 20));
    assert_eq!(found["b"], note("20", 20));
    assert_eq!(found["c"], note("15", 15));
    assert_eq!(found["d"].0, "later");
    worker.drop_table().await;
}

pub(crate) async fn an_unchanged_row_still_advances(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let row = |note| vec![pair("a", note)];
    worker.applies(1, row("x"), counts(1, 0, 0, 0)).await;
    worker.applies(3, row("x"), counts(0, 0, 1, 0)).await;
    // Between the two: the row of moment 3 says "x", and stays.
    worker.applies(2, row("y"), counts(0, 0, 0, 1)).await;
    assert_eq!(worker.notes().await["a"], note("x", 3));
    worker.drop_table().await;
}

pub(crate) async fn a_space_at_the_end_is_a_change(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let rows = vec![pair("a", "x"), pair("b", "x"), pair("c", "é")];
    worker.apply(1, rows).await;
    let changed = vec![pair("a", "x "), pair("b", "X"), pair("c", "e\u{301}")];
    worker.applies(2, changed, counts(0, 3, 0, 0)).await;
    let empty = vec![row(0, vec![text("a"), Value::Null])];
    worker.applies(3, empty, counts(0, 1, 0, 0)).await;
    worker
        .applies(4, vec![pair("a", "")], counts(0, 1, 0, 0))
        .await;
    assert_eq!(worker.notes().await["b"], note("X", 2));
    worker.drop_table().await;
}

pub(crate) async fn a_dataset_of_keys_alone(database: &Database) {
    let definition = r#"
key = ["id"]
unknown_columns = "drop"
fields = [{ name = "id", type = "text" }]
"#;
    let worker = Worker::of(database, definition).await;
    let rows = || vec![row(0, vec![text("a")])];
    worker.applies(1, rows(), counts(1, 0, 0, 0)).await;
    worker.applies(3, rows(), counts(0, 0, 1, 0)).await;
    worker.applies(2, rows(), counts(0, 0, 0, 1)).await;
    worker.drop_table().await;
}

pub(crate) async fn concurrent_appliers_leave_the_greatest_version(database: &Database) {
    for seed in 0..3 {
        let dataset = dataset(PAIRS);
        let mut random = StdRng::seed_from_u64(seed);
        let (chunks, newest) = random_chunks(&dataset, 0.0, &mut random);
        let rows: u64 = chunks.iter().map(|(_, rows)| rows.len() as u64).sum();
        let sum = apply_at_once(database, &dataset, 8, &chunks).await;
        assert_eq!(notes(&database.read(&dataset).await), newest, "seed {seed}");
        assert_eq!(sum.inserted, newest.len() as u64, "seed {seed}: {sum:?}");
        assert_eq!(sum.total(), rows, "seed {seed}: {sum:?}");
        database.drop_table(&dataset).await;
    }
}
