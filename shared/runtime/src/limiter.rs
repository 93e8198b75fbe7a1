//! Limits the requests and messages of each token, over all instances of all functions.
//!
//! A Lambda instance handles one request at a time and has no view of the others, so a limit within one instance
//! would never apply. Requests to the HTTP API and messages to the WebSocket API are therefore counted together in the
//! ledger, in items `rate#<token>/<start>`, for windows of five seconds. An instance takes a twentieth of the window's
//! allowance with one `UpdateItem` and spends it from memory. What is left at the end of the window is lost.
//!
//! No window thus admits more requests than its allowance, and each write covers a block of requests. Because the
//! window is part of the key, nothing has to be reset, and instances whose clocks differ do no harm. If the ledger
//! is unavailable, nothing is admitted: the functions could not show rows or jobs either.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use landfall_ledger::{LedgerError, PermitTable};
use tokio::sync::Mutex as AsyncMutex;

/// Length of a window in seconds.
const WINDOW: u32 = 5;
/// The most tokens whose permits are held. Rows can have tokens, so their number has no other bound.
const MAX_HELD: usize = 10_000;
/// Blocks in an allowance. They are small, because unspent permits are lost when the window ends.
const BLOCKS: u32 = 20;

/// Why a request is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The token has used up its allowance; in so many seconds, it gets the next one.
    #[error("wait {0} s, then try again")]
    TooMany(u64),
    /// The ledger does not count.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The permits that this instance holds for a token.
#[derive(Default)]
struct Held {
    /// Start of their window in seconds since 1970.
    window: i64,
    left: u32,
    /// Whether the ledger has no more.
    used_up: bool,
}

/// Admits the requests of each token up to a rate.
pub struct Limiter {
    table: Arc<dyn PermitTable>,
    /// Permits of a token in a window.
    allowance: u32,
    /// Permits by the name of their token. The inner lock makes concurrent requests
    /// acquire one block together.
    held: Mutex<HashMap<String, Arc<AsyncMutex<Held>>>>,
}

impl Limiter {
    /// Creates a limiter for this rate of each token, on average over a window.
    pub fn new(table: Arc<dyn PermitTable>, per_second: NonZeroU32) -> Self {
        Self {
            table,
            // More than 800 million requests a second are no limit anyway.
            allowance: per_second.get().saturating_mul(WINDOW),
            held: Mutex::default(),
        }
    }

    /// Admits a request, or returns an error with the time to wait. If the ledger is not available, no request is
    /// admitted: nearly all of them need it anyway.
    pub async fn admit(&self, token: &str, now: Timestamp) -> Result<(), LimitError> {
        let window = now.as_second() - now.as_second().rem_euclid(WINDOW.into());
        let held = self.held(token);
        let mut held = held.lock().await;
        if held.window != window {
            *held = Held {
                window,
                ..Held::default()
            };
        }
        if held.left == 0 && !held.used_up {
            let block = self.allowance.div_ceil(BLOCKS);
            held.left = self
                .table
                .take_permits(token, window, block, self.allowance)
                .await?;
            held.used_up = held.left < block;
        }
        let Some(left) = held.left.checked_sub(1) else {
            return Err(LimitError::TooMany(until_end(window, now)));
        };
        held.left = left;
        Ok(())
    }

    fn held(&self, token: &str) -> Arc<AsyncMutex<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_HELD && !held.contains_key(token) {
            // They only cost further blocks.
            held.clear();
        }
        held.entry(token.to_owned()).or_default().clone()
    }
}

/// Returns the seconds until a window ends, rounded up.
fn until_end(window: i64, now: Timestamp) -> u64 {
    let end = SignedDuration::from_secs(window + i64::from(WINDOW));
    let left = end - now.duration_since(Timestamp::UNIX_EPOCH);
    debug_assert!(left.is_positive(), "{now} is not in the window at {window}");
    // At the very end of a second, one more than necessary.
    left.as_secs().unsigned_abs() + 1
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use futures::future::join_all;
    use landfall_aws::AwsError;
    use landfall_ledger::{LedgerError, MemoryTable};

    use super::*;

    /// A table that counts writes.
    #[derive(Default)]
    struct Counting {
        table: MemoryTable,
        writes: AtomicU32,
        is_down: bool,
    }

    #[async_trait]
    impl PermitTable for Counting {
        async fn take_permits(
            &self,
            name: &str,
            window: i64,
            block: u32,
            allowance: u32,
        ) -> Result<u32, LedgerError> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            // Let other requests run.
            tokio::task::yield_now().await;
            if self.is_down {
                return Err(AwsError::unavailable("UpdateItem", name, "down").into());
            }
            self.table
                .take_permits(name, window, block, allowance)
                .await
        }
    }

    fn instances(table: &Arc<Counting>, number: usize, per_second: u32) -> Vec<Limiter> {
        let per_second = per_second.try_into().unwrap();
        (0..number)
            .map(|_| Limiter::new(Arc::clone(table) as Arc<dyn PermitTable>, per_second))
            .collect()
    }

    fn at(seconds: &str) -> Timestamp {
        format!("2026-11-21T12:00:{seconds}Z").parse().unwrap()
    }

    /// Distributes requests over the instances, and returns how many are admitted.
    async fn admitted(
        instances: &[Limiter],
        token: &str,
        requests: usize,
        now: Timestamp,
    ) -> usize {
        let admissions = instances
            .iter()
            .cycle()
            .take(requests)
            .map(|instance| instance.admit(token, now));
        let results = join_all(admissions).await;
        results.iter().filter(|result| result.is_ok()).count()
    }

    #[tokio::test]
    async fn instances_together_admit_no_more_than_the_allowance_of_a_window() {
        for per_second in [1, 3, 7, 100, 333] {
            for number in [1, 2, 5, 20] {
                let table = Arc::new(Counting::default());
                let instances = instances(&table, number, per_second);
                let allowance = 5 * per_second as usize;
                for second in ["00", "04.9", "05", "10"] {
                    let admitted_now = admitted(&instances, "a", 3 * allowance, at(second)).await;
                    let expected = if second == "04.9" { 0 } else { allowance };
                    assert_eq!(
                        admitted_now, expected,
                        "{per_second} per second, {number} instances"
                    );
                }
                // Other tokens are not affected.
                assert_eq!(admitted(&instances, "b", 1, at("10")).await, 1);
            }
        }
    }

    #[tokio::test]
    async fn each_block_and_each_instance_that_finds_no_more_permits_costs_one_write() {
        let table = Arc::new(Counting::default());
        let instances = instances(&table, 3, 100);
        admitted(&instances, "a", 10_000, at("00")).await;
        let writes = table.writes.load(Ordering::Relaxed);
        assert!((20..=23).contains(&writes), "{writes}");
        admitted(&instances, "a", 10_000, at("01")).await;
        assert_eq!(table.writes.load(Ordering::Relaxed), writes);
    }

    #[tokio::test]
    async fn a_refused_request_can_be_repeated_in_the_next_window() {
        let table = Arc::new(Counting::default());
        let instance = instances(&table, 1, 1).remove(0);
        for _ in 0..5 {
            instance.admit("a", at("06")).await.unwrap();
        }
        let Err(LimitError::TooMany(wait)) = instance.admit("a", at("07.25")).await else {
            panic!("admitted");
        };
        assert_eq!(wait, 3);
        instance.admit("a", at("10")).await.unwrap();
    }

    #[tokio::test]
    async fn without_the_ledger_no_request_is_admitted_and_all_can_be_retried() {
        let table = Arc::new(Counting {
            is_down: true,
            ..Counting::default()
        });
        let instance = instances(&table, 1, 1).remove(0);
        let result = instance.admit("a", at("00")).await;
        assert!(matches!(result, Err(LimitError::Ledger(error)) if error.retryable()));
    }
}
