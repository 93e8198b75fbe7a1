//! When requests may be sent: slots in time of the ledger, which all instances share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_fetch::{Pace, PaceError};
use landfall_ledger::PaceTable;
use landfall_sources::Limits;
use tokio::time::sleep;

const SECOND: f64 = 1_000_000.0;
/// How late a request may be sent in its slot, in microseconds.
const SLACK: i64 = 100_000;
/// How much the clocks of two instances may differ, in microseconds.
const CLOCKS: i64 = 50_000;

/// The pace of all instances together.
///
/// Each instance takes blocks of slots, and sends one request in each, at most [`SLACK`] late; later ones are dropped.
/// Slots are so far apart that no second by the times of sending has more requests than are allowed: in a second and
/// the slack before it, and the difference of two clocks, there are not more slots.
pub(crate) struct LedgerPace {
    table: Arc<dyn PaceTable>,
    kept: Mutex<HashMap<String, Slots>>,
}

/// Slots that an instance has taken. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slots {
    next: i64,
    interval: i64,
    left: u32,
}

impl Slots {
    /// Takes the next slot that is not over.
    fn take(&mut self, now: i64) -> Option<i64> {
        while self.left > 0 {
            let slot = self.next;
            self.next += self.interval;
            self.left -= 1;
            if slot + SLACK >= now {
                return Some(slot);
            }
        }
        None
    }
}

/// Returns the time between two slots in microseconds, and the number of slots that are taken at once.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a definition allows from 0.001 to 1000 requests in a second"
)]
fn plan(per_second: f64) -> (i64, u32) {
    let period = (SECOND / per_second).max(SECOND);
    let requests = (period / SECOND * per_second).floor().max(1.0);
    let interval = (period + (SLACK + CLOCKS) as f64) / requests;
    // What half a second needs: slots that are left at the end of a run are lost.
    (interval.ceil() as i64, (requests / 2.0).max(1.0) as u32)
}

impl LedgerPace {
    pub(crate) fn new(table: Arc<dyn PaceTable>) -> Self {
        Self {
            table,
            kept: Mutex::default(),
        }
    }

    fn kept(&self, host: &str, now: i64) -> Option<i64> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_mut(host)?.take(now)
    }
}

#[async_trait]
impl Pace for LedgerPace {
    async fn wait(&self, host: &str, limits: &Limits) -> Result<(), PaceError> {
        let (interval, block) = plan(limits.requests_per_second);
        let slot = loop {
            let now = Timestamp::now().as_microsecond();
            if let Some(slot) = self.kept(host, now) {
                break slot;
            }
            let taken = self.table.take_slots(host, now, interval, block).await;
            let next = taken.map_err(|error| PaceError {
                retryable: error.retryable(),
                reason: format!("the pace of {host} is not available: {error}"),
            })?;
            let slots = Slots {
                next,
                interval,
                left: block,
            };
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(host.to_owned(), slots);
        };
        let wait = slot - Timestamp::now().as_microsecond();
        sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests of four instances at the latest times that their slots allow, by clocks that differ.
    #[test]
    fn no_second_has_more_requests_than_allowed() {
        for (per_second, most) in [(0.5, 1), (1.0, 1), (2.5, 2), (5.0, 5), (100.0, 100)] {
            let (interval, block) = plan(per_second);
            let mut free_at = 0;
            let mut sent = Vec::new();
            for round in 0..400_i64 {
                // Blocks go to the instances in turn.
                let (instance, first) = (round % 4, free_at);
                free_at += interval * i64::from(block);
                let mut slots = Slots {
                    next: first,
                    interval,
                    left: block,
                };
                let now = first + round * 7_919 % 250_000;
                while let Some(slot) = slots.take(now) {
                    let delay = (slot * 31 + round) % (SLACK + 1);
                    let clock = instance * CLOCKS / 3;
                    sent.push(slot.max(now).max(slot + delay).min(slot + SLACK) + clock);
                }
            }
            sent.sort_unstable();
            for start in 0..sent.len().saturating_sub(most) {
                let within = sent[start + most] - sent[start];
                assert!(within >= 1_000_000, "{per_second}: {within}");
            }
        }
    }

    #[test]
    fn slots_that_are_over_are_dropped() {
        let mut slots = Slots {
            next: 0,
            interval: 200_000,
            left: 3,
        };
        assert_eq!(slots.take(350_000), Some(400_000));
        assert_eq!(slots.take(400_000), None);
    }
}
