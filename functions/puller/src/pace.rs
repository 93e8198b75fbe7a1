//! When requests may be sent: time slots in the ledger, which all instances share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_fetch::{Pace, PaceError};
use landfall_ledger::{LedgerError, PaceTable};
use landfall_runtime::{SlotError, Slots, SystemClock};
use landfall_sources::Limits;

/// The pace of all instances together: a request is sent in a slot of its host.
///
/// A host that asks for a pause gets no slots until it is over.
pub struct LedgerPace {
    table: Arc<dyn PaceTable>,
    slots: Slots,
}

impl LedgerPace {
    /// Returns the pace that everybody has who uses this table.
    pub fn new(table: Arc<dyn PaceTable>) -> Self {
        Self {
            slots: Slots::new(Arc::clone(&table), Arc::new(SystemClock)),
            table,
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

#[async_trait]
impl Pace for LedgerPace {
    async fn wait(&self, host: &str, limits: &Limits) -> Result<(), PaceError> {
        let mut is_counted = false;
        loop {
            let slot = self.slots.take(host, limits.requests_per_second).await;
            let slot = slot.map_err(|error| match error {
                SlotError::Ledger(error) => failed(&error),
                SlotError::Wait(wait) => PaceError::Wait(wait),
            })?;
            // Only a request that gets a slot, and only once.
            if !is_counted {
                self.count(host, limits).await?;
                is_counted = true;
            }
            if self.slots.arrive(slot).await {
                return Ok(());
            }
        }
    }

    async fn pause(&self, host: &str, pause: Duration) -> Result<(), PaceError> {
        let paused = self.slots.pause(host, pause).await;
        paused.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use landfall_ledger::MemoryTable;
    use tokio::time::timeout;

    use super::*;

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
