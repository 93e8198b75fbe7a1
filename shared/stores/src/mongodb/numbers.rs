//! Which numbers a parent's rows have, also deleted ones.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::stream::TryStreamExt;
use landfall_domain::{Dataset, Value};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};

use super::document::id_of_key;
use super::error::{STORE, from_read};
use crate::error::Result;
use crate::read::numbers::check;
use crate::registry::tombstones_of;
use crate::schema::Table;

/// Reads which of these numbers have a document or a tombstone.
///
/// Of a number whose document a delete replaces, or whose tombstone a row does, one is there at any time. So documents
/// are read before and after tombstones.
pub(super) async fn stored_numbers(
    database: &Database,
    timeout: Duration,
    dataset: &Dataset,
    parent: &[Value],
    numbers: RangeInclusive<i64>,
) -> Result<BTreeSet<i64>> {
    check(dataset, parent, &numbers)?;
    Table::new(dataset, STORE)?;
    let id = |number: i64| {
        let key: Vec<Value> = parent
            .iter()
            .cloned()
            .chain([Value::Integer(number)])
            .collect();
        let id = id_of_key(dataset, &key);
        id.as_str().map(|id| (id.to_owned(), number))
    };
    let mut missing: HashMap<String, i64> = numbers.filter_map(id).collect();
    let mut found = BTreeSet::new();
    let tombstones = tombstones_of(&dataset.name);
    for collection in [&dataset.name, &tombstones, &dataset.name] {
        if missing.is_empty() {
            break;
        }
        let ids: Vec<&String> = missing.keys().collect();
        let collection = database.collection::<Document>(collection);
        let documents = collection
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "_id": 1 })
            .max_time(timeout);
        let mut documents = documents.await.map_err(from_read)?;
        while let Some(document) = documents.try_next().await.map_err(from_read)? {
            let id = document.get("_id").and_then(Bson::as_str);
            found.extend(id.and_then(|id| missing.remove(id)));
        }
    }
    Ok(found)
}
