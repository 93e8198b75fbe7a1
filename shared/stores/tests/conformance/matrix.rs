//! Every shape of key, in chunks on both sides of every size at which a store changes its method.

use std::sync::Arc;

use landfall_domain::{Dataset, FieldType, Row, StoreCounts, Value};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::databases::{Database, dataset};
use crate::generated::{KEY_TYPES, Rows, assert_rows, key_of, key_texts, keys_of};
use crate::goods::compare_rows;
use crate::random::{Repeat, seed};
use crate::reads::{query, walk};
use crate::rows::{counts, order, row, text};
use crate::worker::Worker;

/// `PostgreSQL` looks up 32 keys to estimate the others, and inserts up to 64 rows without `COPY`; `MySQL` sends
/// 1,024 rows in a statement; `MongoDB` sends 2,000 in a batch; lanes start at 2,000 rows.
const SIZES: [u64; 12] = [
    1, 2, 31, 33, 64, 65, 1_024, 1_025, 1_999, 2_000, 2_001, 10_000,
];

/// Types of the fields of a key.
type Shape = Vec<FieldType>;

/// Returns one field of each type, every ordered pair of types, and keys of three and of seven fields.
fn shapes() -> Vec<Shape> {
    let ones = KEY_TYPES.map(|kind| vec![kind]);
    let pairs = KEY_TYPES
        .iter()
        .flat_map(|one| KEY_TYPES.map(|other| vec![*one, other]));
    let turned = |fields: usize| {
        (0..KEY_TYPES.len()).map(move |first| {
            let kinds = KEY_TYPES.iter().cycle().skip(first);
            kinds.take(fields).copied().collect()
        })
    };
    let all = ones
        .into_iter()
        .chain(pairs)
        .chain(turned(3))
        .chain(turned(7));
    all.chain([vec![FieldType::Boolean; 3]]).collect()
}

/// Returns shapes with sizes: all of them if `LANDFALL_MATRIX` is `all`, else a random one of each size.
fn cells(seed: u64) -> Vec<(Shape, u64)> {
    let mut shapes = shapes();
    if std::env::var("LANDFALL_MATRIX").is_ok_and(|value| value == "all") {
        let with_sizes = |shape: &Shape| SIZES.map(|size| (shape.clone(), size));
        return shapes.iter().flat_map(with_sizes).collect();
    }
    let mut random = StdRng::seed_from_u64(seed);
    shapes.shuffle(&mut random);
    shapes.into_iter().zip(SIZES).collect()
}

pub(crate) async fn matrix_of_keys_and_sizes(database: &Database) {
    let seed = seed();
    let repeat = Repeat(seed);
    let store = database.store().await;
    for (shape, size) in cells(seed) {
        let dataset = dataset_of_shape(&shape);
        let worker = Worker::with_store(database, dataset, Arc::clone(&store)).await;
        load(&worker, &shape, size).await;
    }
    drop(repeat);
}

/// Returns a dataset whose key has these types. Its fields are in another order than its key.
fn dataset_of_shape(shape: &[FieldType]) -> Dataset {
    let key: Vec<_> = (0..shape.len())
        .map(|field| format!("\"k{field}\""))
        .collect();
    let fields: Vec<_> = (0..shape.len())
        .rev()
        .map(|field| {
            format!(
                "{{ name = \"k{field}\", type = \"{}\" }}",
                shape[field].as_str()
            )
        })
        .collect();
    let (key, fields) = (key.join(", "), fields.join(", "));
    let note = "{ name = \"note\", type = \"text\" }";
    dataset(&format!("key = [{key}]\nfields = [{note}, {fields}]\n"))
}

fn numbered(shape: &[FieldType], number: u64, note: &str) -> Row {
    let key = key_of(shape, number).into_iter().rev();
    row(0, std::iter::once(text(note)).chain(key).collect())
}

/// Loads a new table, then the same again, all of it changed, half of it new, and a late object. Compares each time.
async fn load(worker: &Worker<'_>, shape: &[FieldType], size: u64) {
    let keys = keys_of(shape).unwrap_or(u64::MAX);
    let size = size.min(keys);
    let half = size / 2;
    let new = half.min(keys - size);
    let dataset = &worker.dataset;
    let mut expected = Rows::new();
    let steps: [(i64, &str, u64, u64, StoreCounts); 6] = [
        (2, "first", 0, size, counts(size, 0, 0, 0)),
        (2, "first", 0, size, counts(0, 0, size, 0)),
        (3, "first", 0, size, counts(0, 0, size, 0)),
        (4, "changed", 0, size, counts(0, size, 0, 0)),
        (
            5,
            "half new",
            half,
            size + new,
            counts(new, size - half, 0, 0),
        ),
        (1, "late", 0, size, counts(0, 0, 0, size)),
    ];
    for (moment, note, from, to, counted) in steps {
        let after = format!("{shape:?}, {size} rows, {note} of {moment}");
        let rows: Vec<Row> = (from..to).map(|key| numbered(shape, key, note)).collect();
        if moment > 1 {
            let version = order(moment).at(0).to_string();
            expected.extend(rows.iter().map(|row| {
                let values = row.values.to_vec();
                let key = key_texts(dataset, &values);
                (key, (values, None, version.clone()))
            }));
        }
        assert_eq!(worker.apply(moment, rows).await, counted, "{after}");
        assert_rows(worker.database, dataset, &expected, &after).await;
    }
    assert_pages(worker.database, dataset, shape, expected).await;
    worker.drop_table().await;
}

/// Asserts that pages have the rows in the order of their keys, and that a key finds its row.
async fn assert_pages(database: &Database, dataset: &Dataset, shape: &[FieldType], rows: Rows) {
    let reader = database.reader().await;
    let mut expected: Vec<Vec<Value>> = rows.into_values().map(|(values, ..)| values).collect();
    for values in expected.iter().step_by(expected.len().div_ceil(5)) {
        let key = dataset.key_indexes().iter();
        let key: Vec<Value> = key.map(|index| values[*index].clone()).collect();
        let found = reader.row(dataset, &key).await.unwrap();
        assert_eq!(
            found.map(|row| row.values).as_ref(),
            Some(values),
            "{shape:?}"
        );
    }
    let mut found = walk(reader.as_ref(), dataset, query(None, 1_000)).await;
    // In SQLite, decimals of a key are text and sort as such.
    if database.is_sqlite() && shape.contains(&FieldType::Decimal) {
        found.sort_by(|one, other| compare_rows(dataset, None, one, other));
    }
    expected.sort_by(|one, other| compare_rows(dataset, None, one, other));
    assert_eq!(found.len(), expected.len(), "{shape:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{shape:?}");
    }
}
