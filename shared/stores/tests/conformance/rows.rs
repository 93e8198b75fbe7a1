//! Rows of the tests, and how they are applied.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use landfall_domain::{Dataset, JobId, ObjectOrder, Row, StoreCounts, Value, latest_by_key};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use crate::client::Found;
use crate::databases::Database;

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
    ObjectOrder::new(moment, "", JobId::for_object("inbox", "k", "1")).unwrap()
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
        parts: None,
    }
}

/// Returns a row of this first value, and of these texts for the other fields.
pub(crate) fn parsed(dataset: &Dataset, first: Value, texts: &[&str]) -> Row {
    let rest = dataset.fields[1..].iter().zip(texts);
    let rest = rest.map(|(field, text)| field.parse(text).unwrap());
    row(0, std::iter::once(first).chain(rest).collect())
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

pub(crate) fn deleted_pair(id: &str) -> Row {
    deletion(vec![text(id), Value::Null])
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

/// Polls a call so many times. Returns none if it has not ended by then: its process has died.
pub(crate) async fn dies_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| {
        if let Poll::Ready(result) = call.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        let Some(less) = left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        left = less;
        Poll::Pending
    })
    .await
}

/// Notes by id, with their versions.
pub(crate) type Notes = BTreeMap<String, (String, String)>;

pub(crate) fn notes(found: &[Found]) -> Notes {
    let note = |found: &Found| match found.values.as_slice() {
        [Value::Text(id), Value::Text(note)] => {
            (id.to_string(), (note.to_string(), found.version.clone()))
        }
        other => panic!("{other:?}"),
    };
    found.iter().map(note).collect()
}

pub(crate) fn note(text: &str, moment: i64) -> (String, String) {
    (text.to_owned(), order(moment).at(0).to_string())
}

/// Chunks by moment. A worker applies its chunks in this order.
pub(crate) type Chunks = Vec<(i64, Arc<Vec<Row>>)>;

/// Returns chunks in random order, some of them twice, and the notes that they leave. This share of the rows deletes
/// keys.
pub(crate) fn random_chunks(
    dataset: &Dataset,
    deletes: f64,
    random: &mut StdRng,
) -> (Chunks, Notes) {
    const KEYS: usize = 40;
    const CHUNKS: i64 = 96;
    let mut newest = Notes::new();
    let mut chunks = Chunks::new();
    for moment in 1..=CHUNKS {
        let mut keys: Vec<usize> = (0..KEYS).collect();
        keys.shuffle(random);
        keys.truncate(random.random_range(1..KEYS));
        let rows = keys.into_iter().map(|key| {
            let id = format!("key {key}");
            // Few texts, so that many newer rows have the values of older ones.
            let text = format!("text {}", random.random_range(0..3));
            if random.random_bool(deletes) {
                newest.remove(&id);
                return deleted_pair(&id);
            }
            let row = pair(&id, &text);
            newest.insert(id, note(&text, moment));
            row
        });
        chunks.push((moment, latest_by_key(rows.collect(), dataset).0.into()));
    }
    let again = chunks.iter().filter(|(moment, _)| moment % 5 == 0);
    chunks.extend(again.cloned().collect::<Vec<_>>());
    chunks.shuffle(random);
    (chunks, newest)
}

/// Applies chunks by so many concurrent workers, each with its own store. Returns the sum of their counts.
pub(crate) async fn apply_at_once(
    database: &Database,
    dataset: &Dataset,
    appliers: usize,
    chunks: &Chunks,
) -> StoreCounts {
    let mut running = JoinSet::new();
    for applier in 0..appliers {
        let chunks = chunks.iter().skip(applier).step_by(appliers);
        let chunks: Chunks = chunks.cloned().collect();
        let (store, dataset) = (database.store().await, dataset.clone());
        running.spawn(async move {
            store.prepare(&dataset).await.unwrap();
            let mut sum = StoreCounts::default();
            for (moment, rows) in chunks {
                let counts = store.apply(&dataset, &order(moment), &rows).await.unwrap();
                assert_eq!(counts.total(), rows.len() as u64);
                sum += counts;
            }
            sum
        });
    }
    let mut sum = StoreCounts::default();
    for counts in running.join_all().await {
        sum += counts;
    }
    sum
}
