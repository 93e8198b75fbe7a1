//! Rows of the tests, and how they are applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_domain::{Dataset, JobId, ObjectOrder, Row, StoreCounts, Value, latest_by_key};
use landfall_stores::Store;

use crate::databases::{Database, Found};

/// Two texts, one of them the key.
pub(crate) const PAIRS: &str = r#"
key = ["id"]
fields = [{ name = "id", type = "text" }, { name = "note", type = "text" }]
"#;

/// Every type.
pub(crate) const TYPES: &str = r#"
key = ["id"]
fields = [
    { name = "id", type = "integer" },
    { name = "text", type = "text" },
    { name = "integer", type = "integer" },
    { name = "decimal", type = "decimal" },
    { name = "float", type = "float" },
    { name = "boolean", type = "boolean" },
    { name = "date", type = "date" },
    { name = "timestamp", type = "timestamp" },
    { name = "json", type = "json" },
]
"#;

/// Returns the order of the object of this moment.
pub(crate) fn order(moment: i64) -> ObjectOrder {
    ObjectOrder::new(moment, "", JobId::of("inbox", "k", "1")).unwrap()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn row(offset: u64, values: Vec<Value>) -> Row {
    Row {
        offset,
        deleted: false,
        values: values.into(),
        extra: None,
    }
}

/// Returns a row that deletes its key: the values of the key, and nulls.
pub(crate) fn deletion(values: Vec<Value>) -> Row {
    Row {
        deleted: true,
        ..row(0, values)
    }
}

pub(crate) fn pair(id: &str, note: &str) -> Row {
    row(0, vec![text(id), text(note)])
}

pub(crate) fn counts(inserted: u64, updated: u64, unchanged: u64, stale: u64) -> StoreCounts {
    StoreCounts {
        inserted,
        updated,
        unchanged,
        stale,
        ..StoreCounts::default()
    }
}

/// Applies rows of the object of this moment, in any order.
pub(crate) async fn apply(
    store: &dyn Store,
    dataset: &Dataset,
    moment: i64,
    rows: Vec<Row>,
) -> StoreCounts {
    let (rows, _) = latest_by_key(rows, dataset);
    let rows: Arc<Vec<Row>> = rows.into();
    let counts = store.apply(dataset, &order(moment), &rows).await.unwrap();
    assert_eq!(counts.total(), rows.len() as u64, "{counts:?}");
    counts
}

/// Returns the notes by id, with the moments of their versions.
pub(crate) fn notes(found: &[Found]) -> BTreeMap<String, (String, Vec<u8>)> {
    let note = |found: &Found| match found.values.as_slice() {
        [Value::Text(id), Value::Text(note)] => {
            (id.to_string(), (note.to_string(), found.version.clone()))
        }
        other => panic!("{other:?}"),
    };
    found.iter().map(note).collect()
}

pub(crate) fn note(text: &str, moment: i64) -> (String, Vec<u8>) {
    (text.to_owned(), order(moment).at(0).as_bytes().to_vec())
}

/// Chunks by moment. A worker applies its chunks in this order.
pub(crate) type Chunks = Vec<(i64, Arc<Vec<Row>>)>;

/// Applies chunks by so many concurrent workers, each with its own store. Returns the sum of their counts.
pub(crate) async fn apply_at_once(
    database: &Database,
    dataset: &Dataset,
    appliers: usize,
    chunks: &Chunks,
) -> StoreCounts {
    let mut running = Vec::new();
    for applier in 0..appliers {
        let chunks: Chunks = chunks
            .iter()
            .skip(applier)
            .step_by(appliers)
            .cloned()
            .collect();
        let (store, dataset) = (database.store().await, dataset.clone());
        running.push(tokio::spawn(async move {
            store.prepare(&dataset).await.unwrap();
            let mut sum = StoreCounts::default();
            for (moment, rows) in chunks {
                let counts = store.apply(&dataset, &order(moment), &rows).await.unwrap();
                assert_eq!(counts.total(), rows.len() as u64);
                sum += counts;
            }
            sum
        }));
    }
    let mut sum = StoreCounts::default();
    for task in running {
        sum += task.await.unwrap();
    }
    sum
}
