//! Datasets with a field whose value decides which row is newer.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, Row, StoreCounts, Value, latest_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset, redefined};
use crate::evolution::assert_refused;
use crate::rows::{Chunks, apply_at_once, counts, deletion, order, row, text};
use crate::worker::Worker;

const CHANGES: &str = r#"
key = ["id"]
order = "changed"
fields = [
    { name = "id", type = "text" },
    { name = "changed", type = "integer", required = true },
    { name = "note", type = "text" },
]
"#;

fn change(id: &str, changed: i64, note: &str) -> Row {
    row(0, vec![text(id), Value::Integer(changed), text(note)])
}

fn delete(id: &str, changed: i64) -> Row {
    deletion(vec![text(id), Value::Integer(changed), Value::Null])
}

fn deleted(deleted: u64, unchanged: u64, stale: u64) -> StoreCounts {
    StoreCounts {
        deleted,
        ..counts(0, 0, unchanged, stale)
    }
}

fn without_order(definition: &str) -> String {
    definition.replace("order =", "# order =")
}

/// Asserts the values and notes of all rows by id, and that their versions are those of the values.
async fn assert_changes(worker: &Worker<'_>, expected: &[(&str, i64, &str, i64)]) {
    let found = worker.read().await.into_iter();
    let found = found.map(|found| match found.values.as_slice() {
        [Value::Text(id), Value::Integer(changed), Value::Text(note)] => {
            (id.to_string(), (*changed, note.to_string(), found.version))
        }
        other => panic!("{other:?}"),
    });
    let expected = expected.iter().map(|(id, changed, note, moment)| {
        let versions = worker.dataset.versions(order(*moment));
        let version = versions.of(&change(id, *changed, note)).to_string();
        ((*id).to_owned(), (*changed, (*note).to_owned(), version))
    });
    let found: BTreeMap<_, _> = found.collect();
    assert_eq!(found, expected.collect());
}

pub(crate) async fn the_greatest_value_wins_in_any_order(database: &Database) {
    let worker = Worker::of(database, CHANGES).await;
    let rows = vec![
        change("a", -5, "x"),
        change("b", 7, "x"),
        change("c", 1, "x"),
    ];
    worker.applies(10, rows.clone(), counts(3, 0, 0, 0)).await;
    // A newer file with a less value for a, a greater one for b, and the same for c, where its time decides.
    let newer = vec![
        change("a", -6, "y"),
        change("b", 8, "y"),
        change("c", 1, "y"),
    ];
    worker.applies(20, newer.clone(), counts(0, 2, 0, 1)).await;
    // An older file with a greater value for a, and the same for b and c.
    let older = vec![
        change("a", 0, "z"),
        change("b", 8, "z"),
        change("c", 1, "z"),
    ];
    worker.applies(5, older, counts(0, 1, 0, 2)).await;
    let expected = [("a", 0, "z", 5), ("b", 8, "y", 20), ("c", 1, "y", 20)];
    assert_changes(&worker, &expected).await;
    // Redelivered.
    worker.applies(20, newer, counts(0, 0, 2, 1)).await;
    worker.applies(10, rows, counts(0, 0, 0, 3)).await;
    // Of a key's rows in one chunk, the one with the greatest value is applied, wherever it is.
    let later = |changed, offset| Row {
        offset,
        ..change("a", changed, "w")
    };
    let rows = vec![later(3, 10), later(2, 20), later(3, 5)];
    worker.applies(30, rows, counts(0, 1, 0, 0)).await;
    worker
        .applies(30, vec![later(3, 5)], counts(0, 0, 0, 1))
        .await;
    worker
        .applies(30, vec![later(3, 10)], counts(0, 0, 1, 0))
        .await;
    worker.drop_table().await;
}

pub(crate) async fn the_value_of_a_delete_counts(database: &Database) {
    let worker = Worker::of(database, CHANGES).await;
    let rows = vec![change("a", 5, "x"), change("b", 5, "x")];
    worker.applies(10, rows, counts(2, 0, 0, 0)).await;
    // a is older than the delete, b newer, and c absent.
    let deletes = || vec![delete("a", 6), delete("b", 4), delete("c", 6)];
    worker.applies(1, deletes(), deleted(1, 1, 1)).await;
    worker.applies(1, deletes(), deleted(0, 2, 1)).await;
    // Later files with older values, and with the delete's own value.
    let late = |changed| vec![change("a", changed, "y"), change("c", changed, "y")];
    worker.applies(20, late(5), counts(0, 0, 0, 2)).await;
    worker.applies(0, late(6), counts(0, 0, 0, 2)).await;
    assert_changes(&worker, &[("b", 5, "x", 10)]).await;
    worker.applies(20, late(6), counts(2, 0, 0, 0)).await;
    worker.applies(30, deletes(), deleted(2, 0, 1)).await;
    worker.applies(2, late(7), counts(2, 0, 0, 0)).await;
    let expected = [("a", 7, "y", 2), ("b", 5, "x", 10), ("c", 7, "y", 2)];
    assert_changes(&worker, &expected).await;
    worker.drop_table().await;
}

/// Every type that can decide, with values before and after 1970.
pub(crate) async fn times_decide_too(database: &Database) {
    for (kind, [old, new]) in [
        ("date", ["1969-12-31", "2026-11-20"]),
        (
            "timestamp",
            ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z"],
        ),
        (
            "timestamp",
            ["2026-11-20T08:00:00.000001Z", "2026-11-20T08:00:00.000002Z"],
        ),
    ] {
        let definition = CHANGES.replace("\"integer\"", &format!("\"{kind}\""));
        let worker = Worker::of(database, &definition).await;
        let field = &worker.dataset.fields[1];
        let rows = |value: &str, note| {
            let value = field.parse(value).unwrap();
            vec![row(0, vec![text("a"), value, text(note)])]
        };
        worker
            .applies(1, rows(new, "new"), counts(1, 0, 0, 0))
            .await;
        worker
            .applies(2, rows(old, "old"), counts(0, 0, 0, 1))
            .await;
        assert_eq!(worker.values_by(0).await[0][2], text("new"), "{kind}");
        worker.drop_table().await;
    }
}

pub(crate) async fn an_order_for_existing_rows(database: &Database) {
    let plain = Worker::of(database, &without_order(CHANGES)).await;
    let ids = ["a", "b", "c", "d"];
    let all = |changed, note| ids.map(|id| change(id, changed, note)).to_vec();
    plain
        .applies(100, all(50, "plain"), counts(4, 0, 0, 0))
        .await;
    let deletes = vec![delete("d", 50), delete("e", 50)];
    plain.applies(101, deletes, deleted(1, 1, 0)).await;
    let ordered = plain.redefined(CHANGES).await;
    // In a file that is older, with less values: newer than all that was there before.
    let rows = vec![
        change("a", -1, "ordered"),
        change("b", 2, "ordered"),
        change("d", -1, "ordered"),
    ];
    ordered.applies(10, rows, counts(1, 2, 0, 0)).await;
    ordered
        .applies(9, vec![delete("e", -1)], deleted(0, 1, 0))
        .await;
    let late = vec![change("b", 1, "late"), change("e", -2, "late")];
    ordered.applies(200, late, counts(0, 0, 0, 2)).await;
    let kept = ordered.read().await;
    let kept = kept.iter().find(|found| found.values[0] == text("c"));
    let version = order(100).at(0).to_string();
    assert_eq!(kept.map(|found| &found.version), Some(&version));
    ordered
        .applies(11, vec![change("c", -1, "ordered")], counts(0, 1, 0, 0))
        .await;
    let expected = ["a", "b", "c", "d"].map(|id| match id {
        "b" => (id, 2, "ordered", 10),
        "c" => (id, -1, "ordered", 11),
        _ => (id, -1, "ordered", 10),
    });
    assert_changes(&ordered, &expected).await;
    ordered.drop_table().await;
}

pub(crate) async fn an_order_after_snapshots(database: &Database) {
    let snapshot = format!("mode = \"snapshot\"\n{}", without_order(CHANGES));
    let plain = Worker::of(database, &snapshot).await;
    plain.apply(100, vec![change("a", 1, "x")]).await;
    assert_eq!(plain.prune(100).await, 0);
    plain
        .applies(50, vec![change("b", 1, "x")], counts(0, 0, 0, 1))
        .await;
    // What an older snapshot lacks says nothing about rows whose values decide.
    let ordered = plain.redefined(CHANGES).await;
    ordered
        .applies(50, vec![change("b", 1, "x")], counts(1, 0, 0, 0))
        .await;
    ordered
        .applies(60, vec![delete("a", 1)], deleted(1, 0, 0))
        .await;
    assert_changes(&ordered, &[("b", 1, "x", 50)]).await;
    ordered.drop_table().await;
}

pub(crate) async fn an_order_stays(database: &Database) {
    let plain = dataset(&without_order(CHANGES));
    let ordered = redefined(&plain, CHANGES);
    let worker = Worker::new(database, ordered.clone()).await;
    worker.apply(1, vec![change("a", 5, "x")]).await;
    let missing = [
        "order is missing in the dataset and changed in the table",
        "keep order = \"changed\"",
    ];
    assert_refused(database, &plain, &missing).await;
    let other = CHANGES
        .replace("order = \"changed\"", "order = \"seen\"")
        .replace(
            "{ name = \"note\"",
            "{ name = \"seen\", type = \"date\", required = true }, { name = \"note\"",
        );
    let other = redefined(&plain, &other);
    assert_refused(
        database,
        &other,
        &["order is seen in the dataset and changed"],
    )
    .await;
    // All or nothing is created.
    worker
        .applies(2, vec![change("a", 4, "y")], counts(0, 0, 0, 1))
        .await;
    assert_changes(&worker, &[("a", 5, "x", 1)]).await;
    // A table that was dropped is another one.
    worker.drop_table().await;
    let plain = Worker::new(database, plain).await;
    plain
        .applies(1, vec![change("a", 5, "x")], counts(1, 0, 0, 0))
        .await;
    plain.drop_table().await;
}

/// Returns chunks of overlapping objects, some of them twice, and what they leave of each key.
fn random_changes(
    dataset: &Dataset,
    keys: usize,
    deletes: f64,
    random: &mut StdRng,
) -> (Chunks, BTreeMap<String, Row>) {
    let mut chunks = Chunks::new();
    let mut newest = BTreeMap::<String, (i64, i64, Row)>::new();
    // A big chunk has at least 2,000 rows.
    let objects = if keys < 1_000 { 40 } else { 10 };
    for moment in 1..=objects {
        let mut rows = Vec::new();
        for key in 0..keys {
            if random.random_bool(0.4) {
                continue;
            }
            let (id, changed) = (format!("key {key}"), random.random_range(-9..9));
            let row = if random.random_bool(deletes) {
                delete(&id, changed)
            } else {
                change(&id, changed, &format!("text {}", random.random_range(0..3)))
            };
            rows.push(row.clone());
            let known = newest.get(&id);
            if known.is_none_or(|(known, at, _)| (*known, *at) < (changed, moment)) {
                newest.insert(id, (changed, moment, row));
            }
        }
        chunks.push((moment, latest_by_key(rows, dataset).0.into()));
    }
    let again = chunks.iter().filter(|(moment, _)| moment % 5 == 0);
    chunks.extend(again.cloned().collect::<Vec<_>>());
    chunks.shuffle(random);
    let newest = newest.into_iter();
    let newest = newest.filter(|(_, (_, _, row))| !row.deleted);
    (chunks, newest.map(|(id, (_, _, row))| (id, row)).collect())
}

pub(crate) async fn concurrent_changes_leave_the_greatest_value(database: &Database) {
    // Few keys with deletes; and big chunks without, which stores write in other ways.
    for (seed, (keys, deletes)) in [(40, 0.3), (4_000, 0.0)].into_iter().enumerate() {
        let dataset = dataset(CHANGES);
        let random = &mut StdRng::seed_from_u64(seed as u64);
        let (mut chunks, newest) = random_changes(&dataset, keys, deletes, random);
        for appliers in [6, 2] {
            apply_at_once(database, &dataset, appliers, &chunks).await;
            let found = database.read(&dataset).await.into_iter();
            let found: BTreeMap<_, _> = found
                .map(|found| (found.values[0].to_text().unwrap().to_string(), found.values))
                .collect();
            let expected = newest.iter();
            let expected = expected.map(|(id, row)| (id.clone(), row.values.to_vec()));
            assert_eq!(
                found,
                expected.collect(),
                "{keys} keys, {appliers} appliers"
            );
            chunks.shuffle(random);
        }
        database.drop_table(&dataset).await;
    }
}
