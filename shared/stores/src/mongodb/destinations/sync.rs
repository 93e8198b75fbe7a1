//! The first synchronisation of a destination.

use futures::stream::TryStreamExt;
use landfall_domain::Dataset;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawBson, RawDocumentBuf, doc, rawdoc};
use mongodb::{Collection, Database};

use super::super::command::update;
use super::super::document::id_of;
use super::super::error::{STORE, contended};
use super::super::registry::Registry;
use super::super::walk::Range;
use super::state::{id_of as state_id, new, values_of, version_of};
use super::unreadable;
use crate::changes::{SyncStep, keys_of};
use crate::error::Result;
use crate::registry::unsigned;
use crate::schema::VERSION;

/// Marks the rows of the next range whose keys the destination has never had to do with.
pub(super) async fn step(
    database: &Database,
    dataset: &Dataset,
    destination: &str,
    now: i64,
    step_rows: u64,
) -> Result<SyncStep> {
    let name = &dataset.name;
    let registry = Registry::new(database, name);
    let (step, place, marked) = registry.sync(destination).await?;
    let rows = database.collection::<Document>(name);
    let range = Range::next(&rows, place, step_rows).await?;
    let found: Collection<RawDocumentBuf> = database.collection(name);
    let mut found = found
        .find(range.filter())
        .projection(doc! { VERSION: 1 })
        .await?;
    let mut updates = RawArrayBuf::new();
    while let Some(document) = found.try_next().await? {
        let Some(key) = id_of(&document) else {
            return Err(unreadable());
        };
        let key = RawBson::from(key);
        let Some(values) = values_of(
            dataset,
            &Bson::try_from(key.clone()).map_err(|_| unreadable())?,
        ) else {
            // A document of another program.
            continue;
        };
        let new = new(destination, key, &version_of(&document)?, now);
        let id = state_id(destination, &values);
        updates.push(rawdoc! { "q": { "_id": id }, "u": { "$setOnInsert": new }, "upsert": true });
    }
    let done = update(database, &keys_of(name), updates).await?;
    let added = done.upserted.len() as u64;
    done.all()?;
    let marked = marked + i64::try_from(added).unwrap_or_default();
    let field = format!("syncs.{destination}");
    let as_read = if step == 0 {
        doc! { &field: null }
    } else {
        doc! { format!("{field}.step"): step }
    };
    let is_done = range.last.is_none();
    let update = match range.last {
        None => doc! { "$unset": { field: "" } },
        Some(place) => {
            doc! { "$set": { field: { "step": step + 1, "place": place, "marked": marked } } }
        }
    };
    if !registry.update(as_read, update).await? {
        return Err(contended("another caller has marked the range"));
    }
    Ok(SyncStep {
        marked: unsigned(STORE, marked)?,
        is_done,
    })
}
