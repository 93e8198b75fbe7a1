//! The ledger, with a pause before and after each effect.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_destinations::Breaker;
use landfall_ledger::{
    Block, DestinationTable, Granted, LedgerError, PaceTable, StoredDestination,
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

    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        pause().await;
        let set = self.0.table.set_busy(name, until).await;
        pause().await;
        set
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
