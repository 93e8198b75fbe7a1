//! Collections of releases that made a document of a key of several fields; only for `MongoDB`.

use landfall_domain::Value;
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use crate::databases::{Database, collections};
use crate::evolution::assert_refused;
use crate::rows::{counts, deletion, row, text};
use crate::worker::Worker;

const READINGS: &str = r#"
key = ["sensor", "number"]
fields = [
    { name = "sensor", type = "text" },
    { name = "number", type = "integer" },
    { name = "celsius", type = "float" },
]
"#;

async fn collections_of(worker: &Worker<'_>) -> [Collection<Document>; 3] {
    let Database::Mongodb(uri) = worker.database else {
        panic!("only MongoDB has documents");
    };
    collections(uri, &worker.dataset).await
}

fn values(celsius: f64) -> Vec<Value> {
    vec![text("a"), Value::Integer(7), Value::Float(celsius)]
}

/// Such a collection is refused with advice and stays unchanged. No key ever has two documents.
pub(crate) async fn documents_as_keys_are_refused(database: &Database) {
    let worker = Worker::of(database, READINGS).await;
    let [rows, tombstones, registry] = collections_of(&worker).await;
    let name = &worker.dataset.name;
    // As the earlier release left them.
    let own = doc! { "_id": name };
    let rename = doc! { "$rename": { "text_key_definition": "definition" } };
    registry.update_one(own.clone(), rename).await.unwrap();
    let id = doc! { "sensor": "a", "number": 7_i64 };
    let old = doc! { "_id": id, "sensor": "a", "number": 7_i64, "celsius": 1.5 };
    for collection in [&rows, &tombstones] {
        collection.insert_one(&old).await.unwrap();
        let advice = [name, "rename or drop", "upload the files again"];
        assert_refused(database, &worker.dataset, &advice).await;
        let found = collection.find_one(doc! {}).await.unwrap();
        assert_eq!(found.as_ref(), Some(&old));
        collection.delete_many(doc! {}).await.unwrap();
    }
    // Without them the collection is used.
    let other = worker.other().await;
    let registered = registry.find_one(own).await.unwrap().unwrap();
    assert!(
        !registered.contains_key("definition"),
        "an earlier release would go on"
    );
    let rows = vec![row(0, values(2.5))];
    other.applies(1, rows, counts(1, 0, 0, 0)).await;
    worker.drop_table().await;
}

/// A collection whose key has several fields has readable ids that can be searched.
pub(crate) async fn a_key_of_several_fields_is_a_text(database: &Database) {
    let worker = Worker::of(database, READINGS).await;
    let [rows, tombstones, _] = collections_of(&worker).await;
    worker.apply(1, vec![row(0, values(2.5))]).await;
    let found = rows.find_one(doc! { "_id": "a\tA7" }).await;
    let found = found.unwrap().unwrap();
    let key = doc! { "sensor": "a", "number": 7_i64 };
    assert_eq!(found.get_document("_key").unwrap(), &key);
    assert_eq!(found.get_str("sensor").unwrap(), "a");
    let mut gone = values(2.5);
    gone[2] = Value::Null;
    worker.apply(2, vec![deletion(gone)]).await;
    assert_eq!(rows.find_one(doc! {}).await.unwrap(), None);
    let tombstone = tombstones.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(tombstone.get_str("_id").unwrap(), "a\tA7");
    worker.drop_table().await;
}
