use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use backon::{ExponentialBuilder, RetryableWithContext};
use landfall_aws::AwsError;
use landfall_aws::dynamo::{
    Item, is_condition_failure, number, number_set, text, to_attribute, to_item,
};
use landfall_domain::{Counts, JobId, JobState, Problem};
use serde::Serialize;

use crate::head::expiry;
use crate::item::{KIND, dataset_key, flat, head_key, read, read_shard, shard_key};
use crate::{ChunkOutcome, JobHead, LedgerError, LedgerTable, SHARD_CHUNKS, Seal, Shard, shard_of};

const BATCH_GET: &str = "BatchGetItem";
/// Keys of one `BatchGetItem`.
const MAX_BATCH: usize = 100;
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
                None => Err(AwsError::answer("UpdateItem", &key, "no attributes").into()),
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

    /// Sends an update of a head. Returns the head whether or not it meets the condition.
    async fn send_head(
        &self,
        job: JobId,
        update: UpdateItemFluentBuilder,
    ) -> Result<JobHead, LedgerError> {
        let key = head_key(job);
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(key.clone(), update).await?;
        read(&key, item)
    }

    async fn batch_get(&self, keys: Vec<String>) -> Result<Vec<Item>, AwsError> {
        let requested = keys
            .into_iter()
            .map(|key| Item::from([("pk".to_owned(), text(key))]))
            .collect();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(BATCH_RETRIES);
        let attempt = |(requested, mut items): (Vec<Item>, Vec<Item>)| async move {
            match self.batch_get_once(requested).await {
                Err(error) => ((Vec::new(), items), Err(Some(error))),
                Ok((found, unprocessed)) => {
                    items.extend(found);
                    let result = if unprocessed.is_empty() {
                        Ok(())
                    } else {
                        Err(None)
                    };
                    ((unprocessed, items), result)
                }
            }
        };
        let ((unprocessed, items), result) = attempt
            .retry(backoff)
            .context((requested, Vec::new()))
            // The SDK has retried a call that failed.
            .when(Option::is_none)
            .await;
        result.map(|()| items).map_err(|error| {
            error.unwrap_or_else(|| {
                let reason = format!("{} keys stayed unprocessed", unprocessed.len());
                AwsError::unavailable(BATCH_GET, &self.table, reason)
            })
        })
    }

    /// Returns the items that were found, and the keys that were not processed.
    async fn batch_get_once(&self, keys: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>), AwsError> {
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
        item.insert("pk".to_owned(), text(key.as_str()));
        item.insert("kind".to_owned(), text(KIND));
        // Omitted if there is none: the key of an index cannot be null.
        if let Some(name) = head.object.dataset_name() {
            item.insert("dataset_name".to_owned(), text(name));
        }
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(head.clone());
        };
        if !is_condition_failure(&error) {
            return Err(AwsError::from_sdk("PutItem", &key, &error).into());
        }
        // Read the head instead of using the one in the error: a retry after a lost response must return the same.
        self.head(head.job).await?.ok_or(LedgerError::Missing(key))
    }

    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        let key = head_key(job);
        self.client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(key.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetItem", &key, &error))?
            .item
            .map(|item| read(&key, item))
            .transpose()
    }

    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError> {
        let key = shard_key(job, shard);
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("pk", text(key.as_str()))
            .item("chunks", number(SHARD_CHUNKS))
            .item("expires_at", number(expiry()))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match answer {
            Err(error) if !is_condition_failure(&error) => {
                Err(AwsError::from_sdk("PutItem", &key, &error).into())
            }
            _ => Ok(()),
        }
    }

    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        let mut found = Vec::with_capacity(shards.len());
        for batch in shards.chunks(MAX_BATCH) {
            let keys: Vec<String> = batch.iter().map(|shard| shard_key(job, *shard)).collect();
            for item in self.batch_get(keys).await? {
                found.push(read_shard(&item)?);
            }
        }
        Ok(found)
    }

    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        let key = shard_key(job, shard_of(ordinal));
        let set = number_set(ordinal);
        let mut update = self
            .update(&key)
            .condition_expression(
                "attribute_exists(pk) AND NOT contains(#done, :ordinal) AND NOT contains(#dead, :ordinal)",
            )
            .expression_attribute_names("#done", "done")
            .expression_attribute_names("#dead", "dead")
            .expression_attribute_values(":ordinal", number(ordinal))
            .expression_attribute_values(":set", set);
        let mut add = String::from(match outcome {
            ChunkOutcome::Done(_) => "ADD #done :set",
            ChunkOutcome::Dead => "ADD #dead :set",
        });
        if let ChunkOutcome::Done(counts) = outcome {
            for (index, (name, count)) in flat(counts).into_iter().enumerate() {
                // Writing to a string cannot fail.
                let _ = write!(add, ", #c{index} :c{index}");
                update = update
                    .expression_attribute_names(format!("#c{index}"), name)
                    .expression_attribute_values(format!(":c{index}"), number(count));
            }
        }
        match self.send(key, update.update_expression(add)).await? {
            Updated::Applied(item) => Ok((read_shard(&item)?, true)),
            Updated::Unmet(item) => Ok((read_shard(&item)?, false)),
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

    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError> {
        let update = self
            .update(&head_key(job))
            .condition_expression("attribute_exists(pk)")
            .update_expression("ADD #full :shard")
            .expression_attribute_names("#full", "full")
            .expression_attribute_values(":shard", number_set(shard));
        self.send_head(job, update).await
    }

    async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError> {
        let key = head_key(job);
        let update = self
            .update(&key)
            .condition_expression("#state = :open AND attribute_type(problem, :null)")
            .update_expression("SET problem = :problem")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":open", text(JobState::Open.as_str()))
            .expression_attribute_values(":null", text("NULL"))
            .expression_attribute_values(":problem", attribute(&key, problem)?);
        self.send_head(job, update).await.map(drop)
    }

    async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError> {
        let key = head_key(job);
        let mut update = self
            .update(&key)
            .condition_expression("attribute_exists(pk) AND attribute_type(chunks, :null)")
            .expression_attribute_values(":null", text("NULL"))
            .expression_attribute_values(":chunks", number(seal.chunks));
        update = match &seal.problem {
            None => update.update_expression("SET chunks = :chunks"),
            Some(problem) => update
                .update_expression("SET chunks = :chunks, problem = :problem")
                .expression_attribute_values(":problem", attribute(&key, problem)?),
        };
        self.send_head(job, update).await
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

    async fn close(
        &self,
        job: JobId,
        state: JobState,
        problem: Option<&Problem>,
        counts: &Counts,
        dead: u32,
        closed_at: &str,
    ) -> Result<JobHead, LedgerError> {
        let key = head_key(job);
        let update = self
            .update(&key)
            .condition_expression("#state = :open")
            .update_expression(
                "SET #state = :state, problem = :problem, #counts = :counts, dead = :dead, closed_at = :closed_at",
            )
            .expression_attribute_values(":dead", number(dead))
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#counts", "counts")
            .expression_attribute_values(":open", text(JobState::Open.as_str()))
            .expression_attribute_values(":state", text(state.as_str()))
            .expression_attribute_values(":problem", attribute(&key, problem)?)
            .expression_attribute_values(":counts", attribute(&key, counts)?)
            .expression_attribute_values(":closed_at", text(closed_at));
        self.send_head(job, update).await
    }

    async fn set_published(&self, job: JobId, at: &str) -> Result<JobHead, LedgerError> {
        let update = self
            .update(&head_key(job))
            .condition_expression("attribute_exists(pk)")
            .update_expression(
                "SET published = :yes, published_at = if_not_exists(published_at, :at)",
            )
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":at", text(at));
        self.send_head(job, update).await
    }
}

fn attribute(key: &str, value: impl Serialize) -> Result<AttributeValue, LedgerError> {
    to_attribute(value).map_err(|error| LedgerError::corrupt(key, error))
}
