use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::dynamo::Updated;
use crate::item::{corrupt, number, permits_key};
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Seconds after the start of a window in which `DynamoDB` keeps its item; clocks differ by less.
const KEPT_SECONDS: i64 = 3600;

/// Permits of a name in windows of time, shared by all who ask.
#[async_trait]
pub trait PermitTable: Send + Sync {
    /// Takes up to `block` of the `allowance` permits that a name has in a window; gives how many it were, none
    /// when they are used up. `window` is its start in seconds since 1970.
    ///
    /// A lost answer costs a block, never more than the allowance is given out.
    async fn take_permits(
        &self,
        name: &str,
        window: i64,
        block: u32,
        allowance: u32,
    ) -> Result<u32, LedgerError>;
}

/// How many permits the block was that raised the number of those taken to `taken`.
fn granted(taken: u64, block: u32, allowance: u32) -> u32 {
    let before = taken.saturating_sub(block.into());
    let left = u64::from(allowance).saturating_sub(before);
    u32::try_from(left).map_or(block, |left| left.min(block))
}

#[async_trait]
impl PermitTable for DynamoTable {
    async fn take_permits(
        &self,
        name: &str,
        window: i64,
        block: u32,
        allowance: u32,
    ) -> Result<u32, LedgerError> {
        let key = permits_key(name, window);
        let update = self
            .update(&key)
            .condition_expression("attribute_not_exists(taken) OR taken < :allowance")
            .update_expression("SET expires_at = :expires_at ADD taken :block")
            .expression_attribute_values(":allowance", number(allowance))
            .expression_attribute_values(":expires_at", number(window + KEPT_SECONDS))
            .expression_attribute_values(":block", number(block));
        let Updated::Now(item) = self.send(key.clone(), update).await? else {
            return Ok(0);
        };
        let Some(AttributeValue::N(taken)) = item.get("taken") else {
            return Err(corrupt(&key, &"no number of permits"));
        };
        let taken = taken.parse().map_err(|error| corrupt(&key, &error))?;
        Ok(granted(taken, block, allowance))
    }
}

#[async_trait]
impl PermitTable for MemoryTable {
    async fn take_permits(
        &self,
        name: &str,
        window: i64,
        block: u32,
        allowance: u32,
    ) -> Result<u32, LedgerError> {
        let mut items = self.items();
        let taken = items.permits.entry((name.to_owned(), window)).or_default();
        if *taken >= allowance.into() {
            return Ok(0);
        }
        *taken += u64::from(block);
        Ok(granted(*taken, block, allowance))
    }
}
