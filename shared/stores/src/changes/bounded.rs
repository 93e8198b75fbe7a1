//! Makes a [`ChangeStore`] of a database: checked arguments, and calls that end in time.

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::{Dataset, RowQuery, StoreKind};

use super::{ChangeResult, ChangeStore, DueChange, Lease, Selection, SyncStep, check_name, keyed};
use crate::error::{Result, StoreError};
use crate::registry::Registered;
use crate::schema::Table;
use crate::store::{Backend, BoundedStore, Store as _};

/// What each database implements of a [`ChangeStore`]. Its calls are repeated after [`StoreError::Contended`].
#[async_trait]
pub(crate) trait ChangeBackend: Backend {
    /// Takes a step to change the destinations of a dataset that is prepared. Returns whether it was the last.
    async fn track(
        &self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
    ) -> Result<bool>;

    /// Returns the entries of datasets that changes are, or were, recorded of.
    async fn tracked(&self) -> Result<Vec<(String, Registered)>>;

    async fn lease(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>>;

    async fn record(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64>;

    async fn redrive(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64>;

    async fn sync_step(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        now: Timestamp,
        rows: u64,
    ) -> Result<SyncStep>;
}

/// The maximum length of a lease's id.
const MAX_LEASE_ID: usize = 64;

fn check_lease(lease: &Lease) -> Result<()> {
    let id = &lease.id;
    if (1..=MAX_LEASE_ID).contains(&id.len()) && id.is_ascii() {
        return Ok(());
    }
    let reason = format!("not an id of a lease: {id:?}");
    Err(StoreError::Config(reason))
}

#[async_trait]
impl<B: ChangeBackend> ChangeStore for BoundedStore<B> {
    fn kind(&self) -> StoreKind {
        B::KIND
    }

    async fn track(&self, dataset: &Dataset, destinations: &[String]) -> Result<()> {
        for name in destinations {
            check_name(name)?;
        }
        let mut destinations = destinations.to_vec();
        destinations.sort_unstable();
        destinations.dedup();
        if !destinations.is_empty() {
            self.prepare(dataset).await?;
        }
        let (backend, table) = (self.backend(), self.table(dataset)?);
        while !self
            .call(|| backend.track(dataset, &table, &destinations))
            .await?
        {}
        Ok(())
    }

    async fn tracked(&self) -> Result<Vec<Dataset>> {
        let backend = self.backend();
        let tracked = self.call(|| backend.tracked()).await?.into_iter();
        let own = tracked.filter(|(name, registered)| self.owns(name, registered));
        own.map(|(name, registered)| keyed(&registered, &name, B::KIND))
            .collect()
    }

    async fn lease(
        &self,
        dataset: &Dataset,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        check_name(destination)?;
        check_lease(lease)?;
        self.prepare(dataset).await?;
        let (backend, table) = (self.backend(), self.table(dataset)?);
        self.call(|| backend.lease(dataset, &table, destination, lease, limit))
            .await
    }

    async fn record(
        &self,
        dataset: &Dataset,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64> {
        check_name(destination)?;
        check_lease(lease)?;
        let (backend, table) = (self.backend(), self.table(dataset)?);
        if results.is_empty() {
            return Ok(0);
        }
        self.call(|| backend.record(dataset, &table, destination, lease, results))
            .await
    }

    async fn redrive(
        &self,
        dataset: &Dataset,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64> {
        check_name(destination)?;
        if let Selection::Keys(keys) = selection {
            for key in keys {
                RowQuery::of_key(dataset, key)?;
            }
        }
        let (backend, table) = (self.backend(), self.table(dataset)?);
        self.call(|| backend.redrive(dataset, &table, destination, selection, now, limit))
            .await
    }

    async fn sync_step(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
        rows: u64,
    ) -> Result<SyncStep> {
        check_name(destination)?;
        let (backend, table) = (self.backend(), self.table(dataset)?);
        self.call(|| backend.sync_step(dataset, &table, destination, now, rows))
            .await
    }
}
