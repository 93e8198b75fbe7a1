//! The trait of a store, and what all its implementations share: time limits, retries and prepared tables.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{
    Dataset, ObjectOrder, PrunePreview, Row, RowVersion, RowVersions, StoreCounts, StoreKind,
    is_name,
};

use crate::changes::Followed;
use crate::error::{Result, SEARCH_CHANGED, StoreError};
use crate::maintenance::{Current, Maintenance, Prepared};
pub use crate::options::StoreOptions;
use crate::registry::Registered;
use crate::retry::{with_retries, with_timeout};
use crate::schema::{Table, search_of};
use crate::search::{can_search, with_words};
use crate::walk::Step;

/// A database that rows are written to.
#[async_trait]
pub trait Store: Send + Sync {
    /// Returns the kind of database.
    fn kind(&self) -> StoreKind;

    /// Creates the dataset's table or collection, and its columns, where they are missing.
    ///
    /// Drops and changes nothing. Safe beside other workers, and free the second time for the same
    /// definition. Fails with [`StoreError::Schema`] if a table of that name has another key or other types.
    ///
    /// Creates no index on a table that is no longer small, see [`Store::maintain`].
    async fn prepare(&self, dataset: &Dataset) -> Result<Prepared, StoreError>;

    /// Takes a step to create what [`Store::prepare`] has left out. Writers go on meanwhile where the database allows
    /// it. A step may take as long as the database needs for an index; if the caller stops waiting, the server may
    /// complete it all the same. What is created is reported to `current` before it begins.
    async fn maintain(
        &self,
        dataset: &Dataset,
        current: &Current,
    ) -> Result<Maintenance, StoreError>;

    /// Applies rows of one object, after [`Store::prepare`].
    ///
    /// `rows` are sorted by key, and each key occurs once, as `Folded::of_chunk` returns them. The versions of the
    /// rows are `dataset.versions(*order)`. `SQLite` applies all of them or none. The others may have applied some
    /// when they return an error; applying all of them again completes the chunk.
    ///
    /// The counts add up to `rows.len()`:
    /// - inserted: the key was absent;
    /// - updated: an older version with other values was there;
    /// - unchanged: this very version was there, or an older one with the same values (which then
    ///   gets this version), or the row deletes a key that was absent;
    /// - stale: a newer version was there and stays, or a newer row deleted the key;
    /// - deleted: an older version was there, and the row deletes its key. Older rows of the key that come
    ///   later are stale.
    ///
    /// If rows are merged by column, a row is updated if any column gets another value, and a row is stale if nothing
    /// of it is newer.
    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError>;

    /// Returns whether destinations follow the rows of a dataset, as the latest [`Store::apply`] or [`Store::prune`] of
    /// this process has found. Runs no query. Only the store of [`connect_changes`](crate::connect_changes) has
    /// datasets that are followed.
    fn is_followed(&self, dataset: &str) -> bool;

    /// Takes a step to count the rows of the table, and those that [`Store::prune`] would delete. Changes no row.
    ///
    /// What is counted stays so until the prune begins. It is not exact if rows change between two steps.
    async fn preview_prune(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
    ) -> Result<Step<PrunePreview>, StoreError>;

    /// Takes a step to delete the rows that a snapshot of this order lacks: every row that is older than all of the
    /// snapshot. From the first step on, rows of older objects that come later are stale.
    ///
    /// Is done with the number of deleted rows, and with the same number when it is repeated. Call it once all rows of
    /// the snapshot are applied.
    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<Step<u64>, StoreError>;

    /// Returns the first dataset after this one, by name, that may have tombstones for [`Store::sweep`]. `MongoDB`
    /// returns none, as it deletes expired tombstones by itself.
    async fn next_to_sweep(&self, after: Option<&str>) -> Result<Option<String>, StoreError>;

    /// Takes a step to delete the tombstones of a dataset that have expired. Returns how many it has deleted: 0 once
    /// there are none.
    async fn sweep(&self, dataset: &str) -> Result<u64, StoreError>;

    /// Rebuilds the tables of totals that the dataset defines from its rows. Returns the name and number of groups
    /// of each. Only SQL stores have totals.
    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>, StoreError>;
}

/// Rows of one object on their way into a table, at least one.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a Table,
    pub(crate) versions: RowVersions,
    pub(crate) rows: &'a Arc<Vec<Row>>,
}

/// What each database implements. [`BoundedStore`] makes a [`Store`] of it.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    const KIND: StoreKind;

    /// Returns the datasets that destinations follow, which writes note.
    fn followed(&self) -> &Followed;

    /// Creates what is missing. Called again after [`StoreError::Contended`].
    async fn prepare(&self, dataset: &Dataset, table: &Table) -> Result<Prepared>;

    /// Returns whether the table is being maintained, for which writers may have to wait.
    async fn is_maintained(&self, _: &Table) -> Result<bool> {
        Ok(false)
    }

    /// Creates one thing that `prepare` has left out.
    async fn maintain(
        &self,
        dataset: &Dataset,
        table: &Table,
        current: &Current,
    ) -> Result<Maintenance>;

    /// Returns the searched fields of a registered dataset, whose words every row has.
    async fn searched(&self, _dataset: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Applies rows. Retries by itself, as it may write them in parts.
    async fn apply(&self, load: Load<'_>) -> Result<StoreCounts>;

    /// Counts the rows of a range, and those below a version. Called again after [`StoreError::Contended`].
    async fn preview_prune(&self, table: &Table, floor: RowVersion) -> Result<Step<PrunePreview>>;

    /// Deletes the rows of a range below a version. Called again after [`StoreError::Contended`].
    async fn prune(&self, table: &Table, floor: RowVersion) -> Result<Step<u64>>;

    /// Returns the first registered dataset after this one that may have tombstones.
    async fn next_to_sweep(&self, _after: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Deletes some expired tombstones. Called again after [`StoreError::Contended`].
    async fn sweep(&self, _dataset: &str) -> Result<u64> {
        Ok(0)
    }

    /// Rebuilds totals. Called again after [`StoreError::Contended`].
    async fn rebuild_totals(&self, dataset: &Dataset, table: &Table) -> Result<Vec<(String, u64)>>;
}

/// A store whose calls end in time. It remembers which tables are prepared.
pub(crate) struct BoundedStore<B> {
    backend: B,
    timeout: Duration,
    owner: Option<String>,
    prepared: Mutex<HashMap<String, (Table, Prepared)>>,
    /// The registered searched fields of datasets for which these are not those of the definition.
    searched: Mutex<HashMap<String, Vec<String>>>,
}

impl<B: Backend> BoundedStore<B> {
    pub(crate) fn new(backend: B, options: StoreOptions, owner: Option<&str>) -> Self {
        Self {
            backend,
            timeout: options.timeout,
            owner: owner.map(str::to_owned),
            prepared: Mutex::default(),
            searched: Mutex::default(),
        }
    }

    async fn with_timeout<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        with_timeout(B::KIND, self.timeout, work).await
    }

    /// Returns the result of a call that failed because its table is being maintained as such.
    async fn explained<T>(&self, table: &Table, result: Result<T>) -> Result<T> {
        let Err(StoreError::Contended { reason, .. } | StoreError::Unavailable { reason, .. }) =
            &result
        else {
            return result;
        };
        let is_maintained = self.with_timeout(self.backend.is_maintained(table)).await;
        if is_maintained.is_ok_and(|is_maintained| is_maintained) {
            let (store, reason) = (B::KIND, reason.clone());
            return Err(StoreError::Maintained { store, reason });
        }
        result
    }

    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    /// Repeats a call while others interfere, within the time limit.
    pub(crate) async fn call<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.with_timeout(with_retries(attempt)).await
    }

    /// Returns the table of a dataset, which this stack owns.
    pub(crate) fn table(&self, dataset: &Dataset) -> Result<Table> {
        let mut table = Table::new(dataset, B::KIND)?;
        table.owner.clone_from(&self.owner);
        if can_search(B::KIND) {
            table = table.with_search(dataset, &search_of(dataset));
        }
        Ok(table)
    }

    /// Returns the fields of a dataset whose words rows have, if the registry has not changed since it was read.
    fn searched(&self, dataset: &Dataset) -> Vec<String> {
        match lock(&self.searched).get(&dataset.name) {
            Some(search) => search.clone(),
            None if can_search(B::KIND) => search_of(dataset),
            None => Vec::new(),
        }
    }

    /// Reads the fields of a dataset whose words rows have.
    async fn read_searched(&self, dataset: &str) -> Result<Vec<String>> {
        let search = self.with_timeout(self.backend.searched(dataset)).await?;
        lock(&self.searched).insert(dataset.to_owned(), search.clone());
        Ok(search)
    }

    /// Applies rows with the words of these fields.
    async fn apply_with(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
        search: &[String],
    ) -> Result<StoreCounts> {
        let table = Table::new(dataset, B::KIND)?.with_search(dataset, search);
        let words = (!search.is_empty()).then(|| Arc::new(with_words(dataset, search, rows)));
        let load = Load {
            dataset,
            table: &table,
            versions: dataset.versions(*order),
            rows: words.as_ref().unwrap_or(rows),
        };
        let applied = self.with_timeout(self.backend.apply(load)).await;
        if applied.as_ref().is_err_and(is_search_changed) {
            return applied;
        }
        self.explained(&table, applied)
            .await
            .inspect_err(|_| self.forget(&table))
    }

    /// Returns whether this stack owns a dataset.
    pub(crate) fn owns(&self, name: &str, registered: &Registered) -> bool {
        let owner = self.owner.as_deref();
        registered.check_owner(owner, name, B::KIND).is_ok()
    }

    /// Makes the next `prepare` look at the table again.
    fn forget(&self, table: &Table) {
        lock(&self.prepared).remove(&table.name);
    }
}

fn is_search_changed(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { reason, .. } if reason == SEARCH_CHANGED)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl<B: Backend> Store for BoundedStore<B> {
    fn kind(&self) -> StoreKind {
        B::KIND
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<Prepared> {
        let table = self.table(dataset)?;
        if let Some((known, prepared)) = lock(&self.prepared).get(&table.name)
            && *known == table
        {
            return Ok(*prepared);
        }
        let prepared = self.with_timeout(with_retries(|| self.backend.prepare(dataset, &table)));
        let prepared = self.explained(&table, prepared.await).await?;
        if prepared != Prepared::Blocked {
            lock(&self.prepared).insert(table.name.clone(), (table, prepared));
        }
        Ok(prepared)
    }

    async fn maintain(&self, dataset: &Dataset, current: &Current) -> Result<Maintenance> {
        let table = self.table(dataset)?;
        let step = with_retries(|| self.backend.maintain(dataset, &table, current)).await?;
        self.forget(&table);
        Ok(step)
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts> {
        if rows.is_empty() {
            return Ok(StoreCounts::default());
        }
        let search = self.searched(dataset);
        let applied = self.apply_with(dataset, order, rows, &search).await;
        match applied {
            // Another definition than this one has search.
            Err(error) if is_search_changed(&error) => {
                let search = self.read_searched(&dataset.name).await?;
                self.apply_with(dataset, order, rows, &search).await
            }
            applied => applied,
        }
    }

    fn is_followed(&self, dataset: &str) -> bool {
        self.backend.followed().contains(dataset)
    }

    async fn preview_prune(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
    ) -> Result<Step<PrunePreview>> {
        let (table, floor) = (Table::new(dataset, B::KIND)?, order.at(0));
        let step = with_retries(|| self.backend.preview_prune(&table, floor));
        let step = self.with_timeout(step).await;
        self.explained(&table, step)
            .await
            .inspect_err(|_| self.forget(&table))
    }

    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<Step<u64>> {
        let (table, floor) = (Table::new(dataset, B::KIND)?, order.at(0));
        let step = with_retries(|| self.backend.prune(&table, floor));
        let step = self.with_timeout(step).await;
        self.explained(&table, step)
            .await
            .inspect_err(|_| self.forget(&table))
    }

    async fn next_to_sweep(&self, after: Option<&str>) -> Result<Option<String>> {
        let next = self.backend.next_to_sweep(after.unwrap_or_default());
        self.with_timeout(next).await
    }

    async fn sweep(&self, dataset: &str) -> Result<u64> {
        if !is_name(dataset) {
            let reason = "its registry has a name that no dataset can have";
            return Err(StoreError::unavailable(B::KIND, reason));
        }
        self.with_timeout(with_retries(|| self.backend.sweep(dataset)))
            .await
    }

    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>> {
        let table = self.table(dataset)?;
        self.with_timeout(with_retries(|| {
            self.backend.rebuild_totals(dataset, &table)
        }))
        .await
        .inspect(|_| self.forget(&table))
    }
}
