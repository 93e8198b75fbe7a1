//! Reads what is recorded.

use async_trait::async_trait;
use futures::stream::TryStreamExt;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, QueryError};
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::super::ReadMongodb;
use super::super::document::CHANGED;
use super::super::error::{STORE, from_read};
use super::super::registry::Registry;
use super::state::State;
use super::{after as later, until};
use crate::changes::{
    ChangePage, ChangeReader, ChangeSummary, MAX_COUNTED_ENTRIES, Tracking, check_name, keys_of,
    milliseconds, timestamp,
};
use crate::error::Result;
use crate::registry::tombstones_of;
use crate::retry::with_timeout;

impl ReadMongodb {
    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Fails unless changes are recorded for the destination.
    async fn check(&self, name: &str, destination: &str) -> Result<()> {
        check_name(destination)?;
        let found = Registry::new(&self.database, name).find().await?;
        let tracking = match found {
            Some(found) => found.registered()?.tracking,
            None => Tracking::default(),
        };
        tracking.check(STORE, name, destination)
    }

    async fn read_summary(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
    ) -> Result<ChangeSummary> {
        let name = &dataset.name;
        self.check(name, destination).await?;
        let (keys, now) = (self.collection(&keys_of(name)), milliseconds(now));
        let max_time = self.options.timeout;
        let count = async |more: Document| {
            let mut filter = doc! { "destination": destination };
            filter.extend(more);
            let counted = keys.count_documents(filter).max_time(max_time).await;
            counted.map_err(from_read)
        };
        let waiting = || doc! { "state": "waiting" };
        let mut due = waiting();
        due.insert("due_at", until(now));
        let mut leased = waiting();
        leased.insert("due_at", later(now));
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
            .max_time(max_time)
            .await
            .map_err(from_read)?
            .and_then(|oldest| oldest.get_i64("wanted_at").ok());
        for collection in [name.clone(), tombstones_of(name)] {
            let changed = self.collection(&collection);
            let filter = doc! { CHANGED: { "$gt": 0 } };
            let counted = changed
                .count_documents(filter.clone())
                .limit(MAX_COUNTED_ENTRIES)
                .max_time(max_time);
            summary.recorded += counted.await.map_err(from_read)?;
            let first = changed.find_one(filter).sort(doc! { CHANGED: 1 });
            let first = first.max_time(max_time).await.map_err(from_read)?;
            let first = first.and_then(|first| first.get_i64(CHANGED).ok());
            oldest = [oldest, first].into_iter().flatten().min();
        }
        summary.recorded = summary.recorded.min(MAX_COUNTED_ENTRIES);
        summary.oldest_wanted_at = oldest.map(|oldest| timestamp(STORE, oldest)).transpose()?;
        Ok(summary)
    }

    async fn read_list(
        &self,
        dataset: &Dataset,
        destination: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage> {
        self.check(&dataset.name, destination).await?;
        let mut filter = doc! { "destination": destination, "state": state.as_str() };
        if let Some(after) = after {
            let place = after.split_once(' ');
            let place = place.and_then(|(due, id)| Some((due.parse::<i64>().ok()?, id)));
            let (due_at, id) = place.ok_or(QueryError::Cursor)?;
            let beyond = vec![
                doc! { "due_at": { "$gt": due_at } },
                doc! { "due_at": due_at, "_id": { "$gt": id } },
            ];
            filter.insert("$or", beyond);
        }
        let mut found = self
            .collection(&keys_of(&dataset.name))
            .find(filter)
            .sort(doc! { "due_at": 1, "_id": 1 })
            .limit(i64::try_from(limit + 1).unwrap_or(i64::MAX))
            .max_time(self.options.timeout)
            .await
            .map_err(from_read)?;
        let (mut page, mut last) = (ChangePage::default(), None);
        while let Some(document) = found.try_next().await.map_err(from_read)? {
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
}

#[async_trait]
impl ChangeReader for ReadMongodb {
    async fn summary(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
    ) -> Result<ChangeSummary> {
        let summary = self.read_summary(dataset, destination, now);
        with_timeout(STORE, self.options.call_timeout(), summary).await
    }

    async fn list(
        &self,
        dataset: &Dataset,
        destination: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage> {
        let page = self.read_list(dataset, destination, state, after, limit);
        with_timeout(STORE, self.options.call_timeout(), page).await
    }
}
