//! The chunk queue and the split queue, in memory, and the time that messages wait for.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::{
    AwsError, Bell, ChunkQueue, MaintenanceMessage, MaintenanceQueue, RelayMessage, SplitMessage,
    SplitQueue, Work, WorkMessage,
};
use landfall_domain::{ChunkMessage, JobId};
use landfall_ledger::{LedgerTable, shard_of};
use landfall_runtime::Visibility;
use serde_json::json;

use crate::fakes::{Table, locked};
use crate::schedule::pause;

/// The time in milliseconds since 1970. It passes only if the simulation says so.
#[derive(Clone, Default)]
pub struct SimulatedTime(Arc<AtomicI64>);

impl SimulatedTime {
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.millis()).unwrap()
    }

    pub fn millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// The chunk queue: messages that wait for delivery.
#[derive(Default)]
pub struct Queue {
    /// The ledger, in which every chunk must be planned before its message is sent.
    pub table: Arc<Table>,
    pub time: SimulatedTime,
    pub waiting: Mutex<Vec<String>>,
    /// Messages that are delivered later, and when.
    pub later: Mutex<Vec<(i64, String)>>,
    /// The jobs that close messages were sent for.
    pub closes: Mutex<HashSet<JobId>>,
    /// The maintenance queue.
    pub maintenance: Mutex<Vec<String>>,
    /// How often the relay was rung.
    pub rings: AtomicUsize,
}

#[async_trait]
impl MaintenanceQueue for Queue {
    async fn request(&self, message: &MaintenanceMessage) -> Result<(), AwsError> {
        pause().await;
        let body = serde_json::to_string(message).unwrap();
        locked(&self.maintenance).push(body);
        pause().await;
        Ok(())
    }
}

#[async_trait]
impl Bell for Queue {
    /// Fails every other time.
    async fn ring(&self, message: &RelayMessage, seconds: u32) -> Result<(), AwsError> {
        assert_eq!(seconds, 0);
        assert!(matches!(message, RelayMessage::Dataset(_)), "{message:?}");
        let rings = self.rings.fetch_add(1, Ordering::Relaxed);
        pause().await;
        if rings % 2 == 1 {
            return Err(AwsError::unavailable("SendMessage", "relay", "down"));
        }
        Ok(())
    }
}

impl Queue {
    /// Delivers the messages whose time has come. Returns when the next one follows.
    pub fn deliver_due(&self) -> Option<i64> {
        let now = self.time.millis();
        let mut later = locked(&self.later);
        let due = later.extract_if(.., |(at, _)| *at <= now);
        locked(&self.waiting).extend(due.map(|(_, body)| body));
        later.iter().map(|(at, _)| *at).min()
    }
}

#[async_trait]
impl ChunkQueue for Queue {
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError> {
        for message in messages {
            pause().await;
            let body = serde_json::to_string(message).unwrap();
            locked(&self.waiting).push(body);
            match message {
                WorkMessage::Chunk(chunk) => self.check_planned(chunk).await,
                WorkMessage::Close { job } => {
                    locked(&self.closes).insert(*job);
                }
                WorkMessage::Redrive { .. } | WorkMessage::Write(_) | WorkMessage::Check(_) => {}
            }
        }
        pause().await;
        Ok(())
    }

    async fn send_later(&self, work: &Work, seconds: u32) -> Result<(), AwsError> {
        assert!((1..=900).contains(&seconds), "{seconds}");
        pause().await;
        let body = serde_json::to_string(work).unwrap();
        {
            let mut later = locked(&self.later);
            // `seconds` are random, and only the seed may determine the schedule.
            let millis = match work.message {
                WorkMessage::Check(_) => i64::from(seconds) * 1_000,
                _ => 1_000 * (1 + 7 * i64::try_from(later.len()).unwrap() % 30),
            };
            later.push((self.time.millis() + millis, body));
        }
        pause().await;
        Ok(())
    }
}

/// The split queue: events with one message each that wait for delivery.
#[derive(Default)]
pub struct Splits {
    pub waiting: Mutex<Vec<serde_json::Value>>,
}

#[async_trait]
impl SplitQueue for Splits {
    async fn resume(&self, job: JobId) -> Result<(), AwsError> {
        pause().await;
        let body = serde_json::to_string(&SplitMessage::Resume { job }).unwrap();
        let message = json!({ "eventSource": "aws:sqs", "messageId": "1", "body": body });
        locked(&self.waiting).push(json!({ "Records": [message] }));
        pause().await;
        Ok(())
    }
}

impl Queue {
    async fn check_planned(&self, chunk: &ChunkMessage) {
        let table = Arc::clone(&self.table);
        let head = table.0.head(chunk.job).await.unwrap().unwrap();
        let blocks = table.0.plan(chunk.job, &[shard_of(chunk.ordinal)]).await;
        let mut planned = blocks.unwrap()[0].message(&head, chunk.ordinal).unwrap();
        // A sender of an earlier attempt may be late.
        assert!(chunk.attempt <= planned.attempt);
        planned.attempt = chunk.attempt;
        assert_eq!(planned, *chunk);
    }
}

#[async_trait]
impl Visibility for Queue {
    async fn change(&self, _: &[(String, i32)]) -> Result<(), AwsError> {
        Ok(())
    }
}
