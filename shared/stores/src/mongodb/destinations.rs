//! What destinations have of the keys of a dataset: one document per destination and key.

mod fold;
mod lease;
mod state;
mod sync;

use async_trait::async_trait;
use futures::stream::TryStreamExt;
use jiff::Timestamp;
use landfall_domain::{Dataset, RowVersion};
use mongodb::Collection;
use mongodb::bson::{Bson, Document, RawArrayBuf, doc};

use super::Mongodb;
use super::command::update;
use super::document::{CHANGED, binary_value};
use super::error::{STORE, contended, unavailable};
use super::registry::{Registration, Registry};
use crate::changes::{
    ChangeBackend, ChangePage, ChangeResult, ChangeState, ChangeSummary, DueChange, Lease,
    MAX_COUNTED_ENTRIES, Selection, keys_of, milliseconds, timestamp,
};
use crate::error::{Result, StoreError};
use crate::registry::tombstones_of;
use crate::schema::Table;
use crate::walk::Step;
use lease::bytes_of;
use state::{State, key_id, recorded};

/// The maximum number of changed documents that a lease looks at.
const FOLDED: i64 = 10_000;
/// Bytes of rows after which a lease ends before its limit.
const LEASED_BYTES: usize = 8 << 20;

impl Mongodb {
    fn keys(&self, name: &str) -> Collection<Document> {
        self.database.collection(&keys_of(name))
    }

    /// Returns the entry of a dataset. Fails unless changes are recorded for the destination.
    async fn registration(&self, name: &str, destination: &str) -> Result<Registration> {
        let registration = Registry::new(&self.database, name).get().await?;
        let tracking = registration.registered()?.tracking;
        if tracking
            .destinations
            .iter()
            .any(|known| known == destination)
        {
            return Ok(registration);
        }
        Err(StoreError::Untracked {
            store: STORE,
            dataset: name.to_owned(),
            destination: destination.to_owned(),
        })
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

    async fn lease(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        let name = &table.name;
        let registration = self.registration(name, destination).await?;
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

    async fn summary(
        &self,
        _: &Dataset,
        table: &Table,
        destination: &str,
        now: Timestamp,
    ) -> Result<ChangeSummary> {
        let name = &table.name;
        self.registration(name, destination).await?;
        let (keys, now) = (self.keys(name), milliseconds(now));
        let count = async |more: Document| {
            let mut filter = doc! { "destination": destination };
            filter.extend(more);
            Ok::<u64, StoreError>(keys.count_documents(filter).await?)
        };
        let waiting = || doc! { "state": "waiting" };
        let mut due = waiting();
        due.insert("due_at", until(now));
        let mut leased = waiting();
        leased.insert("due_at", after(now));
        leased.insert("lease", doc! { "$ne": null });
        let mut summary = ChangeSummary {
            waiting: count(waiting()).await?,
            due: count(due).await?,
            leased: count(leased).await?,
            set_aside: count(doc! { "state": "set_aside" }).await?,
            unknown: count(doc! { "state": "unknown" }).await?,
            ..ChangeSummary::default()
        };
        let mut oldest = keys
            .find_one(doc! { "destination": destination, "state": "waiting" })
            .sort(doc! { "wanted_at": 1 })
            .await?
            .and_then(|oldest| oldest.get_i64("wanted_at").ok());
        for collection in [name.clone(), tombstones_of(name)] {
            let changed: Collection<Document> = self.database.collection(&collection);
            let filter = doc! { CHANGED: { "$gt": 0 } };
            let counted = changed
                .count_documents(filter.clone())
                .limit(MAX_COUNTED_ENTRIES);
            summary.recorded += counted.await?;
            let first = changed.find_one(filter).sort(doc! { CHANGED: 1 }).await?;
            let first = first.and_then(|first| first.get_i64(CHANGED).ok());
            oldest = [oldest, first].into_iter().flatten().min();
        }
        summary.recorded = summary.recorded.min(MAX_COUNTED_ENTRIES);
        summary.oldest_wanted_at = oldest.map(|oldest| timestamp(STORE, oldest)).transpose()?;
        Ok(summary)
    }

    async fn list(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage> {
        self.registration(&table.name, destination).await?;
        let mut filter = doc! { "destination": destination, "state": state.as_str() };
        if let Some(after) = after {
            let place = after.split_once(' ');
            let place = place.and_then(|(due, id)| Some((due.parse::<i64>().ok()?, id)));
            let (due_at, id) = place.ok_or(landfall_domain::QueryError::Cursor)?;
            let beyond = vec![
                doc! { "due_at": { "$gt": due_at } },
                doc! { "due_at": due_at, "_id": { "$gt": id } },
            ];
            filter.insert("$or", beyond);
        }
        let mut found = self
            .keys(&table.name)
            .find(filter)
            .sort(doc! { "due_at": 1, "_id": 1 })
            .limit(i64::try_from(limit + 1).unwrap_or(i64::MAX))
            .await?;
        let (mut page, mut last) = (ChangePage::default(), None);
        while let Some(document) = found.try_next().await? {
            if page.changes.len() == limit {
                page.next = last;
                break;
            }
            let state = State::read(dataset, &document)?;
            last = Some(format!(
                "{} {}",
                milliseconds(state.listed.due_at),
                state.id
            ));
            page.changes.push(state.listed);
        }
        Ok(page)
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
        self.registration(&table.name, destination).await?;
        let (keys, now) = (self.keys(&table.name), milliseconds(now));
        let free = vec![doc! { "lease": null }, doc! { "due_at": until(now) }];
        let filter = match selection {
            Selection::Keys(keys) => {
                let ids = keys.iter().take(limit);
                let ids: Vec<String> = ids.map(|key| state::id_of(destination, key)).collect();
                doc! { "_id": { "$in": ids }, "$or": free }
            }
            Selection::State(ChangeState::Waiting) => doc! {
                "destination": destination,
                "state": "waiting",
                "due_at": after(now),
                "lease": null,
            },
            Selection::State(state) => {
                doc! { "destination": destination, "state": state.as_str() }
            }
            Selection::All => doc! {
                "destination": destination,
                "state": { "$in": ["set_aside", "unknown"] },
            },
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let selected = keys.find(filter.clone()).projection(doc! { "_id": 1 });
        let mut selected = selected.limit(limit).await?;
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
        let made_due = doc! { "$and": [{ "_id": { "$in": ids } }, filter] };
        Ok(keys.update_many(made_due, pipeline).await?.matched_count)
    }

    async fn sync_step(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        now: Timestamp,
    ) -> Result<Step<u64>> {
        self.registration(&table.name, destination).await?;
        sync::step(
            &self.database,
            dataset,
            destination,
            milliseconds(now),
            self.step_rows,
        )
        .await
    }
}

/// Returns a version as a value of a pipeline.
fn literal(version: &RowVersion) -> Document {
    doc! { "$literal": binary_value(version.as_bytes()) }
}
