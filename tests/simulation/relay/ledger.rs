//! The ledger, with a pause before and after each effect.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_destinations::Breaker;
use landfall_ledger::{
    Block, DestinationNotes, DestinationTable, Granted, LedgerError, Notification,
    NotificationClaim, NotificationEnd, NotificationPlace, NotificationTable, NotificationsPage,
    NotificationsQuery, PaceTable, Pause, StoredDestination, StoredTasks, Tasks,
};
use uuid::Uuid;

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

impl PausedTable {
    /// Lets other tasks run. An error after the effect is a lost reply.
    async fn reply(&self) -> Result<(), LedgerError> {
        pause().await;
        if self.0.goes_wrong(0.02) {
            return Err(AwsError::unavailable("UpdateItem", "ledger", "no reply").into());
        }
        Ok(())
    }
}

#[async_trait]
impl NotificationTable for PausedTable {
    async fn add_notification(&self, notification: &Notification) -> Result<(), LedgerError> {
        self.reply().await?;
        self.0.table.add_notification(notification).await?;
        self.reply().await
    }

    async fn list_notifications(
        &self,
        query: &NotificationsQuery,
    ) -> Result<NotificationsPage, LedgerError> {
        self.reply().await?;
        self.0.table.list_notifications(query).await
    }

    async fn notifications(&self, ids: &[Uuid]) -> Result<Vec<Notification>, LedgerError> {
        self.reply().await?;
        self.0.table.notifications(ids).await
    }

    async fn claim_notification(
        &self,
        place: NotificationPlace,
        claim: &NotificationClaim,
    ) -> Result<Option<Notification>, LedgerError> {
        self.reply().await?;
        let claimed = self.0.table.claim_notification(place, claim).await?;
        self.reply().await.map(|()| claimed)
    }

    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.reply().await?;
        let ended = self.0.table.end_notification(id, claim, end, now);
        ended.await?;
        self.reply().await
    }

    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError> {
        self.reply().await?;
        self.0.table.redrive_notification(id, now).await
    }
}
