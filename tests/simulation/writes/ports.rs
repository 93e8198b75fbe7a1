//! The dependencies that only the api has.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use landfall_aws::{AwsError, Inbox, PostForm, Stored};
use landfall_destinations::Breaker;
use landfall_domain::{ChangeState, Dataset, ParentRow, WriteId};
use landfall_ledger::{
    CheckedNumbers, Claim, Claimed, DestinationNotes, DestinationTable, LedgerError, ListedStage,
    Notification, NotificationClaim, NotificationEnd, NotificationPlace, NotificationTable,
    NotificationsPage, NotificationsQuery, Parent, ParentTable, Pause, PermitTable, Relisting,
    RequestTable, StoredDestination, StoredTasks, Tasks, Write, WriteEnd, WriteTable,
};
use landfall_stores::{ChangePage, ChangeReader, ChangeSummary, StoreError};
use uuid::Uuid;

use crate::fakes::Table;
use crate::schedule::pause;

macro_rules! paused {
    ($effect:expr) => {{
        pause().await;
        let answer = $effect.await;
        pause().await;
        answer
    }};
}

#[async_trait]
impl WriteTable for Table {
    async fn tick(&self, clock: u8, now: i64) -> Result<(i64, u64), LedgerError> {
        paused!(self.0.tick(clock, now))
    }
    async fn put_write(&self, write: &Write) -> Result<Write, LedgerError> {
        paused!(self.0.put_write(write))
    }
    async fn find_write(&self, write: WriteId) -> Result<Option<Write>, LedgerError> {
        paused!(self.0.find_write(write))
    }
    async fn end_write(
        &self,
        write: WriteId,
        end: &WriteEnd,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        paused!(self.0.end_write(write, end, now))
    }
    async fn allow_deletes(&self, dataset: &str) -> Result<(), LedgerError> {
        paused!(self.0.allow_deletes(dataset))
    }
    async fn has_deletes(&self, dataset: &str) -> Result<bool, LedgerError> {
        paused!(self.0.has_deletes(dataset))
    }
}

#[async_trait]
impl RequestTable for Table {
    async fn claim_request(
        &self,
        name: &str,
        claim: &Claim,
        now: i64,
    ) -> Result<Claimed, LedgerError> {
        paused!(self.0.claim_request(name, claim, now))
    }
    async fn record_sent(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        paused!(self.0.record_sent(name, write))
    }
    async fn release_request(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        paused!(self.0.release_request(name, write))
    }
    async fn record_number(
        &self,
        name: &str,
        write: WriteId,
        number: u64,
    ) -> Result<u64, LedgerError> {
        paused!(self.0.record_number(name, write, number))
    }
    async fn find_number(&self, name: &str, write: WriteId) -> Result<Option<u64>, LedgerError> {
        paused!(self.0.find_number(name, write))
    }
}

#[async_trait]
impl ParentTable for Table {
    async fn create_parent(&self, row: &ParentRow) -> Result<bool, LedgerError> {
        paused!(self.0.create_parent(row))
    }
    async fn delete_parent(&self, row: &ParentRow) -> Result<(), LedgerError> {
        paused!(self.0.delete_parent(row))
    }
    async fn allocate(
        &self,
        parent: &ParentRow,
        child: &str,
        creates: bool,
        now: i64,
    ) -> Result<Option<u64>, LedgerError> {
        paused!(self.0.allocate(parent, child, creates, now))
    }
    async fn parents(&self, rows: &[ParentRow]) -> Result<Vec<Parent>, LedgerError> {
        paused!(self.0.parents(rows))
    }
    async fn listed_parents(
        &self,
        stage: ListedStage,
        until: i64,
        limit: usize,
    ) -> Result<Vec<Parent>, LedgerError> {
        paused!(self.0.listed_parents(stage, until, limit))
    }
    async fn relist(
        &self,
        parent: &Parent,
        relisting: Relisting,
        now: i64,
    ) -> Result<bool, LedgerError> {
        paused!(self.0.relist(parent, relisting, now))
    }
    async fn record_checked(
        &self,
        parent: &ParentRow,
        child: &str,
        checked: &CheckedNumbers,
    ) -> Result<bool, LedgerError> {
        paused!(self.0.record_checked(parent, child, checked))
    }
}

#[async_trait]
impl PermitTable for Table {
    async fn take_permits(
        &self,
        name: &str,
        window: i64,
        block: u32,
        allowance: u32,
    ) -> Result<u32, LedgerError> {
        self.0.take_permits(name, window, block, allowance).await
    }
}

/// An inbox that nothing is uploaded to.
pub struct NoInbox;

#[async_trait]
impl Inbox for NoInbox {
    async fn put(&self, key: &str, _: &str, _: Bytes) -> Result<Stored, AwsError> {
        Err(unused(key))
    }
    async fn post_form(&self, key: &str, _: u64, _: Duration) -> Result<PostForm, AwsError> {
        Err(unused(key))
    }
    async fn begin(&self, key: &str) -> Result<String, AwsError> {
        Err(unused(key))
    }
    async fn part_url(
        &self,
        key: &str,
        _: &str,
        _: i32,
        _: u64,
        _: Duration,
    ) -> Result<String, AwsError> {
        Err(unused(key))
    }
    async fn complete(&self, key: &str, _: &str, _: &[(i32, String)]) -> Result<bool, AwsError> {
        Err(unused(key))
    }
    async fn latest(&self, key: &str) -> Result<Option<Stored>, AwsError> {
        Err(unused(key))
    }
}

fn unused(key: &str) -> AwsError {
    AwsError::refused("none", key, "nothing is uploaded")
}

/// No write leads to one.
#[async_trait]
impl NotificationTable for Table {
    async fn add_notification(&self, notification: &Notification) -> Result<(), LedgerError> {
        self.0.add_notification(notification).await
    }

    async fn list_notifications(
        &self,
        query: &NotificationsQuery,
    ) -> Result<NotificationsPage, LedgerError> {
        self.0.list_notifications(query).await
    }

    async fn notifications(&self, ids: &[Uuid]) -> Result<Vec<Notification>, LedgerError> {
        self.0.notifications(ids).await
    }

    async fn claim_notification(
        &self,
        place: NotificationPlace,
        claim: &NotificationClaim,
    ) -> Result<Option<Notification>, LedgerError> {
        self.0.claim_notification(place, claim).await
    }

    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.0.end_notification(id, claim, end, now).await
    }

    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError> {
        self.0.redrive_notification(id, now).await
    }
}

#[async_trait]
impl DestinationTable for Table {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        paused!(self.0.destination(name))
    }
    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        paused!(self.0.save_breaker(name, breaker, revision))
    }
    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        paused!(self.0.set_busy(name, until))
    }
    async fn save_notes(&self, name: &str, notes: &DestinationNotes) -> Result<(), LedgerError> {
        paused!(self.0.save_notes(name, notes))
    }
    async fn pause_destination(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        paused!(self.0.pause_destination(name, by))
    }
    async fn resume_destination(&self, name: &str) -> Result<(), LedgerError> {
        paused!(self.0.resume_destination(name))
    }
    async fn tasks(&self, name: &str) -> Result<StoredTasks, LedgerError> {
        paused!(self.0.tasks(name))
    }
    async fn save_tasks(
        &self,
        name: &str,
        tasks: &Tasks,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        paused!(self.0.save_tasks(name, tasks, revision))
    }
}

/// Nothing is recorded for destinations.
pub struct NoChanges;

#[async_trait]
impl ChangeReader for NoChanges {
    async fn summary(
        &self,
        _: &Dataset,
        _: &str,
        _: Timestamp,
    ) -> Result<ChangeSummary, StoreError> {
        unreachable!("no client looks at destinations")
    }

    async fn list(
        &self,
        _: &Dataset,
        _: &str,
        _: ChangeState,
        _: Option<&str>,
        _: usize,
    ) -> Result<ChangePage, StoreError> {
        unreachable!("no client looks at destinations")
    }
}
