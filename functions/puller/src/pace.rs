//! When requests may be sent: time slots in the ledger, which all instances share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_fetch::{Pace, PaceError};
use landfall_ledger::{Block, Granted, LedgerError, PaceTable};
use landfall_sources::Limits;
use tokio::time::sleep;

const SECOND: f64 = 1_000_000.0;
/// How late a request may be sent in its slot, in microseconds.
const SLACK: i64 = 100_000;
/// How much the clocks of two instances may differ, in microseconds.
const CLOCKS: i64 = 50_000;
/// How long before they begin slots are taken, in microseconds: those that are taken ignore a pause.
const AHEAD: i64 = 1_000_000;
/// How long a request waits for its slot at most, in microseconds. A walk that would have to wait for longer goes on in
/// a later invocation.
const PATIENCE: i64 = 60_000_000;

/// The pace of all instances together.
///
/// Each instance takes blocks of slots, and sends one request in each, at most 0.1 seconds late; later ones are dropped.
/// Slots are so far apart that no second by the times of sending has more requests than are allowed: in a second and
/// the slack before it, and the difference of two clocks, there are not more slots.
///
/// A host that asks for a pause gets no slots until it is over. Those that other instances have taken before are over
/// within two seconds.
pub struct LedgerPace {
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
    /// Returns the pace that everybody has who uses this table.
    pub fn new(table: Arc<dyn PaceTable>) -> Self {
        Self {
            table,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Slots>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot that is kept, or else a block of slots.
    async fn take(&self, host: &str, limits: &Limits) -> Result<i64, PaceError> {
        let (interval, slots) = plan(limits.requests_per_second);
        loop {
            let now = Timestamp::now().as_microsecond();
            if let Some(slot) = self.kept().get_mut(host).and_then(|kept| kept.take(now)) {
                return Ok(slot);
            }
            let block = Block {
                now,
                latest: now + AHEAD,
                interval,
                slots,
            };
            match self
                .table
                .take_slots(host, &block)
                .await
                .map_err(|error| failed(&error))?
            {
                Granted::From(next) => {
                    let slots = Slots {
                        next,
                        interval,
                        left: slots,
                    };
                    self.kept().insert(host.to_owned(), slots);
                }
                Granted::NotBefore(time) if time - now > PATIENCE => {
                    return Err(PaceError::Wait(until(time)));
                }
                Granted::NotBefore(time) => sleep(until(time - AHEAD)).await,
            }
        }
    }

    /// Counts a request of today, unless there are none left.
    async fn count(&self, host: &str, limits: &Limits) -> Result<(), PaceError> {
        let Some(most) = limits.requests_per_day else {
            return Ok(());
        };
        let now = Timestamp::now().as_microsecond();
        let counted = self.table.count_request(host, now, most).await;
        if counted.map_err(|error| failed(&error))? {
            return Ok(());
        }
        let host = host.to_owned();
        Err(PaceError::Day { host, most })
    }
}

fn failed(error: &LedgerError) -> PaceError {
    PaceError::Unavailable {
        retryable: error.retryable(),
        reason: error.to_string(),
    }
}

/// Returns the time until a point in time in microseconds.
fn until(time: i64) -> Duration {
    let left = time - Timestamp::now().as_microsecond();
    Duration::from_micros(u64::try_from(left).unwrap_or(0))
}

#[async_trait]
impl Pace for LedgerPace {
    async fn wait(&self, host: &str, limits: &Limits) -> Result<(), PaceError> {
        let mut is_counted = false;
        loop {
            let slot = self.take(host, limits).await?;
            // Only a request that gets a slot, and only once.
            if !is_counted {
                self.count(host, limits).await?;
                is_counted = true;
            }
            sleep(until(slot)).await;
            // On a busy machine, the process may get its turn too late.
            if slot + SLACK >= Timestamp::now().as_microsecond() {
                return Ok(());
            }
        }
    }

    async fn pause(&self, host: &str, pause: Duration) -> Result<(), PaceError> {
        self.kept().remove(host);
        let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        let end = Timestamp::now().as_microsecond().saturating_add(pause);
        self.table
            .pause_host(host, end)
            .await
            .map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use landfall_ledger::MemoryTable;
    use tokio::time::timeout;

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

    fn limits(per_second: f64, per_day: Option<u64>) -> Limits {
        Limits {
            requests_per_second: per_second,
            requests_per_day: per_day,
            bytes: 1,
            pages: 1,
            seconds: 1,
            response_bytes: 1,
        }
    }

    #[tokio::test]
    async fn a_host_that_asks_for_a_pause_gets_no_request_of_any_instance() {
        let table: Arc<dyn PaceTable> = Arc::new(MemoryTable::default());
        let (first, second) = (LedgerPace::new(Arc::clone(&table)), LedgerPace::new(table));
        let limits = limits(1000.0, None);
        first.wait("a.example", &limits).await.unwrap();
        first
            .pause("a.example", Duration::from_secs(30))
            .await
            .unwrap();
        for pace in [&first, &second] {
            let waited = timeout(Duration::from_millis(300), pace.wait("a.example", &limits)).await;
            assert!(waited.is_err(), "a request is sent in the pause");
            pace.wait("b.example", &limits).await.unwrap();
        }
        // A pause that is too long to be waited for is returned.
        second
            .pause("a.example", Duration::from_mins(30))
            .await
            .unwrap();
        let error = first.wait("a.example", &limits).await.unwrap_err();
        assert!(
            matches!(error, PaceError::Wait(wait) if wait > Duration::from_mins(29)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn no_more_requests_are_sent_on_a_day_than_allowed() {
        let table: Arc<dyn PaceTable> = Arc::new(MemoryTable::default());
        let paces = [LedgerPace::new(Arc::clone(&table)), LedgerPace::new(table)];
        let limits = limits(1000.0, Some(3));
        for request in 0..3 {
            paces[request % 2].wait("a.example", &limits).await.unwrap();
        }
        for pace in &paces {
            let error = pace.wait("a.example", &limits).await.unwrap_err();
            assert!(matches!(error, PaceError::Day { most: 3, .. }), "{error}");
            pace.wait("b.example", &limits).await.unwrap();
        }
    }
}
