//! When requests may be sent: time slots in the ledger, which all instances share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_ledger::{Block, Granted, LedgerError, PaceTable};

use crate::Clock;

const SECOND: f64 = 1_000_000.0;
/// How late a request may be sent in its slot, in microseconds.
const SLACK: i64 = 100_000;
/// How much the clocks of two instances may differ, in microseconds.
const CLOCKS: i64 = 50_000;
/// How long before they begin slots are taken, in microseconds: those that are taken ignore a pause.
const AHEAD: i64 = 1_000_000;
/// How long a request waits for its slot at most, in microseconds. What has to wait for longer goes on in a
/// later invocation.
const PATIENCE: i64 = 60_000_000;

/// Time slots of names, such as hosts.
///
/// Each instance takes blocks of slots, and sends one request in each, at most 0.1 seconds late. Later slots are
/// dropped.
/// Slots are so far apart that no second by the times of sending has more requests than are allowed: in a second and
/// the slack before it, and the difference of two clocks, there are not more slots.
pub struct Slots {
    table: Arc<dyn PaceTable>,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<String, Kept>>,
    /// Names whose next block is being taken: others that wait for one share it.
    taking: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Why there is no slot.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The next slot is only after this time, which is long.
    #[error("the next request may be sent in {} seconds", .0.as_secs())]
    Wait(Duration),
}

/// Slots that an instance has taken. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    next: i64,
    interval: i64,
    left: u32,
}

impl Kept {
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
    reason = "a definition allows from 0.001 to 10,000 requests in a second"
)]
fn plan(per_second: f64) -> (i64, u32) {
    let period = (SECOND / per_second).max(SECOND);
    let requests = (period / SECOND * per_second).floor().max(1.0);
    let interval = (period + (SLACK + CLOCKS) as f64) / requests;
    // What half a second needs: slots that are left at the end of a run are lost.
    (interval.ceil() as i64, (requests / 2.0).max(1.0) as u32)
}

impl Slots {
    /// Returns the slots that all users of this table share.
    pub fn new(table: Arc<dyn PaceTable>, clock: Arc<dyn Clock>) -> Self {
        Self {
            table,
            clock,
            kept: Mutex::default(),
            taking: Mutex::default(),
        }
    }

    fn taking(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(taking.entry(name.to_owned()).or_default())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    /// Takes a slot of a name, of which there are `per_second`. Returns its time in microseconds since 1970.
    pub async fn take(&self, name: &str, per_second: f64) -> Result<i64, SlotError> {
        let take_kept = || {
            let now = self.micros();
            self.kept().get_mut(name).and_then(|kept| kept.take(now))
        };
        if let Some(slot) = take_kept() {
            return Ok(slot);
        }
        let (interval, slots) = plan(per_second);
        let taking = self.taking(name);
        let _guard = taking.lock().await;
        loop {
            if let Some(slot) = take_kept() {
                return Ok(slot);
            }
            let now = self.micros();
            let block = Block {
                now,
                latest: now + AHEAD,
                interval,
                slots,
            };
            match self.table.take_slots(name, &block).await? {
                Granted::From(next) => {
                    let slots = Kept {
                        next,
                        interval,
                        left: slots,
                    };
                    self.kept().insert(name.to_owned(), slots);
                }
                Granted::NotBefore(time) if time - now > PATIENCE => {
                    return Err(SlotError::Wait(self.until(time)));
                }
                Granted::NotBefore(time) => self.clock.sleep(self.until(time - AHEAD)).await,
            }
        }
    }

    /// Waits until a slot begins, and returns whether its request can be sent: on a busy machine, the process may
    /// continue too late.
    pub async fn arrive(&self, slot: i64) -> bool {
        self.clock.sleep(self.until(slot)).await;
        slot + SLACK >= self.micros()
    }

    /// Grants no slots of a name for this time. Those that other instances have taken before are over within two
    /// seconds.
    pub async fn pause(&self, name: &str, pause: Duration) -> Result<(), LedgerError> {
        self.kept().remove(name);
        let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        let end = self.micros().saturating_add(pause);
        self.table.pause_host(name, end).await
    }

    /// Returns the time until a point in time in microseconds.
    fn until(&self, time: i64) -> Duration {
        Duration::from_micros(u64::try_from(time - self.micros()).unwrap_or(0))
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
                let mut slots = Kept {
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
        let mut slots = Kept {
            next: 0,
            interval: 200_000,
            left: 3,
        };
        assert_eq!(slots.take(350_000), Some(400_000));
        assert_eq!(slots.take(400_000), None);
    }
}
