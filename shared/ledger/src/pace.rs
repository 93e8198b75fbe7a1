use async_trait::async_trait;
use landfall_aws::dynamo::{Item, find, number, require};

use crate::dynamo::Updated;
use crate::item::{pace_day_key, pace_key};
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Seconds after its last slot until `DynamoDB` may delete the item of a host.
const LIFETIME_SECONDS: i64 = 3600;
/// Seconds after its first request until `DynamoDB` may delete the item of a day.
const DAY_SECONDS: i64 = 2 * 24 * 3600;
const MICROS: i64 = 1_000_000;
/// How often a block is tried to be taken while other callers take blocks.
const ATTEMPTS: u32 = 10;

/// A block of slots to take. `now` and `latest` are in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The present: no slot is before it.
    pub now: i64,
    /// The latest time for the first slot.
    pub latest: i64,
    /// The time between two slots in microseconds.
    pub interval: i64,
    /// The number of slots.
    pub slots: u32,
}

/// What a caller gets who requests a block. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The block, whose first slot is at this time.
    From(i64),
    /// Nothing: the next free slot is at this time, later than requested.
    NotBefore(i64),
}

/// Time slots for the requests to a host, shared by all callers.
#[async_trait]
pub trait PaceTable: Send + Sync {
    /// Takes the next slots of a host. A lost response wastes a block. No slot is granted twice.
    async fn take_slots(&self, host: &str, block: &Block) -> Result<Granted, LedgerError>;

    /// Grants no slots of a host before `until`, in microseconds since 1970. Those that are granted remain so.
    async fn pause_host(&self, host: &str, until: i64) -> Result<(), LedgerError>;

    /// Counts a request to a host at `now`, in microseconds since 1970, unless `most` are counted already on that day,
    /// in UTC. Returns whether it was counted. A lost response counts a request twice.
    async fn count_request(&self, host: &str, now: i64, most: u64) -> Result<bool, LedgerError>;
}

/// Returns the number of the day since 1970.
fn day(now: i64) -> i64 {
    now.div_euclid(MICROS * 24 * 3600)
}

impl Block {
    fn length(&self) -> i64 {
        self.interval.saturating_mul(i64::from(self.slots))
    }
}

fn free_at(key: &str, item: &Item) -> Result<Option<i64>, LedgerError> {
    find(item, "free_at").map_err(|error| LedgerError::corrupt(key, error))
}

#[async_trait]
impl PaceTable for DynamoTable {
    async fn take_slots(&self, host: &str, block: &Block) -> Result<Granted, LedgerError> {
        let key = pace_key(host);
        for _ in 0..ATTEMPTS {
            // After the slots of others, or if these have passed, from now on.
            let queued = self
                .update(&key)
                .condition_expression("free_at BETWEEN :now AND :latest")
                .update_expression("ADD free_at :length SET expires_at = :expires_at")
                .expression_attribute_values(":latest", number(block.latest))
                .expression_attribute_values(":length", number(block.length()));
            let idle = self
                .update(&key)
                .condition_expression("attribute_not_exists(free_at) OR free_at < :now")
                .update_expression("SET free_at = :end, expires_at = :expires_at")
                .expression_attribute_values(":end", number(block.now + block.length()));
            for update in [idle, queued] {
                let expires_at = block.latest / MICROS + LIFETIME_SECONDS;
                let update = update
                    .expression_attribute_values(":now", number(block.now))
                    .expression_attribute_values(":expires_at", number(expires_at));
                match self.send(key.clone(), update).await? {
                    Updated::Applied(item) => {
                        let end: i64 = require(&item, "free_at")
                            .map_err(|error| LedgerError::corrupt(&key, error))?;
                        return Ok(Granted::From(end - block.length()));
                    }
                    Updated::Unmet(item) => {
                        let later = free_at(&key, &item)?.filter(|at| *at > block.latest);
                        if let Some(later) = later {
                            return Ok(Granted::NotBefore(later));
                        }
                    }
                }
            }
        }
        Err(LedgerError::corrupt(
            &key,
            "it never stayed the same between two updates",
        ))
    }

    async fn pause_host(&self, host: &str, until: i64) -> Result<(), LedgerError> {
        let key = pace_key(host);
        let update = self
            .update(&key)
            .condition_expression("attribute_not_exists(free_at) OR free_at < :until")
            .update_expression("SET free_at = :until, expires_at = :expires_at")
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":expires_at", number(until / MICROS + LIFETIME_SECONDS));
        self.send(key.clone(), update).await.map(drop)
    }

    async fn count_request(&self, host: &str, now: i64, most: u64) -> Result<bool, LedgerError> {
        let key = pace_day_key(host, day(now));
        let update = self
            .update(&key)
            .condition_expression("attribute_not_exists(requests) OR requests < :most")
            .update_expression("ADD requests :one SET expires_at = :expires_at")
            .expression_attribute_values(":most", number(most))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":expires_at", number(now / MICROS + DAY_SECONDS));
        let sent = self.send(key.clone(), update).await?;
        Ok(matches!(sent, Updated::Applied(_)))
    }
}

#[async_trait]
impl PaceTable for MemoryTable {
    async fn take_slots(&self, host: &str, block: &Block) -> Result<Granted, LedgerError> {
        let mut items = self.items();
        let free_at = items.slots.entry(pace_key(host)).or_default();
        if *free_at > block.latest {
            return Ok(Granted::NotBefore(*free_at));
        }
        let first = block.now.max(*free_at);
        *free_at = first + block.length();
        Ok(Granted::From(first))
    }

    async fn pause_host(&self, host: &str, until: i64) -> Result<(), LedgerError> {
        let mut items = self.items();
        let free_at = items.slots.entry(pace_key(host)).or_default();
        *free_at = until.max(*free_at);
        Ok(())
    }

    async fn count_request(&self, host: &str, now: i64, most: u64) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let requests = items
            .requests
            .entry(pace_day_key(host, day(now)))
            .or_default();
        let is_counted = *requests < most;
        *requests += u64::from(is_counted);
        Ok(is_counted)
    }
}
