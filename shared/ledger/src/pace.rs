use async_trait::async_trait;
use landfall_aws::dynamo::{number, require};

use crate::dynamo::Updated;
use crate::item::pace_key;
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Seconds after its last slot until `DynamoDB` may delete the item of a host.
const LIFETIME_SECONDS: i64 = 3600;
const MICROS: i64 = 1_000_000;
/// How often a block is tried to be taken while other callers take blocks.
const ATTEMPTS: u32 = 10;

/// Slots in time for the requests to a host, shared by all callers.
#[async_trait]
pub trait PaceTable: Send + Sync {
    /// Takes the next `block` slots of a host, which are `interval` apart. Returns the time of the first one, not before
    /// `now`. All times are in microseconds, those of slots since 1970.
    ///
    /// A lost response wastes a block. No slot is granted twice.
    async fn take_slots(
        &self,
        host: &str,
        now: i64,
        interval: i64,
        block: u32,
    ) -> Result<i64, LedgerError>;
}

#[async_trait]
impl PaceTable for DynamoTable {
    async fn take_slots(
        &self,
        host: &str,
        now: i64,
        interval: i64,
        block: u32,
    ) -> Result<i64, LedgerError> {
        let key = pace_key(host);
        let length = interval.saturating_mul(i64::from(block));
        for _ in 0..ATTEMPTS {
            // After the slots of others, or if these have passed, from now on.
            let queued = self
                .update(&key)
                .condition_expression("free_at >= :now")
                .update_expression("ADD free_at :length SET expires_at = :expires_at")
                .expression_attribute_values(":length", number(length));
            let idle = self
                .update(&key)
                .condition_expression("attribute_not_exists(free_at) OR free_at < :now")
                .update_expression("SET free_at = :end, expires_at = :expires_at")
                .expression_attribute_values(":end", number(now.saturating_add(length)));
            for update in [idle, queued] {
                let expires_at = now / MICROS + LIFETIME_SECONDS;
                let update = update
                    .expression_attribute_values(":now", number(now))
                    .expression_attribute_values(":expires_at", number(expires_at));
                if let Updated::Applied(item) = self.send(key.clone(), update).await? {
                    let end: i64 = require(&item, "free_at")
                        .map_err(|error| LedgerError::corrupt(&key, error))?;
                    return Ok(end - length);
                }
            }
        }
        Err(LedgerError::corrupt(
            &key,
            "it never stayed the same between two updates",
        ))
    }
}

#[async_trait]
impl PaceTable for MemoryTable {
    async fn take_slots(
        &self,
        host: &str,
        now: i64,
        interval: i64,
        block: u32,
    ) -> Result<i64, LedgerError> {
        let mut items = self.items();
        let free_at = items.slots.entry(host.to_owned()).or_default();
        let first = now.max(*free_at);
        *free_at = first + interval * i64::from(block);
        Ok(first)
    }
}
