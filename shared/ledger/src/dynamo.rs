use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use backon::{BackoffBuilder, DefaultSleeper, ExponentialBuilder, Sleeper};
use landfall_aws::AwsError;
use landfall_aws::dynamo::{
    Item, find, is_condition_failure, number, require, text, to_attribute, to_item,
};
use landfall_domain::{JobId, ObjectOrder};
use serde::Serialize;

use crate::head::expiry;
use crate::item::{checkpoint_key, dataset_key, head_key, read, read_shard, shard_key};
use crate::partitions::{
    DATASET, KIND, OPEN, dataset_partition, index_shard, kind_partition, open_partition,
};
use crate::{
    ChunkOutcome, HeadUpdate, JobHead, LedgerError, LedgerTable, Pause, PlanBlock,
    RecordedCheckpoint, SHARD_CHUNKS, Shard, shard_of,
};

const BATCH_GET: &str = "BatchGetItem";
/// How often the unprocessed keys of a batch are requested again.
const BATCH_RETRIES: usize = 7;
const FIRST_DELAY: Duration = Duration::from_millis(20);

/// The ledger in a DynamoDB table with the string partition key `pk`: heads at `job/<id>`, shards at
/// `job/<id>/<n>`, so that writes of the shards of a job are spread over partitions.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// The result of a conditional update.
pub(crate) enum Updated {
    /// The updated item.
    Applied(Item),
    /// The item that does not meet the condition.
    Unmet(Item),
}

impl DynamoTable {
    /// Returns the ledger in this table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Reads an item.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>, LedgerError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(key))
            .consistent_read(true)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(output.item),
            Err(error) => Err(AwsError::from_sdk("GetItem", key, &error).into()),
        }
    }

    /// Stores an item, unless there is one with its key. Returns whether it is new.
    pub(crate) async fn put_new(&self, key: &str, item: Item) -> Result<bool, LedgerError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .item("pk", text(key))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failure(&error) => Ok(false),
            Err(error) => Err(AwsError::from_sdk("PutItem", key, &error).into()),
        }
    }

    pub(crate) fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(key))
    }

    /// Sends an update. Returns the item whether or not it meets the condition.
    pub(crate) async fn send(
        &self,
        key: String,
        update: UpdateItemFluentBuilder,
    ) -> Result<Updated, LedgerError> {
        let answer = update
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(output) => match output.attributes {
                Some(item) => Ok(Updated::Applied(item)),
                None => {
                    Err(AwsError::unexpected_response("UpdateItem", &key, "no attributes").into())
                }
            },
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => match unmet.item()
                {
                    Some(item) => Ok(Updated::Unmet(item.clone())),
                    None => Err(LedgerError::Missing(key)),
                },
                _ => Err(AwsError::from_sdk("UpdateItem", &key, &error).into()),
            },
        }
    }

    /// Stores JSON in an attribute, unless the item has another revision than this one, which is 0 if there is none.
    /// Returns the new revision, or `None`.
    pub(crate) async fn save_revision(
        &self,
        key: &str,
        attribute: &str,
        json: &str,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let update = self
            .update(key)
            .condition_expression(
                "revision = :revision OR (attribute_not_exists(revision) AND :revision = :none)",
            )
            .update_expression("SET #json = :json, revision = :next")
            .expression_attribute_names("#json", attribute)
            .expression_attribute_values(":json", text(json))
            .expression_attribute_values(":revision", number(revision))
            .expression_attribute_values(":next", number(revision + 1))
            .expression_attribute_values(":none", number(0));
        match self.send(key.to_owned(), update).await? {
            Updated::Applied(_) => Ok(Some(revision + 1)),
            Updated::Unmet(item) => {
                // The reply to the first attempt of the client was lost.
                let corrupt = |error| LedgerError::corrupt(key, error);
                let stored: Option<String> = find(&item, attribute).map_err(corrupt)?;
                let stored_revision: u64 = require(&item, "revision").map_err(corrupt)?;
                let is_ours = stored_revision == revision + 1 && stored.as_deref() == Some(json);
                Ok(is_ours.then_some(stored_revision))
            }
        }
    }

    /// Reads items, at most 100. Those that do not exist are missing in the result, which is in no order.
    pub(crate) async fn get_all(
        &self,
        keys: impl Iterator<Item = String> + Send,
    ) -> Result<Vec<Item>, LedgerError> {
        let mut keys: Vec<Item> = keys
            .map(|key| Item::from([("pk".to_owned(), text(key))]))
            .collect();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(BATCH_RETRIES);
        let mut delays = backoff.build();
        let mut found = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let (items, unprocessed) = self.batch_get(keys).await?;
            found.extend(items);
            keys = unprocessed;
            if !keys.is_empty() {
                let Some(delay) = delays.next() else {
                    let reason = format!("{} keys stayed unprocessed", keys.len());
                    return Err(AwsError::unavailable(BATCH_GET, &self.table, reason).into());
                };
                DefaultSleeper::default().sleep(delay).await;
            }
        }
        Ok(found)
    }

    /// Returns the items that were found, and the keys that were not processed.
    async fn batch_get(&self, keys: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>), AwsError> {
        let request = KeysAndAttributes::builder()
            .consistent_read(true)
            .set_keys(Some(keys))
            .build()
            .map_err(|error| AwsError::refused(BATCH_GET, &self.table, error))?;
        let response = self
            .client
            .batch_get_item()
            .request_items(&self.table, request)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(BATCH_GET, &self.table, &error))?;
        let found = response
            .responses
            .and_then(|mut tables| tables.remove(&self.table));
        let unprocessed = response
            .unprocessed_keys
            .and_then(|mut tables| tables.remove(&self.table))
            .map(|unprocessed| unprocessed.keys);
        // Either is missing if it is empty.
        Ok((found.unwrap_or_default(), unprocessed.unwrap_or_default()))
    }
}

#[async_trait]
impl LedgerTable for DynamoTable {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let key = head_key(head.job);
        let mut item = to_item(head).map_err(|error| LedgerError::corrupt(&key, error))?;
        let shard = index_shard(head.job);
        item.insert(KIND.to_owned(), text(kind_partition(shard)));
        item.insert(OPEN.to_owned(), text(open_partition(shard)));
        // Omitted if there is none: the key of an index cannot be null.
        if let Some(name) = head.object.dataset_name() {
            item.insert(DATASET.to_owned(), text(dataset_partition(name, shard)));
        }
        if self.put_new(&key, item).await? {
            return Ok(head.clone());
        }
        // Read the head instead of using the one in the error: a retry after a lost response must return the same.
        self.head(head.job).await?.ok_or(LedgerError::Missing(key))
    }

    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        let key = head_key(job);
        let item = self.get(&key).await?;
        item.map(|item| read(&key, item)).transpose()
    }

    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError> {
        let key = shard_key(job, shard);
        let item = Item::from([
            ("chunks".to_owned(), number(SHARD_CHUNKS)),
            ("expires_at".to_owned(), number(expiry())),
        ]);
        self.put_new(&key, item).await.map(drop)
    }

    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        let keys = shards.iter().map(|shard| shard_key(job, *shard));
        let items = self.get_all(keys).await?;
        items.iter().map(read_shard).collect()
    }

    async fn put_plan(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError> {
        self.put_block(job, block).await
    }

    async fn plan(&self, job: JobId, shards: &[u32]) -> Result<Vec<PlanBlock>, LedgerError> {
        self.blocks(job, shards).await
    }

    async fn put_checkpoint(
        &self,
        job: JobId,
        checkpoint: &RecordedCheckpoint,
    ) -> Result<RecordedCheckpoint, LedgerError> {
        self.put_checkpoint_item(job, checkpoint).await
    }

    async fn checkpoint(&self, job: JobId) -> Result<Option<RecordedCheckpoint>, LedgerError> {
        let key = checkpoint_key(job);
        let item = self.get(&key).await?;
        item.map(|item| read(&key, item)).transpose()
    }

    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        let key = shard_key(job, shard_of(ordinal));
        match outcome {
            ChunkOutcome::Done(counts) => self.add_done(key, ordinal, counts).await,
            ChunkOutcome::Dead(dead) => self.add_dead(key, dead).await,
        }
    }

    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError> {
        let key = shard_key(job, shard);
        let update = self
            .update(&key)
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET chunks = :chunks")
            .expression_attribute_values(":chunks", number(chunks));
        let (Updated::Applied(item) | Updated::Unmet(item)) = self.send(key, update).await?;
        read_shard(&item)
    }

    async fn reset_dead(
        &self,
        job: JobId,
        shard: &Shard,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<Shard, LedgerError> {
        let key = shard_key(job, shard.index);
        self.reset(key, shard, ordinals, attempt).await
    }

    async fn remove_resent(
        &self,
        job: JobId,
        shard: u32,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<(), LedgerError> {
        self.remove_from_resend(shard_key(job, shard), ordinals, attempt)
            .await
    }

    async fn update_head(&self, job: JobId, update: &HeadUpdate) -> Result<JobHead, LedgerError> {
        self.apply_update(job, update).await
    }

    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError> {
        let key = dataset_key(dataset);
        self.update(&key)
            .update_expression("ADD generation :one")
            .expression_attribute_values(":one", number(1))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn raise_floor(&self, dataset: &str, order: ObjectOrder) -> Result<(), LedgerError> {
        let key = dataset_key(dataset);
        // Orders are texts of the same length that sort like orders.
        let request = self
            .update(&key)
            .condition_expression("attribute_not_exists(#floor) OR #floor < :order")
            .update_expression("SET #floor = :order")
            .expression_attribute_names("#floor", "floor")
            .expression_attribute_values(":order", attribute(&key, order)?);
        self.send(key, request).await.map(drop)
    }

    async fn floor(&self, dataset: &str) -> Result<Option<ObjectOrder>, LedgerError> {
        let key = dataset_key(dataset);
        let Some(item) = self.get(&key).await? else {
            return Ok(None);
        };
        find(&item, "floor").map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn pause(&self, dataset: &str, pause: &Pause) -> Result<Pause, LedgerError> {
        let key = dataset_key(dataset);
        let request = self
            .update(&key)
            .update_expression("SET paused = if_not_exists(paused, :pause)")
            .expression_attribute_values(":pause", attribute(&key, pause)?);
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(key.clone(), request).await?;
        require(&item, "paused").map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn resume(&self, dataset: &str) -> Result<(), LedgerError> {
        let key = dataset_key(dataset);
        let request = self.update(&key).update_expression("REMOVE paused");
        let removed = request.send().await;
        removed
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn find_pause(&self, dataset: &str) -> Result<Option<Pause>, LedgerError> {
        let key = dataset_key(dataset);
        let Some(item) = self.get(&key).await? else {
            return Ok(None);
        };
        find(&item, "paused").map_err(|error| LedgerError::corrupt(&key, error))
    }
}

pub(crate) fn attribute(key: &str, value: impl Serialize) -> Result<AttributeValue, LedgerError> {
    to_attribute(value).map_err(|error| LedgerError::corrupt(key, error))
}
