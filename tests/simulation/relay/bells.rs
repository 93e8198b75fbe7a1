//! The relay queue, whose messages are lost and repeated.

use std::sync::Arc;

use async_trait::async_trait;
use landfall_aws::{AwsError, Bell, RelayMessage};
use rand::Rng;

use super::world::World;
use crate::fakes::locked;
use crate::schedule::pause;

pub(super) struct Bells(pub(super) Arc<World>);

#[async_trait]
impl Bell for Bells {
    async fn ring(&self, message: &RelayMessage, seconds: u32) -> Result<(), AwsError> {
        pause().await;
        if self.0.goes_wrong(0.1) {
            return Err(AwsError::unavailable("SendMessage", "relay", "down"));
        }
        self.0.ring(message, i64::from(seconds) * 1_000_000);
        pause().await;
        Ok(())
    }
}

impl World {
    /// Sends a message that is delivered after so many microseconds. It may be lost, or delivered twice.
    pub(super) fn ring(&self, message: &RelayMessage, micros: i64) {
        let chance = locked(&self.rng).random_range(0..5);
        let copies = match chance {
            0 if self.goes_wrong(1.0) => 0,
            1 => 2,
            _ => 1,
        };
        let due_at = self.micros() + micros;
        let mut bells = locked(&self.bells);
        bells.extend((0..copies).map(|copy| (due_at + copy * 3_000_000, message.clone())));
    }

    /// Returns the messages that are delivered now.
    pub(super) fn rung(&self) -> Vec<RelayMessage> {
        let now = self.micros();
        let mut bells = locked(&self.bells);
        let due = bells.extract_if(.., |(due_at, _)| *due_at <= now);
        due.map(|(_, message)| message).collect()
    }

    /// Returns when the next message is delivered.
    pub(super) fn next_bell(&self) -> Option<i64> {
        locked(&self.bells).iter().map(|(due_at, _)| *due_at).min()
    }
}
