//! What destinations have of the keys of a dataset: one document per destination and key.

mod fold;
mod lease;
mod reader;
mod state;
mod sync;

use async_trait::async_trait;
use futures::stream::TryStreamExt;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, RowVersion};
use mongodb::bson::{Bson, Document, RawArrayBuf, doc};
use mongodb::{Collection, Database};

use super::Mongodb;
use super::command::update;
use super::document::binary_value;
use super::error::{STORE, contended, unavailable};
use super::registry::{Registration, Registry};
use crate::changes::{
    ChangeBackend, ChangeResult, DueChange, Lease, Selection, SyncStep, keys_of, milliseconds,
};
use crate::error::{Result, StoreError};
use crate::registry::Registered;
use crate::schema::Table;
use lease::bytes_of;
use state::{key_id, recorded};

/// The maximum number of changed documents that a lease looks at.
const FOLDED: i64 = 10_000;
/// Bytes of rows after which a lease ends before its limit.
const LEASED_BYTES: usize = 8 << 20;

/// Returns the entry of a dataset. Fails unless changes are recorded for the destination.
async fn tracked(database: &Database, name: &str, destination: &str) -> Result<Registration> {
    let registration = Registry::new(database, name).get().await?;
    let tracking = registration.registered()?.tracking;
    tracking.check(STORE, name, destination)?;
    Ok(registration)
}

impl Mongodb {
    fn keys(&self, name: &str) -> Collection<Document> {
        self.database.collection(&keys_of(name))
    }

    /// Deletes some documents of destinations that are gone, and returns their number.
    async fn delete_leaving(&self, name: &str, leaving: &[String]) -> Result<u64> {
        let keys = self.keys(name);
        let filter = doc! { "destination": { "$in": leaving } };
        let limit = i64::try_from(self.step_rows).unwrap_or(i64::MAX);
        let mut some = keys
            .find(filter)
            .projection(doc! { "_id": 1 })
            .limit(limit)
            .await?;
        let mut ids = Vec::new();
        while let Some(mut document) = some.try_next().await? {
            ids.extend(document.remove("_id"));
        }
        if ids.is_empty() {
            return Ok(0);
        }
        let deleted = keys.delete_many(doc! { "_id": { "$in": ids } }).await?;
        Ok(deleted.deleted_count)
    }
}

/// Returns the condition that a time has come. The server of the local stack (secantusd-rs 0.5.3-beta.193) finds no
/// equal ones with `$lte` in an index that goes on with another field.
fn until(now: i64) -> Document {
    doc! { "$lt": now + 1 }
}

/// Returns the condition that a time has not come.
fn after(now: i64) -> Document {
    doc! { "$gte": now + 1 }
}

fn unreadable() -> StoreError {
    unavailable("what is recorded about a key cannot be read")
}

#[async_trait]
impl ChangeBackend for Mongodb {
    async fn track(
        &self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
    ) -> Result<bool> {
        let name = &table.name;
        let registry = Registry::new(&self.database, name);
        let known = registry.get().await?;
        let mut tracking = known.registered()?.tracking;
        if tracking.is_for(destinations) {
            return Ok(true);
        }
        if !destinations.is_empty() {
            fold::create_indexes(&self.database, name).await?;
        }
        let before = tracking.clone();
        tracking.set(destinations);
        if tracking == before && !tracking.leaving.is_empty() {
            let mut deleted = self.delete_leaving(name, &tracking.leaving).await?;
            if deleted == 0 && !tracking.is_on() {
                let rows = i64::try_from(self.step_rows).unwrap_or(i64::MAX);
                deleted = fold::run(
                    &self.database,
                    dataset,
                    &[],
                    milliseconds(Timestamp::now()),
                    rows,
                )
                .await?;
            }
            if deleted > 0 {
                return Ok(false);
            }
            tracking.leaving.clear();
            tracking.set(destinations);
        }
        let is_done = tracking.leaving.is_empty();
        if !registry.set_tracking(&known, tracking).await? {
            return Err(contended("the registry entry has changed"));
        }
        Ok(is_done)
    }

    async fn tracked(&self) -> Result<Vec<(String, Registered)>> {
        Registry::tracked(&self.database).await
    }

    async fn lease(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        let name = &table.name;
        let registration = tracked(&self.database, name, destination).await?;
        let destinations = registration.registered()?.tracking.destinations;
        let now = milliseconds(lease.now);
        fold::run(&self.database, dataset, &destinations, now, FOLDED).await?;
        let claimed = self.claim(dataset, destination, lease, limit).await?;
        let ids: Vec<Bson> = claimed.iter().map(|state| state.key.clone()).collect();
        // The tombstones first: a delete writes its tombstone before it deletes the row.
        let tombstones = self.tombstones_of(name, &ids).await?;
        let mut rows = self.rows_of(dataset, &ids).await?;
        let (mut changes, mut gone, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for state in claimed {
            let id = key_id(&state.key)?;
            let tombstone = tombstones.get(&id).copied();
            let row = rows.remove(&id);
            let row = row.filter(|(version, _)| Some(*version) > tombstone);
            bytes += row.as_ref().map_or(0, |(_, row)| bytes_of(row));
            if bytes > LEASED_BYTES && !changes.is_empty() {
                left.push(state.id);
                continue;
            }
            if row.is_none() {
                gone.push(state.id.clone());
            }
            changes.push(state.leased(row, tombstone));
        }
        let keys = self.keys(name);
        if !gone.is_empty() {
            let mine = doc! { "_id": { "$in": gone }, "lease": lease.id.as_str() };
            keys.update_many(mine, doc! { "$set": { "gone": true } })
                .await?;
        }
        if !left.is_empty() {
            let mine = doc! { "_id": { "$in": left }, "lease": lease.id.as_str() };
            let release = doc! { "$set": { "lease": null, "due_at": now } };
            keys.update_many(mine, release).await?;
        }
        Ok(changes)
    }

    async fn record(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64> {
        let (mut updates, mut ids) = (RawArrayBuf::new(), Vec::new());
        for result in results {
            let id = state::id_of(destination, &result.key.values);
            updates.push(recorded(&id, lease, result)?);
            ids.push(id);
        }
        debug_assert_eq!(dataset.name, table.name, "the table is that of the dataset");
        let name = keys_of(&table.name);
        let held = update(&self.database, &name, updates).await?.all()?;
        let gone = doc! { "_id": { "$in": ids }, "gone": true, "state": "sent" };
        self.keys(&table.name).delete_many(gone).await?;
        Ok(held)
    }

    async fn redrive(
        &self,
        _: &Dataset,
        table: &Table,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64> {
        tracked(&self.database, &table.name, destination).await?;
        let (keys, now) = (self.keys(&table.name), milliseconds(now));
        let free = vec![doc! { "lease": null }, doc! { "due_at": until(now) }];
        let filters = match selection {
            Selection::Keys(keys) => {
                let ids = keys.iter().take(limit);
                let ids: Vec<String> = ids.map(|key| state::id_of(destination, key)).collect();
                vec![(doc! { "_id": { "$in": ids }, "$or": free }, 1)]
            }
            Selection::Matching { states, answer } => states
                .iter()
                .map(|state| matching(destination, *state, answer.as_deref(), now))
                .collect(),
        };
        let mut made_due = 0;
        for (filter, order) in filters {
            let left = i64::try_from(limit).unwrap_or(i64::MAX);
            let left = left.saturating_sub_unsigned(made_due);
            // No limit at all is 0.
            if left > 0 {
                made_due += make_due(&keys, filter, order, now, left).await?;
            }
        }
        Ok(made_due)
    }

    async fn sync_step(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        now: Timestamp,
        rows: u64,
    ) -> Result<SyncStep> {
        tracked(&self.database, &table.name, destination).await?;
        sync::step(
            &self.database,
            dataset,
            destination,
            milliseconds(now),
            rows,
        )
        .await
    }
}

/// Returns the filter of keys of a state that are not leased, and the order in which they are sent again: one that is
/// refused again comes last, so that a bounded number of them has each one once.
fn matching(
    destination: &str,
    state: ChangeState,
    answer: Option<&str>,
    now: i64,
) -> (Document, i32) {
    let mut filter = doc! { "destination": destination, "state": state.as_str() };
    let mut order = 1;
    if state == ChangeState::Waiting {
        filter.extend(doc! { "due_at": after(now), "lease": null });
        order = -1;
    }
    if let Some(answer) = answer {
        filter.insert("answer", doc! { "$regex": escaped(answer) });
    }
    (filter, order)
}

/// Makes some keys due, and returns their number.
async fn make_due(
    keys: &Collection<Document>,
    filter: Document,
    order: i32,
    now: i64,
    limit: i64,
) -> Result<u64> {
    let mut selected = keys
        .find(filter.clone())
        .sort(doc! { "due_at": order, "_id": order })
        .projection(doc! { "_id": 1 })
        .limit(limit)
        .await?;
    let mut ids = Vec::new();
    while let Some(mut document) = selected.try_next().await? {
        ids.extend(document.remove("_id"));
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let is_sent = doc! { "$eq": ["$state", "sent"] };
    let pipeline = vec![doc! { "$set": {
        "wanted_at": { "$cond": [is_sent, now, "$wanted_at"] },
        "state": "waiting",
        "due_at": now,
        "attempts": 0_i64,
        "holds": false,
    } }];
    let selected = doc! { "$and": [{ "_id": { "$in": ids } }, filter] };
    Ok(keys.update_many(selected, pipeline).await?.matched_count)
}

/// Returns the regular expression of a text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// Returns a version as a value of a pipeline.
fn literal(version: &RowVersion) -> Document {
    doc! { "$literal": binary_value(version.as_bytes()) }
}
