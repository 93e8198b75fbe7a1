use async_trait::async_trait;
use landfall_aws::dynamo::{number, require};

use crate::dynamo::Updated;
use crate::item::permits_key;
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Seconds from the start of a window until `DynamoDB` may delete its item. Clocks differ by less.
const LIFETIME_SECONDS: i64 = 3600;

/// Permits of a name in time windows, shared by all callers.
#[async_trait]
pub trait PermitTable: Send + Sync {
    /// Takes up to `block` of the `allowance` permits that a name has in a window. Returns how many it took: 0 if none
    /// are left. `window` is the start of the window in seconds since 1970.
    ///
    /// A lost response wastes a block. Never more than the allowance is granted.
    async fn take_permits(
        &self,
        name: &str,
        window: i64,
        block: u32,
        allowance: u32,
    ) -> Result<u32, LedgerError>;
}

/// Returns how many permits a new block grants when `taken` of the allowance are taken already.
fn granted(taken: u32, block: u32, allowance: u32) -> u32 {
    debug_assert!(taken < allowance, "{taken} of {allowance} permits");
    (allowance - taken).min(block)
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
            .expression_attribute_values(":expires_at", number(window + LIFETIME_SECONDS))
            .expression_attribute_values(":block", number(block));
        let Updated::Applied(item) = self.send(key.clone(), update).await? else {
            return Ok(0);
        };
        let taken: u32 =
            require(&item, "taken").map_err(|error| LedgerError::corrupt(&key, error))?;
        match taken.checked_sub(block) {
            Some(before) if before < allowance => Ok(granted(before, block, allowance)),
            _ => Err(LedgerError::corrupt(
                &key,
                "the number of taken permits is wrong",
            )),
        }
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
        if *taken >= allowance {
            return Ok(0);
        }
        let granted = granted(*taken, block, allowance);
        *taken += block;
        Ok(granted)
    }
}
