//! Collections of releases that made a document of a key of several fields; only for `MongoDB`.

use landfall_domain::{Dataset, Value};
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use crate::databases::{Database, collection, dataset};
use crate::rows::{apply, counts, deletion, row, text};

const READINGS: &str = r#"
key = ["sensor", "number"]
fields = [
    { name = "sensor", type = "text" },
    { name = "number", type = "integer" },
    { name = "celsius", type = "float" },
]
"#;

async fn collections(database: &Database, dataset: &Dataset) -> [Collection<Document>; 3] {
    let Database::Mongodb(uri) = database else {
        panic!("only MongoDB has documents");
    };
    let rows = collection(uri, dataset).await;
    let there = rows.client().database(&rows.namespace().db);
    let tombstones = there.collection(&format!("_deleted_{}", dataset.name));
    let registry = there.collection("_landfall");
    [rows, tombstones, registry]
}

fn values(celsius: f64) -> Vec<Value> {
    vec![text("a"), Value::Integer(7), Value::Float(celsius)]
}

/// Such a collection is refused with advice and stays unchanged. No key ever has two documents.
pub(crate) async fn documents_as_keys_are_refused(database: &Database) {
    let dataset = dataset(READINGS);
    let [rows, tombstones, registry] = collections(database, &dataset).await;
    database.store().await.prepare(&dataset).await.unwrap();
    // As the earlier release left them.
    let own = doc! { "_id": &dataset.name };
    let rename = doc! { "$rename": { "text_key_definition": "definition" } };
    registry.update_one(own.clone(), rename).await.unwrap();
    let id = doc! { "sensor": "a", "number": 7_i64 };
    let old = doc! { "_id": id, "sensor": "a", "number": 7_i64, "celsius": 1.5 };
    for collection in [&rows, &tombstones] {
        collection.insert_one(&old).await.unwrap();
        let error = database.store().await.prepare(&dataset).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        for word in [&dataset.name, "rename or drop", "upload the files again"] {
            assert!(error.to_string().contains(word), "{error}");
        }
        let there = collection.find_one(doc! {}).await.unwrap();
        assert_eq!(there.as_ref(), Some(&old));
        collection.delete_many(doc! {}).await.unwrap();
    }
    // Without them the collection is used.
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let registered = registry.find_one(own).await.unwrap().unwrap();
    assert!(
        !registered.contains_key("definition"),
        "an earlier release would go on"
    );
    let inserted = apply(store.as_ref(), &dataset, 1, vec![row(0, values(2.5))]).await;
    assert_eq!(inserted, counts(1, 0, 0, 0));
    database.drop_table(&dataset).await;
}

/// A collection whose key has several fields has readable ids that can be searched.
pub(crate) async fn a_key_of_several_fields_is_a_text(database: &Database) {
    let dataset = dataset(READINGS);
    let [rows, tombstones, _] = collections(database, &dataset).await;
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    apply(store.as_ref(), &dataset, 1, vec![row(0, values(2.5))]).await;
    let found = rows
        .find_one(doc! { "_id": "a\tA7" })
        .await
        .unwrap()
        .unwrap();
    let key = doc! { "sensor": "a", "number": 7_i64 };
    assert_eq!(found.get_document("_key").unwrap(), &key);
    assert_eq!(found.get_str("sensor").unwrap(), "a");
    let mut gone = values(2.5);
    gone[2] = Value::Null;
    apply(store.as_ref(), &dataset, 2, vec![deletion(gone)]).await;
    assert_eq!(rows.find_one(doc! {}).await.unwrap(), None);
    let tombstone = tombstones.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(tombstone.get_str("_id").unwrap(), "a\tA7");
    database.drop_table(&dataset).await;
}
