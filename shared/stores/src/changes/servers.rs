//! The calls of SQL servers: each in a transaction, or a few.

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::Dataset;

use super::{
    Call, ChangeBackend, ChangeResult, ChangeTransaction, DueChange, Lease, Selection, SyncStep,
    track,
};
use crate::error::{Result, StoreError};
use crate::registry::Registered;
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::sql::{SqlDatabase, SqlTransaction as _};
use crate::walk::Range;

/// What an SQL server supplies beside the steps of a transaction.
#[async_trait]
pub(crate) trait ServerChanges: SqlDatabase<Transaction: ChangeTransaction> {
    /// Fails if the server is too old for destinations.
    async fn check_server(&self, _table: &Table) -> Result<()> {
        Ok(())
    }

    /// Creates the tables of recorded changes and of keys where they are missing.
    async fn create_tables(&self, table: &Table) -> Result<()>;

    /// Locks the dataset, and keeps others from reading its destinations, until the transaction ends.
    async fn lock_destinations(
        &self,
        transaction: &mut Self::Transaction,
        dataset: &str,
    ) -> Result<()>;

    /// Returns the range of about so many rows after a place, in the order of the keys.
    async fn key_range(
        &self,
        transaction: &mut Self::Transaction,
        table: &Table,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range>;

    /// Returns the entries of datasets that changes are, or were, recorded of.
    async fn tracked_entries(&self) -> Result<Vec<(String, Registered)>>;
}

#[async_trait]
impl<D: ServerChanges> ChangeBackend for D {
    async fn track(
        &self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
    ) -> Result<bool> {
        let name = &table.name;
        if self
            .entry(name)
            .await?
            .registered
            .tracking
            .is_for(destinations)
        {
            return Ok(true);
        }
        if !destinations.is_empty() {
            self.check_server(table).await?;
            self.create_tables(table).await?;
        }
        let mut transaction = self.begin().await?;
        self.lock_destinations(&mut transaction, name).await?;
        let mut entry = transaction.lock(name, LaneLock::All).await?;
        let rows = self.step_rows();
        let is_done = track(
            &mut transaction,
            dataset,
            table,
            &mut entry,
            destinations,
            rows,
        )
        .await?;
        transaction.save(name, &entry).await?;
        transaction.commit().await?;
        Ok(is_done)
    }

    async fn tracked(&self) -> Result<Vec<(String, Registered)>> {
        self.tracked_entries().await
    }

    async fn lease(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        let call = Call {
            dataset,
            table,
            destination,
        };
        let mut transaction = self.begin().await?;
        call.fold(&mut transaction, lease).await?;
        transaction.commit().await?;
        let mut transaction = self.begin().await?;
        let leased = call.lease(&mut transaction, lease, limit).await?;
        transaction.commit().await?;
        Ok(leased)
    }

    async fn record(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64> {
        let call = Call {
            dataset,
            table,
            destination,
        };
        let mut transaction = self.begin().await?;
        let held = call.record(&mut transaction, lease, results).await?;
        transaction.commit().await?;
        Ok(held)
    }

    async fn redrive(
        &self,
        dataset: &Dataset,
        table: &Table,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64> {
        let call = Call {
            dataset,
            table,
            destination,
        };
        let mut transaction = self.begin().await?;
        let made_due = call
            .redrive(&mut transaction, selection, now, limit)
            .await?;
        transaction.commit().await?;
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
        let call = Call {
            dataset,
            table,
            destination,
        };
        let name = &table.name;
        let entry = self.entry(name).await?;
        call.check(D::KIND, &entry)?;
        let known = entry.walks.sync(destination);
        let mut transaction = self.begin().await?;
        let range = self
            .key_range(&mut transaction, table, known.place.as_deref(), rows)
            .await?;
        let marked = call.sync(&mut transaction, &range.condition, now).await?;
        let mut entry = transaction.lock(name, LaneLock::All).await?;
        call.check(D::KIND, &entry)?;
        if entry.walks.sync(destination) != known {
            let reason = "another caller has marked the range";
            return Err(StoreError::contended(D::KIND, reason));
        }
        let step = entry.walks.advance_sync(destination, marked, range.next);
        transaction.save(name, &entry).await?;
        transaction.commit().await?;
        Ok(step)
    }
}
