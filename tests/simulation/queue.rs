//! The chunk queue, in memory, and the time that it waits for.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::{AwsError, ChunkQueue, Work, WorkMessage};
use landfall_domain::JobId;
use landfall_runtime::Visibility;

use crate::fakes::locked;
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
    pub time: SimulatedTime,
    pub waiting: Mutex<Vec<String>>,
    /// Messages that are delivered later, and when.
    later: Mutex<Vec<(i64, String)>>,
    /// The jobs that close messages were sent for.
    pub closes: Mutex<HashSet<JobId>>,
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
            if let WorkMessage::Close { job } = message {
                locked(&self.closes).insert(*job);
            }
        }
        pause().await;
        Ok(())
    }

    async fn send_later(&self, work: &Work, seconds: u32) -> Result<(), AwsError> {
        assert!((1..=30).contains(&seconds), "{seconds}");
        pause().await;
        let body = serde_json::to_string(work).unwrap();
        {
            let mut later = locked(&self.later);
            // `seconds` are random, and only the seed may determine the schedule.
            let millis = 1_000 * (1 + 7 * i64::try_from(later.len()).unwrap() % 30);
            later.push((self.time.millis() + millis, body));
        }
        pause().await;
        Ok(())
    }
}

#[async_trait]
impl Visibility for Queue {
    async fn change(&self, _: &[(String, i32)]) -> Result<(), AwsError> {
        Ok(())
    }
}
