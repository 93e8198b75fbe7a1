//! A worker: it prepares a dataset in a database, and applies rows to it.

use std::panic::Location;
use std::sync::Arc;

use landfall_domain::{Dataset, Row, StoreCounts, Value, latest_by_key};
use landfall_stores::{Step, Store, StoreError};

use crate::client::Found;
use crate::databases::{Database, dataset, redefined};
use crate::rows::{Notes, notes, order};

pub(crate) struct Worker<'a> {
    pub(crate) database: &'a Database,
    pub(crate) dataset: Dataset,
    pub(crate) store: Arc<dyn Store>,
}

impl<'a> Worker<'a> {
    /// Returns a worker that has prepared a new dataset.
    pub(crate) async fn of(database: &'a Database, definition: &str) -> Self {
        Self::new(database, dataset(definition)).await
    }

    /// Returns a worker with its own store, like another process, that has prepared the dataset.
    pub(crate) async fn new(database: &'a Database, dataset: Dataset) -> Self {
        let store = database.store().await;
        Self::with_store(database, dataset, store).await
    }

    /// Returns another worker for the same dataset.
    pub(crate) async fn other(&self) -> Self {
        Self::new(self.database, self.dataset.clone()).await
    }

    /// Returns the same worker after it has prepared another definition of the dataset.
    pub(crate) async fn redefined(&self, definition: &str) -> Self {
        let dataset = redefined(&self.dataset, definition);
        Self::with_store(self.database, dataset, Arc::clone(&self.store)).await
    }

    /// Returns a worker with this store, that has prepared the dataset.
    pub(crate) async fn with_store(
        database: &'a Database,
        dataset: Dataset,
        store: Arc<dyn Store>,
    ) -> Self {
        store.prepare(&dataset).await.unwrap();
        Self {
            database,
            dataset,
            store,
        }
    }

    /// Applies rows of the object of this moment, in any order.
    pub(crate) async fn try_apply(
        &self,
        moment: i64,
        rows: Vec<Row>,
    ) -> Result<StoreCounts, StoreError> {
        let rows: Arc<Vec<Row>> = latest_by_key(rows, &self.dataset).0.into();
        let order = order(moment);
        let counts = self.store.apply(&self.dataset, &order, &rows).await?;
        assert_eq!(counts.total(), rows.len() as u64, "{counts:?}");
        Ok(counts)
    }

    pub(crate) async fn apply(&self, moment: i64, rows: Vec<Row>) -> StoreCounts {
        self.try_apply(moment, rows).await.unwrap()
    }

    /// Applies rows, and asserts the counts.
    #[track_caller]
    pub(crate) fn applies(
        &self,
        moment: i64,
        rows: Vec<Row>,
        expected: StoreCounts,
    ) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { assert_eq!(self.apply(moment, rows).await, expected, "{caller}") }
    }

    /// Returns the number of rows, and of those that a prune would delete.
    pub(crate) async fn preview_prune(&self, moment: i64) -> (u64, u64) {
        let order = order(moment);
        loop {
            let step = self.store.preview_prune(&self.dataset, &order).await;
            if let Step::Done(preview) = step.unwrap() {
                return (preview.rows, preview.deletes);
            }
        }
    }

    pub(crate) async fn prune(&self, moment: i64) -> u64 {
        let order = order(moment);
        loop {
            let step = self.store.prune(&self.dataset, &order).await;
            if let Step::Done(pruned) = step.unwrap() {
                return pruned;
            }
        }
    }

    /// Returns all rows, in the database's own order.
    pub(crate) async fn read(&self) -> Vec<Found> {
        self.database.read(&self.dataset).await
    }

    /// Returns the values of all rows, sorted by this field.
    pub(crate) async fn values_by(&self, field: usize) -> Vec<Vec<Value>> {
        let rows = self.read().await.into_iter();
        let mut rows: Vec<_> = rows.map(|found| found.values).collect();
        rows.sort_by(|one, other| one[field].cmp_key(&other[field]));
        rows
    }

    /// Returns the notes by id, with their versions.
    pub(crate) async fn notes(&self) -> Notes {
        notes(&self.read().await)
    }

    /// Removes what the test has created.
    pub(crate) async fn drop_table(&self) {
        self.database.drop_table(&self.dataset).await;
    }
}
