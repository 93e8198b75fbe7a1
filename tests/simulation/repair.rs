//! The deployed janitor on fakes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use janitor::{Backlog, Inventory, Patience, Splitter, StoredVersion, VersionMarker};
use jiff::SignedDuration;
use landfall_aws::{AwsError, ChunkQueue, SplitQueue};
use landfall_domain::ObjectRef;
use landfall_ledger::{CursorTable, JobIndex, Ledger, LedgerTable, ParentTable, WriteTable};
use landfall_runtime::{Deadline, Metrics};
use serde_json::Value;

use crate::fakes::{Buckets, locked};
use crate::queue::Queue;
use crate::schedule::{Task, pause};
use crate::world::{Outcome, World};

/// When a number without a row becomes a void.
pub const VOID_AFTER: Duration = Duration::from_hours(1);

/// The janitor, and its effects on the world.
pub struct Janitor {
    context: Arc<janitor::Context>,
    /// The notifications that it has sent to the splitter.
    notifications: Arc<Notifications>,
    /// The messages that workers process.
    in_progress: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Notifications(std::sync::Mutex<Vec<Value>>);

#[async_trait]
impl Splitter for Notifications {
    async fn invoke(&self, event: &Value) -> Result<(), AwsError> {
        pause().await;
        locked(&self.0).push(event.clone());
        pause().await;
        Ok(())
    }
}

struct Waiting(Arc<Queue>, Arc<AtomicUsize>);

#[async_trait]
impl Backlog for Waiting {
    async fn is_empty(&self) -> Result<bool, AwsError> {
        pause().await;
        let in_progress = self.1.load(Ordering::Relaxed);
        Ok(in_progress == 0 && locked(&self.0.waiting).is_empty())
    }
}

/// The split queue, which is empty whenever the janitor gives up a job.
struct NoBacklog;

#[async_trait]
impl Backlog for NoBacklog {
    async fn is_empty(&self) -> Result<bool, AwsError> {
        Ok(true)
    }
}

#[async_trait]
impl Inventory for Buckets {
    async fn versions(
        &self,
        after: Option<&VersionMarker>,
    ) -> Result<(Vec<StoredVersion>, Option<VersionMarker>), AwsError> {
        pause().await;
        let versions = locked(&self.versions);
        let mut places: Vec<_> = versions.iter().collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        let is_after = |key: &String| after.is_none_or(|after| *key > after.key);
        let mut places = places.into_iter().filter(|((key, _), _)| is_after(key));
        // One version in each page.
        let Some(((key, version), bytes)) = places.next() else {
            return Ok((Vec::new(), None));
        };
        let found = StoredVersion {
            object: ObjectRef {
                bucket: "inbox".to_owned(),
                key: key.clone(),
                version: Some(version.clone()),
                etag: version.clone(),
                size: bytes.len() as u64,
            },
            created_at: "2026-11-20T08:30:00Z".parse().unwrap(),
        };
        let next = places.next().map(|_| VersionMarker {
            key: key.clone(),
            version: Some(version.clone()),
        });
        Ok((vec![found], next))
    }
}

impl Janitor {
    /// Returns a janitor for which every pause is over, and which gives up after so many attempts.
    pub fn new(world: &World, max_attempts: u32) -> Self {
        let notifications = Arc::new(Notifications::default());
        let in_progress = Arc::new(AtomicUsize::new(0));
        let table = Arc::clone(&world.table);
        let time = world.queue.time.clone();
        let waiting = Waiting(Arc::clone(&world.queue), Arc::clone(&in_progress));
        let context = janitor::Context {
            ledger: Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>),
            index: Arc::clone(&table) as Arc<dyn JobIndex>,
            writes: Arc::clone(&table) as Arc<dyn WriteTable>,
            parents: Arc::clone(&table) as Arc<dyn ParentTable>,
            cursors: table as Arc<dyn CursorTable>,
            queue: Arc::clone(&world.queue) as Arc<dyn ChunkQueue>,
            backlog: Arc::new(waiting),
            splits: Arc::clone(&world.splits) as Arc<dyn SplitQueue>,
            splits_backlog: Arc::new(NoBacklog),
            splitter: Arc::clone(&notifications) as Arc<dyn Splitter>,
            inventory: Arc::clone(&world.buckets) as Arc<dyn Inventory>,
            metrics: Metrics::new("simulation", std::io::sink()),
            patience: Patience {
                first: SignedDuration::ZERO,
                max_attempts,
                split_within: match max_attempts {
                    u32::MAX => SignedDuration::MAX,
                    _ => SignedDuration::ZERO,
                },
                max_object_age: SignedDuration::MAX,
            },
            void_after: VOID_AFTER,
            clock: Arc::new(move || time.now()),
        };
        Self {
            context: Arc::new(context),
            notifications,
            in_progress,
        }
    }

    /// Records that a worker has received messages.
    pub fn received(&self) {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a worker has processed its messages, or died.
    pub fn processed(&self) {
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the notifications that the janitor has sent since the last call.
    pub fn take_notifications(&self) -> Vec<Value> {
        std::mem::take(&mut *locked(&self.notifications.0))
    }

    /// Runs the janitor, or has it process a dead letter.
    pub fn call(&self, dead_letter: Option<String>) -> Task<Outcome> {
        let context = Arc::clone(&self.context);
        let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
        Box::pin(async move {
            let Some(body) = dead_letter else {
                let report = janitor::run(&context, deadline).await;
                let report = report.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(report.failed, 0, "{report:?}");
                return Ok(HashSet::new());
            };
            let mut message = SqsMessage::default();
            message.message_id = Some(body.clone());
            message.body = Some(body);
            let mut event = SqsEvent::default();
            event.records.push(message);
            let event = serde_json::to_value(event).unwrap();
            let response = janitor::handle(&context, event, deadline).await;
            let failed = response.unwrap_or_else(|error| panic!("{error}"));
            let failed = failed.unwrap().batch_item_failures.into_iter();
            Ok(failed.map(|failure| failure.item_identifier).collect())
        })
    }
}
