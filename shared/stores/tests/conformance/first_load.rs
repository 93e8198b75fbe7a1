//! Big chunks into a new table, which a store may write differently from later ones.

use std::collections::BTreeMap;
use std::ops::Range;

use landfall_domain::{Dataset, Row, RowVersion, StoreCounts};
use landfall_stores::Store;
use sqlx::PgPool;

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, apply, counts, note, notes, pair};

/// Returns rows with these keys.
fn rows(keys: Range<u32>, note: &str) -> Vec<Row> {
    keys.map(|key| pair(&format!("key {key:05}"), note))
        .collect()
}

/// Returns the notes that an object of this moment leaves for these keys.
fn notes_of(keys: Range<u32>, text: &str, moment: i64) -> BTreeMap<String, (String, Vec<u8>)> {
    keys.map(|key| (format!("key {key:05}"), note(text, moment)))
        .collect()
}

/// Applies chunks of these keys, of objects of these moments, and checks the counts of each.
async fn apply_chunks(
    store: &dyn Store,
    dataset: &Dataset,
    steps: impl IntoIterator<Item = (i64, Range<u32>, StoreCounts)>,
) {
    for (moment, keys, expected) in steps {
        let text = format!("of {moment}");
        let found = apply(store, dataset, moment, rows(keys.clone(), &text)).await;
        assert_eq!(found, expected, "{keys:?} of {moment}");
    }
}

pub(crate) async fn new_and_known_keys_in_big_chunks(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let steps = [
        // All new; a few known, from before and after; all known; most known.
        (3, 0..3_000, counts(3_000, 0, 0, 0)),
        (4, 2_700..5_700, counts(2_700, 300, 0, 0)),
        (2, 5_500..8_500, counts(2_800, 0, 0, 200)),
        (2, 5_500..8_500, counts(0, 0, 2_800, 200)),
        (5, 6_000..9_000, counts(500, 2_500, 0, 0)),
        (6, 8_900..12_000, counts(3_000, 100, 0, 0)),
    ];
    apply_chunks(store.as_ref(), &dataset, steps).await;
    let mut expected = notes_of(5_500..8_500, "of 2", 2);
    expected.extend(notes_of(0..3_000, "of 3", 3));
    expected.extend(notes_of(2_700..5_700, "of 4", 4));
    expected.extend(notes_of(6_000..9_000, "of 5", 5));
    expected.extend(notes_of(8_900..12_000, "of 6", 6));
    assert_eq!(notes(&database.read(&dataset).await), expected);
    database.drop_table(&dataset).await;
}

pub(crate) async fn small_chunks_between_big_ones(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let steps = [
        (2, 0..10, counts(10, 0, 0, 0)),
        (3, 5..4_000, counts(3_990, 5, 0, 0)),
        (4, 4_000..4_010, counts(10, 0, 0, 0)),
        (3, 4_005..8_000, counts(3_990, 0, 0, 5)),
        (5, 7_000..11_000, counts(3_000, 1_000, 0, 0)),
    ];
    apply_chunks(store.as_ref(), &dataset, steps).await;
    let mut expected = notes_of(0..10, "of 2", 2);
    expected.extend(notes_of(5..8_000, "of 3", 3));
    expected.extend(notes_of(4_000..4_010, "of 4", 4));
    expected.extend(notes_of(7_000..11_000, "of 5", 5));
    assert_eq!(notes(&database.read(&dataset).await), expected);
    database.drop_table(&dataset).await;
}

/// Keys with a common prefix, unlike earlier ones, from two workers at once.
pub(crate) async fn keys_that_begin_alike(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let steps = [(1, 0..3_000, counts(3_000, 0, 0, 0))];
    apply_chunks(store.as_ref(), &dataset, steps).await;

    let key = |number| format!("key 00007, {number:05}");
    let alike = |note| (0..10_000).map(|number| pair(&key(number), note)).collect();
    let other = database.store().await;
    let (one, two) = tokio::join!(
        apply(store.as_ref(), &dataset, 2, alike("of 2")),
        apply(other.as_ref(), &dataset, 3, alike("of 3")),
    );
    assert_eq!(one.inserted + two.inserted, 10_000, "{one:?}, {two:?}");
    assert_eq!(one.stale + two.updated, 10_000, "{one:?}, {two:?}");

    let mut expected = notes_of(0..3_000, "of 1", 1);
    expected.extend((0..10_000).map(|number| (key(number), note("of 3", 3))));
    assert_eq!(notes(&database.read(&dataset).await), expected);
    database.drop_table(&dataset).await;
}

/// Keys that another program has inserted are refused by the primary key, and then merged.
pub(crate) async fn rows_of_another_program(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let oldest = "00".repeat(RowVersion::LEN);
    database
        .execute(&format!(
            "INSERT INTO {} (id, note, _version) VALUES ('key 00007', 'theirs', '\\x{oldest}')",
            dataset.name
        ))
        .await;
    let found = apply(store.as_ref(), &dataset, 1, rows(0..3_000, "ours")).await;
    assert_eq!(found, counts(2_999, 1, 0, 0));
    assert_eq!(
        notes(&database.read(&dataset).await),
        notes_of(0..3_000, "ours", 1)
    );
    database.drop_table(&dataset).await;
}

/// Rows are copied straight into a table only while most keys are new.
pub(crate) async fn hashes_of_keys_are_kept_for_new_tables(database: &Database) {
    let Database::Postgres(url) = database else {
        panic!("hashes of keys are kept in PostgreSQL");
    };
    let pool = PgPool::connect(url).await.unwrap();
    let dataset = dataset(PAIRS);
    let kept = async || -> Option<i64> {
        let sum = "SELECT sum(length(hashes) / 4) FROM _landfall_keys WHERE dataset = $1";
        let sum = sqlx::query_scalar(sum).bind(&dataset.name);
        sum.fetch_one(&pool).await.unwrap()
    };
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    assert_eq!(kept().await, Some(0));
    let store = store.as_ref();
    apply(store, &dataset, 1, rows(0..3_000, "first")).await;
    assert_eq!(kept().await, Some(3_000));
    apply(store, &dataset, 2, rows(2_000..5_000, "second")).await;
    assert_eq!(kept().await, Some(5_000));
    apply(store, &dataset, 3, rows(0..5_000, "third")).await;
    assert_eq!(kept().await, None);
    // A table that someone drops is new again.
    database.drop_table(&dataset).await;
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    assert_eq!(kept().await, Some(0));
    database.drop_table(&dataset).await;
}
