//! Rows that are identified by their place: the key of their object, and their offset in it.

use landfall_domain::{Dataset, Row, Value};

use crate::databases::Database;
use crate::reads::{by, query, walk};
use crate::rows::{counts, row, text};
use crate::worker::Worker;

/// The definition of rows that may be equal.
const NOTES: &str = r#"
key = "position"
fields = [{ name = "note", type = "text" }]
"#;

/// Returns the rows of an object, one every so many bytes.
fn rows_of(dataset: &Dataset, object: &str, bytes: u64, count: u64) -> Vec<Row> {
    let rows = (0..count).map(|number| row(number * bytes, vec![text("same")]));
    let mut rows: Vec<Row> = rows.collect();
    dataset.place(&mut rows, object);
    rows
}

pub(crate) async fn rows_are_identified_by_their_place(database: &Database) {
    let worker = Worker::of(database, NOTES).await;
    let dataset = &worker.dataset;
    let (one, other) = ("d/2026 (1).csv", "d/é,%/2.csv");
    let of_one = || rows_of(dataset, one, 10, 2_500);
    worker.applies(1, of_one(), counts(2_500, 0, 0, 0)).await;
    worker.applies(1, of_one(), counts(0, 0, 2_500, 0)).await;
    // The object is uploaded again.
    worker.applies(3, of_one(), counts(0, 0, 2_500, 0)).await;
    let of_other = rows_of(dataset, other, 10, 40);
    worker
        .applies(2, of_other.clone(), counts(40, 0, 0, 0))
        .await;
    // An older version of the object changes nothing, but has a row elsewhere.
    let older = rows_of(dataset, one, 15, 3);
    worker.applies(2, older, counts(1, 0, 0, 2)).await;
    let reader = database.reader().await;
    let [object, offset] = *dataset.key_indexes() else {
        panic!("the key has two fields");
    };
    let mut expected: Vec<Vec<Value>> = Vec::new();
    let mut offsets: Vec<i64> = (0..2_500).map(|number| number * 10).chain([15]).collect();
    offsets.sort_unstable();
    expected.extend(
        offsets
            .iter()
            .map(|at| vec![text("same"), text(one), Value::Integer(*at)]),
    );
    expected.extend(of_other.into_iter().map(|row| row.values.into_vec()));
    for sort in [None, Some(by(object, false))] {
        let found = walk(reader.as_ref(), dataset, query(sort, 1_000)).await;
        assert_eq!(found, expected, "{sort:?}");
    }
    for at in [0, 2_501, 2_540] {
        let key = [expected[at][object].clone(), expected[at][offset].clone()];
        let found = reader.row(dataset, &key).await.unwrap();
        assert_eq!(found.map(|row| row.values).as_ref(), Some(&expected[at]));
    }
    worker.drop_table().await;
}
