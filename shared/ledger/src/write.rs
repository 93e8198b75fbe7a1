use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{find, number, require, text, to_item};
use landfall_domain::{
    DatasetRef, RowOutcome, StoreKind, WriteId, WriteOperation, WriteProblem, WriteState,
};
use serde::{Deserialize, Serialize};

use crate::dynamo::{Updated, attribute};
use crate::item::{clock_key, dataset_key, read, write_key};
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Seconds after which `DynamoDB` may delete what is known of a write: from its beginning, and again from its end.
const LIFETIME_SECONDS: i64 = 7 * 24 * 3600;

/// A write by the API, without its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Its id.
    pub write: WriteId,
    /// The definition with which it was accepted.
    pub dataset: DatasetRef,
    /// What it does.
    pub operation: WriteOperation,
    /// The hash of its key.
    pub key_digest: String,
    /// The version of its row, in hexadecimal.
    pub version: String,
    /// The name of the token.
    pub by: String,
    /// When it was accepted; RFC 3339.
    pub at: String,
    /// Whether it has reached the stores.
    pub state: WriteState,
    /// What it did in each store, once it is stored.
    #[serde(default)]
    pub stores: BTreeMap<StoreKind, RowOutcome>,
    /// Why it has failed.
    #[serde(default)]
    pub problem: Option<WriteProblem>,
    /// When it was stored, or failed; RFC 3339.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// When `DynamoDB` may delete the item, in seconds since 1970.
    pub expires_at: i64,
}

impl Write {
    /// Returns when a write may be deleted that is accepted, or ends, at this time.
    pub fn expiry(now: Timestamp) -> i64 {
        now.as_second() + LIFETIME_SECONDS
    }
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// All stores have it, or something newer.
    Stored(BTreeMap<StoreKind, RowOutcome>),
    /// It will not be stored.
    Failed(WriteProblem),
}

/// The writes of single rows, and the clocks that order them.
///
/// There are 256 clocks. Each is an item with the latest time that a caller has seen, and a number of writes since.
/// Neither goes back, so that of two writes with one clock, the one that is ordered first is the lesser, whatever the
/// times of their callers.
#[async_trait]
pub trait WriteTable: Send + Sync {
    /// Advances a clock. `now` is the caller's time in milliseconds since 1970. Returns the time of the clock, and a
    /// number within it. No two calls return the same.
    async fn tick(&self, clock: u8, now: i64) -> Result<(i64, u64), LedgerError>;

    /// Stores a write, unless it is stored. Returns the stored one.
    async fn put_write(&self, write: &Write) -> Result<Write, LedgerError>;

    /// Returns a write.
    async fn find_write(&self, write: WriteId) -> Result<Option<Write>, LedgerError>;

    /// Records how a write ended, unless it is recorded or the write has expired. A write that has failed may be stored
    /// all the same, by another worker. Returns whether this call has recorded it.
    async fn end_write(
        &self,
        write: WriteId,
        end: &WriteEnd,
        now: Timestamp,
    ) -> Result<bool, LedgerError>;

    /// Records that rows of a dataset can be deleted by the API. Must precede the first delete.
    async fn allow_deletes(&self, dataset: &str) -> Result<(), LedgerError>;

    /// Returns whether rows of a dataset may have been deleted by the API.
    async fn has_deletes(&self, dataset: &str) -> Result<bool, LedgerError>;
}

#[async_trait]
impl WriteTable for DynamoTable {
    async fn tick(&self, clock: u8, now: i64) -> Result<(i64, u64), LedgerError> {
        let key = clock_key(clock);
        let set = self
            .update(&key)
            .condition_expression("attribute_not_exists(#time) OR #time < :now")
            .update_expression("SET #time = :now, #count = :zero")
            .expression_attribute_names("#time", "time")
            .expression_attribute_names("#count", "count")
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":zero", number(0));
        // A retry of the client, after a lost reply, does not meet the condition.
        if let Updated::Applied(_) = self.send(key.clone(), set).await? {
            return Ok((now, 0));
        }
        let add = self
            .update(&key)
            .condition_expression("attribute_exists(#time)")
            .update_expression("ADD #count :one")
            .expression_attribute_names("#time", "time")
            .expression_attribute_names("#count", "count")
            .expression_attribute_values(":one", number(1));
        let Updated::Applied(item) = self.send(key.clone(), add).await? else {
            return Err(LedgerError::corrupt(&key, "the clock has no time"));
        };
        let corrupt = |error| LedgerError::corrupt(&key, error);
        Ok((
            require(&item, "time").map_err(corrupt)?,
            require(&item, "count").map_err(corrupt)?,
        ))
    }

    async fn put_write(&self, write: &Write) -> Result<Write, LedgerError> {
        let key = write_key(write.write);
        let item = to_item(write).map_err(|error| LedgerError::corrupt(&key, error))?;
        if self.put_new(&key, item).await? {
            return Ok(write.clone());
        }
        let stored = self.find_write(write.write).await?;
        stored.ok_or(LedgerError::Missing(key))
    }

    async fn find_write(&self, write: WriteId) -> Result<Option<Write>, LedgerError> {
        let key = write_key(write);
        let item = self.get(&key).await?;
        item.map(|item| read(&key, item)).transpose()
    }

    async fn end_write(
        &self,
        write: WriteId,
        end: &WriteEnd,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let key = write_key(write);
        let update = self
            .update(&key)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":ended_at", text(now.to_string()))
            .expression_attribute_values(":expires_at", number(Write::expiry(now)));
        let update = match end {
            WriteEnd::Stored(stores) => update
                .condition_expression("attribute_exists(pk) AND #state <> :state")
                .update_expression(
                    "SET #state = :state, stores = :stores, ended_at = :ended_at, expires_at = :expires_at \
                     REMOVE problem",
                )
                .expression_attribute_values(":state", attribute(&key, WriteState::Stored)?)
                .expression_attribute_values(":stores", attribute(&key, stores)?),
            WriteEnd::Failed(problem) => update
                .condition_expression("#state = :waiting")
                .update_expression(
                    "SET #state = :state, problem = :problem, ended_at = :ended_at, expires_at = :expires_at",
                )
                .expression_attribute_values(":waiting", attribute(&key, WriteState::Waiting)?)
                .expression_attribute_values(":state", attribute(&key, WriteState::Failed)?)
                .expression_attribute_values(":problem", attribute(&key, problem)?),
        };
        match self.send(key, update).await {
            Ok(updated) => Ok(matches!(updated, Updated::Applied(_))),
            Err(LedgerError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn allow_deletes(&self, dataset: &str) -> Result<(), LedgerError> {
        let key = dataset_key(dataset);
        self.update(&key)
            .update_expression("SET has_deletes = :true")
            .expression_attribute_values(":true", attribute(&key, true)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn has_deletes(&self, dataset: &str) -> Result<bool, LedgerError> {
        let key = dataset_key(dataset);
        let item = self.get(&key).await?.unwrap_or_default();
        let has_deletes: Option<bool> =
            find(&item, "has_deletes").map_err(|error| LedgerError::corrupt(&key, error))?;
        Ok(has_deletes.unwrap_or_default())
    }
}

/// The writes and clocks in memory.
#[derive(Default)]
pub(crate) struct MemoryWrites {
    clocks: HashMap<u8, (i64, u64)>,
    writes: HashMap<WriteId, Write>,
    deletes: HashSet<String>,
}

#[async_trait]
impl WriteTable for MemoryTable {
    async fn tick(&self, clock: u8, now: i64) -> Result<(i64, u64), LedgerError> {
        let mut items = self.items();
        let clocks = &mut items.writes.clocks;
        let next = match clocks.get(&clock) {
            Some((time, count)) if *time >= now => (*time, count + 1),
            Some(_) | None => (now, 0),
        };
        clocks.insert(clock, next);
        Ok(next)
    }

    async fn put_write(&self, write: &Write) -> Result<Write, LedgerError> {
        let mut items = self.items();
        let stored = items.writes.writes.entry(write.write);
        Ok(stored.or_insert_with(|| write.clone()).clone())
    }

    async fn find_write(&self, write: WriteId) -> Result<Option<Write>, LedgerError> {
        Ok(self.items().writes.writes.get(&write).cloned())
    }

    async fn end_write(
        &self,
        write: WriteId,
        end: &WriteEnd,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let Some(stored) = items.writes.writes.get_mut(&write) else {
            return Ok(false);
        };
        match (stored.state, end) {
            (WriteState::Waiting | WriteState::Failed, WriteEnd::Stored(stores)) => {
                stored.state = WriteState::Stored;
                stored.stores.clone_from(stores);
                stored.problem = None;
            }
            (WriteState::Waiting, WriteEnd::Failed(problem)) => {
                stored.state = WriteState::Failed;
                stored.problem = Some(problem.clone());
            }
            (WriteState::Stored, _) | (WriteState::Failed, WriteEnd::Failed(_)) => {
                return Ok(false);
            }
        }
        stored.ended_at = Some(now.to_string());
        stored.expires_at = Write::expiry(now);
        Ok(true)
    }

    async fn allow_deletes(&self, dataset: &str) -> Result<(), LedgerError> {
        self.items().writes.deletes.insert(dataset.to_owned());
        Ok(())
    }

    async fn has_deletes(&self, dataset: &str) -> Result<bool, LedgerError> {
        Ok(self.items().writes.deletes.contains(dataset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_never_goes_back() {
        let table = MemoryTable::default();
        let mut last = (0, 0);
        for (now, expected) in [
            (100, (100, 0)),
            (100, (100, 1)),
            (40, (100, 2)),
            (101, (101, 0)),
            (41, (101, 1)),
        ] {
            let tick = table.tick(7, now).await.unwrap();
            assert_eq!(tick, expected);
            assert!(last < tick);
            last = tick;
        }
        // Other keys have other clocks.
        assert_eq!(table.tick(8, 40).await.unwrap(), (40, 0));
    }
}
