//! A caller of the port of changes, with a clock that the test moves.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{ChangeState, Dataset, Value};
use landfall_stores::{
    ChangeOutcome, ChangeReader, ChangeResult, ChangeStore, ChangeSummary, DueChange, Lease,
    ListedChange, Selection, StoreError, StoreOptions, SyncStep,
};

use crate::worker::Worker;

/// The number of rows of a step of a first synchronisation.
const STEP_ROWS: u64 = 20;
/// Seconds that a lease lasts.
const LEASE: i64 = 60;

pub(crate) struct Follower {
    pub(crate) store: Arc<dyn ChangeStore>,
    reader: Arc<dyn ChangeReader>,
    dataset: Dataset,
    pub(crate) now: Timestamp,
    name: String,
    leases: u32,
}

/// Returns the outcome of a change that was sent, with the id that a service gives to its key.
pub(crate) fn sent(change: &DueChange) -> ChangeOutcome {
    let id = match (
        &change.key.values[0],
        change.row.is_some() && change.sent.is_none(),
    ) {
        (Value::Text(id), true) => Some(format!("id of {}", id.as_str())),
        _ => None,
    };
    ChangeOutcome::Sent {
        exists: change.row.is_some(),
        id,
    }
}

/// Returns the notes of changes by id; none for a delete of a key that was sent. A store may know that the others are
/// not worth a change.
pub(crate) fn notes(changes: &[DueChange]) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| match value {
        Value::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    let note = |change: &DueChange| {
        let row = change.row.as_ref();
        (
            text(&change.key.values[0]),
            row.map(|row| text(&row.values[1])),
        )
    };
    let changes = changes.iter();
    let changes = changes.filter(|change| change.row.is_some() || change.sent.is_some());
    let mut notes: Vec<_> = changes.map(note).collect();
    notes.sort();
    notes
}

pub(crate) fn expected(notes: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    let owned = |(id, note): &(&str, Option<&str>)| ((*id).to_owned(), note.map(str::to_owned));
    notes.iter().map(owned).collect()
}

impl Follower {
    /// Returns a follower that tracks the worker's dataset for these destinations.
    pub(crate) async fn of(worker: &Worker<'_>, destinations: &[&str]) -> Self {
        let follower = Self::named(worker, "one").await;
        follower.track(destinations).await;
        follower
    }

    /// Returns a follower, like another process.
    pub(crate) async fn named(worker: &Worker<'_>, name: &str) -> Self {
        let options = StoreOptions {
            step_rows: STEP_ROWS,
            ..StoreOptions::default()
        };
        Self {
            store: worker.database.changes(options).await,
            reader: worker.database.change_reader().await,
            dataset: worker.dataset.clone(),
            // Ahead of the clock by which changes are recorded.
            now: Timestamp::now() + SignedDuration::from_hours(1),
            name: name.to_owned(),
            leases: 0,
        }
    }

    /// Returns what the store has registered of the dataset, if changes of it are recorded.
    pub(crate) async fn tracked(&self) -> Option<Dataset> {
        let mut tracked = self.store.tracked().await.unwrap().into_iter();
        tracked.find(|dataset| dataset.name == self.dataset.name)
    }

    pub(crate) async fn track(&self, destinations: &[&str]) {
        let destinations: Vec<String> =
            destinations.iter().map(|name| (*name).to_owned()).collect();
        self.store
            .track(&self.dataset, &destinations)
            .await
            .unwrap();
    }

    /// Returns the time so many seconds from now.
    pub(crate) fn after(&self, seconds: i64) -> Timestamp {
        self.now + SignedDuration::from_secs(seconds)
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now = self.after(seconds);
    }

    /// Lets all leases end.
    pub(crate) fn pass_lease(&mut self) {
        self.pass(LEASE);
    }

    fn next_lease(&mut self) -> Lease {
        self.leases += 1;
        Lease {
            id: format!("{}-{}", self.name, self.leases),
            now: self.now,
            until: self.after(LEASE),
        }
    }

    pub(crate) async fn try_lease(
        &mut self,
        destination: &str,
        limit: usize,
    ) -> Result<(Lease, Vec<DueChange>), StoreError> {
        let lease = self.next_lease();
        let due = self
            .store
            .lease(&self.dataset, destination, &lease, limit)
            .await?;
        Ok((lease, due))
    }

    pub(crate) async fn lease(
        &mut self,
        destination: &str,
        limit: usize,
    ) -> (Lease, Vec<DueChange>) {
        self.try_lease(destination, limit).await.unwrap()
    }

    pub(crate) async fn record(
        &self,
        destination: &str,
        lease: &Lease,
        changes: &[DueChange],
        outcome: &dyn Fn(&DueChange) -> ChangeOutcome,
    ) -> u64 {
        let results = changes.iter().map(|change| ChangeResult {
            key: change.key.clone(),
            version: change.version,
            outcome: outcome(change),
        });
        let results: Vec<_> = results.collect();
        let recorded = self
            .store
            .record(&self.dataset, destination, lease, &results);
        recorded.await.unwrap()
    }

    /// Leases what is due, and records it as sent.
    pub(crate) async fn drain(&mut self, destination: &str) -> Vec<DueChange> {
        let (lease, due) = self.lease(destination, 1_000).await;
        let recorded = self.record(destination, &lease, &due, &sent).await;
        assert_eq!(recorded, due.len() as u64);
        due
    }

    /// Does so until nothing is due.
    pub(crate) async fn drain_all(&mut self, destination: &str) -> Vec<DueChange> {
        let mut all = Vec::new();
        loop {
            let due = self.drain(destination).await;
            if due.is_empty() {
                return all;
            }
            all.extend(due);
        }
    }

    pub(crate) async fn summary(&self, destination: &str) -> ChangeSummary {
        let summary = self.reader.summary(&self.dataset, destination, self.now);
        summary.await.unwrap()
    }

    /// Returns all keys of a state, page by page.
    pub(crate) async fn list(&self, destination: &str, state: ChangeState) -> Vec<ListedChange> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .reader
                .list(&self.dataset, destination, state, after.as_deref(), 1);
            let page = page.await.unwrap();
            all.extend(page.changes);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn redrive(
        &self,
        destination: &str,
        selection: &Selection,
        limit: usize,
    ) -> u64 {
        let redriven = self
            .store
            .redrive(&self.dataset, destination, selection, self.now, limit);
        redriven.await.unwrap()
    }

    pub(crate) async fn sync_step(&self, destination: &str) -> SyncStep {
        let step = self
            .store
            .sync_step(&self.dataset, destination, self.now, STEP_ROWS);
        step.await.unwrap()
    }
}
