//! How often a token may ask, over all instances.
//!
//! An instance of a Lambda function answers one request at a time, so no limit of its own would ever act. Permits
//! are in the ledger, for windows of some seconds. An instance takes a block of them by one write, and spends them
//! from memory while the window lasts.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use landfall_ledger::PermitTable;
use tokio::sync::Mutex as AsyncMutex;

use crate::ApiError;

/// Seconds of a window.
const WINDOW: u32 = 5;
/// Blocks that an allowance is taken in. What instances hold when a window ends is lost, so they are small.
const BLOCKS: u32 = 20;

/// The permits of a token that this instance has.
#[derive(Default)]
struct Held {
    /// Start of their window, seconds since 1970.
    window: i64,
    left: u32,
    /// Whether there are no more to take.
    used_up: bool,
}

pub(crate) struct Limiter {
    table: Arc<dyn PermitTable>,
    /// Requests of a token in a window.
    allowance: u32,
    /// By names of tokens, of which there are no more than the list has. The inner lock makes those who run out
    /// at the same time take one block.
    held: Mutex<HashMap<String, Arc<AsyncMutex<Held>>>>,
}

impl Limiter {
    /// Admits so many requests of each token a second, on average over a window.
    pub(crate) fn new(table: Arc<dyn PermitTable>, a_second: NonZeroU32) -> Self {
        Self {
            table,
            allowance: a_second.get().saturating_mul(WINDOW),
            held: Mutex::default(),
        }
    }

    /// Admits a request that comes now, or says how long to wait. Where the ledger can't be asked nobody is
    /// admitted: nearly every request needs it anyway.
    pub(crate) async fn admit(&self, token: &str, now: Timestamp) -> Result<(), ApiError> {
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
            return Err(ApiError::TooMany(until_end(window, now)));
        };
        held.left = left;
        Ok(())
    }

    fn held(&self, token: &str) -> Arc<AsyncMutex<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.get(token) {
            return Arc::clone(held);
        }
        Arc::clone(held.entry(token.to_owned()).or_default())
    }
}

/// How long a window still lasts.
fn until_end(window: i64, now: Timestamp) -> std::time::Duration {
    let gone = now.duration_since(Timestamp::UNIX_EPOCH) - SignedDuration::from_secs(window);
    let left = SignedDuration::from_secs(WINDOW.into()) - gone;
    left.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use futures::future::join_all;
    use landfall_aws::AwsError;
    use landfall_ledger::{LedgerError, MemoryTable};

    use super::*;

    /// A table that counts its writes.
    #[derive(Default)]
    struct Counting {
        table: MemoryTable,
        writes: AtomicU32,
        away: bool,
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
            // Others come in between.
            tokio::task::yield_now().await;
            if self.away {
                return Err(AwsError::unavailable("UpdateItem", name, "away").into());
            }
            self.table
                .take_permits(name, window, block, allowance)
                .await
        }
    }

    fn instances(table: &Arc<Counting>, number: usize, a_second: u32) -> Vec<Limiter> {
        let a_second = a_second.try_into().unwrap();
        (0..number)
            .map(|_| Limiter::new(Arc::clone(table) as Arc<dyn PermitTable>, a_second))
            .collect()
    }

    fn at(seconds: &str) -> Timestamp {
        format!("2026-11-21T12:00:{seconds}Z").parse().unwrap()
    }

    /// How many of so many requests, given to the instances in turn, are admitted.
    async fn admitted(among: &[Limiter], token: &str, requests: usize, now: Timestamp) -> usize {
        let asked = among
            .iter()
            .cycle()
            .take(requests)
            .map(|one| one.admit(token, now));
        let answers = join_all(asked).await;
        answers.iter().filter(|answer| answer.is_ok()).count()
    }

    #[tokio::test]
    async fn instances_together_admit_no_more_than_the_allowance_of_a_window() {
        for a_second in [1, 3, 7, 100, 333] {
            for number in [1, 2, 5, 20] {
                let table = Arc::new(Counting::default());
                let instances = instances(&table, number, a_second);
                let allowance = 5 * a_second as usize;
                for second in ["00", "04.9", "05", "10"] {
                    let of_token = admitted(&instances, "a", 3 * allowance, at(second)).await;
                    let expected = if second == "04.9" { 0 } else { allowance };
                    assert_eq!(
                        of_token, expected,
                        "{a_second} a second, {number} instances"
                    );
                }
                // Others are not touched by it.
                assert_eq!(admitted(&instances, "b", 1, at("10")).await, 1);
            }
        }
    }

    #[tokio::test]
    async fn a_block_is_one_write_and_so_is_each_instance_that_finds_nothing_left() {
        let table = Arc::new(Counting::default());
        let instances = instances(&table, 3, 100);
        admitted(&instances, "a", 10_000, at("00")).await;
        let writes = table.writes.load(Ordering::Relaxed);
        assert!((20..=23).contains(&writes), "{writes}");
        admitted(&instances, "a", 10_000, at("01")).await;
        assert_eq!(table.writes.load(Ordering::Relaxed), writes);
    }

    #[tokio::test]
    async fn who_is_refused_is_told_when_the_next_window_begins() {
        let table = Arc::new(Counting::default());
        let instance = instances(&table, 1, 1).remove(0);
        for _ in 0..5 {
            instance.admit("a", at("06")).await.unwrap();
        }
        let Err(ApiError::TooMany(wait)) = instance.admit("a", at("07.25")).await else {
            panic!("admitted");
        };
        assert_eq!(wait, std::time::Duration::from_millis(2_750));
        instance.admit("a", at("10")).await.unwrap();
    }

    #[tokio::test]
    async fn without_the_ledger_nobody_is_admitted_and_may_try_again() {
        let table = Arc::new(Counting {
            away: true,
            ..Counting::default()
        });
        let instance = instances(&table, 1, 1).remove(0);
        let answer = instance.admit("a", at("00")).await;
        assert!(matches!(answer, Err(ApiError::Unavailable(_))));
    }
}
