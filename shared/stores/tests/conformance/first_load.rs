//! Big chunks into a new table, which a store may write differently from later ones.

use std::ops::Range;

use landfall_domain::{Row, RowVersion, StoreCounts};
use sqlx::PgPool;

use crate::databases::Database;
use crate::rows::{Notes, PAIRS, counts, note, pair};
use crate::worker::Worker;

/// Returns rows with these keys.
fn rows(keys: Range<u32>, note: &str) -> Vec<Row> {
    keys.map(|key| pair(&format!("key {key:05}"), note))
        .collect()
}

/// Returns the notes that an object of this moment leaves for these keys.
fn notes_of(keys: Range<u32>, text: &str, moment: i64) -> Notes {
    keys.map(|key| (format!("key {key:05}"), note(text, moment)))
        .collect()
}

/// Applies chunks of these keys, of objects of these moments. Checks the counts of each, and the rows in the end.
async fn assert_chunks<const N: usize>(
    database: &Database,
    mut steps: [(i64, Range<u32>, StoreCounts); N],
) {
    let worker = Worker::of(database, PAIRS).await;
    for (moment, keys, expected) in steps.clone() {
        let rows = rows(keys, &format!("of {moment}"));
        worker.applies(moment, rows, expected).await;
    }
    steps.sort_by_key(|(moment, ..)| *moment);
    let newest = steps.into_iter().flat_map(|(moment, keys, _)| {
        let text = format!("of {moment}");
        notes_of(keys, &text, moment)
    });
    assert_eq!(worker.notes().await, newest.collect());
    worker.drop_table().await;
}

pub(crate) async fn new_and_known_keys_in_big_chunks(database: &Database) {
    let steps = [
        // All new; a few known, from before and after; all known; most known.
        (3, 0..3_000, counts(3_000, 0, 0, 0)),
        (4, 2_700..5_700, counts(2_700, 300, 0, 0)),
        (2, 5_500..8_500, counts(2_800, 0, 0, 200)),
        (2, 5_500..8_500, counts(0, 0, 2_800, 200)),
        (5, 6_000..9_000, counts(500, 2_500, 0, 0)),
        (6, 8_900..12_000, counts(3_000, 100, 0, 0)),
    ];
    assert_chunks(database, steps).await;
}

pub(crate) async fn small_chunks_between_big_ones(database: &Database) {
    let steps = [
        (2, 0..10, counts(10, 0, 0, 0)),
        (3, 5..4_000, counts(3_990, 5, 0, 0)),
        (4, 4_000..4_010, counts(10, 0, 0, 0)),
        (3, 4_005..8_000, counts(3_990, 0, 0, 5)),
        (5, 7_000..11_000, counts(3_000, 1_000, 0, 0)),
    ];
    assert_chunks(database, steps).await;
}

/// Keys that another program has inserted are refused by the primary key, and then merged.
pub(crate) async fn rows_of_another_program(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let insert = format!(
        "INSERT INTO {} (id, note, _version) VALUES ('key 00007', 'theirs', '\\x{}')",
        worker.dataset.name,
        "00".repeat(RowVersion::LEN)
    );
    database.execute(&insert).await;
    let rows = rows(0..3_000, "ours");
    worker.applies(1, rows, counts(2_999, 1, 0, 0)).await;
    assert_eq!(worker.notes().await, notes_of(0..3_000, "ours", 1));
    worker.drop_table().await;
}

/// Rows are copied straight into a table only while most keys are new.
pub(crate) async fn hashes_of_keys_are_kept_for_new_tables(database: &Database) {
    let Database::Postgres(url) = database else {
        panic!("hashes of keys are kept in PostgreSQL");
    };
    let pool = PgPool::connect(url).await.unwrap();
    let worker = Worker::of(database, PAIRS).await;
    let kept = async || -> Option<i64> {
        let sum = "SELECT sum(length(hashes) / 4) FROM _landfall_keys WHERE dataset = $1";
        let sum = sqlx::query_scalar(sum).bind(&worker.dataset.name);
        sum.fetch_one(&pool).await.unwrap()
    };
    assert_eq!(kept().await, Some(0));
    for (moment, keys, expected) in [
        (1, 0..3_000, Some(3_000)),
        (2, 2_000..5_000, Some(5_000)),
        (3, 0..5_000, None),
    ] {
        worker.apply(moment, rows(keys, "x")).await;
        assert_eq!(kept().await, expected);
    }
    // A table that someone drops is new again.
    worker.drop_table().await;
    worker.other().await;
    assert_eq!(kept().await, Some(0));
    worker.drop_table().await;
}
