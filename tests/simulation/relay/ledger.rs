//! The ledger, with a pause before and after each effect.

use std::sync::Arc;

use async_trait::async_trait;
use landfall_destinations::Breaker;
use landfall_ledger::{
    Block, DestinationNotes, DestinationTable, Granted, LedgerError, PaceTable, Pause,
    StoredDestination, StoredTasks, Tasks,
};

use super::world::World;
use crate::schedule::pause;

pub(super) struct PausedTable(pub(super) Arc<World>);

#[async_trait]
impl DestinationTable for PausedTable {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        pause().await;
        self.0.table.destination(name).await
    }

    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        pause().await;
        let saved = self.0.table.save_breaker(name, breaker, revision).await;
        pause().await;
        saved
    }

    async fn save_notes(&self, name: &str, notes: &DestinationNotes) -> Result<(), LedgerError> {
        pause().await;
        self.0.table.save_notes(name, notes).await
    }

    async fn pause_destination(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        self.0.table.pause_destination(name, by).await
    }

    async fn resume_destination(&self, name: &str) -> Result<(), LedgerError> {
        self.0.table.resume_destination(name).await
    }

    async fn tasks(&self, name: &str) -> Result<StoredTasks, LedgerError> {
        pause().await;
        self.0.table.tasks(name).await
    }

    async fn save_tasks(
        &self,
        name: &str,
        tasks: &Tasks,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        pause().await;
        let saved = self.0.table.save_tasks(name, tasks, revision).await;
        pause().await;
        saved
    }
}

#[async_trait]
impl PaceTable for PausedTable {
    async fn take_slots(&self, host: &str, block: &Block) -> Result<Granted, LedgerError> {
        pause().await;
        let granted = self.0.table.take_slots(host, block).await;
        pause().await;
        granted
    }

    async fn pause_host(&self, host: &str, until: i64) -> Result<(), LedgerError> {
        self.0.table.pause_host(host, until).await
    }

    async fn count_request(&self, host: &str, now: i64, most: u64) -> Result<bool, LedgerError> {
        self.0.table.count_request(host, now, most).await
    }
}
