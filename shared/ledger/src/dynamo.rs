use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use landfall_domain::{Counts, JobId, JobState, Problem};

use crate::head::expiry;
use crate::item::{
    Item, KIND, attribute, corrupt, dataset_key, flat, head_key, number, read, read_shard,
    shard_key, text,
};
use crate::{ChunkOutcome, JobHead, LedgerError, LedgerTable, SHARD_CHUNKS, Seal, Shard, shard_of};

/// Keys of one `BatchGetItem`.
const BATCH: usize = 100;
/// Times that the unprocessed keys of a batch are asked for again.
const BATCH_TRIES: u32 = 8;

/// The ledger in one DynamoDB table with the string partition key `pk`: heads at `job/<id>`, shards
/// at `job/<id>/<n>`, so that the shards of a job are written in different partitions.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// What a conditional update met.
pub(crate) enum Updated {
    /// The item as it is now.
    Now(Item),
    /// The condition failed on this item.
    Unmet(Item),
}

impl DynamoTable {
    /// The ledger in this table.
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

    /// Sends an update that gives the item, whether or not its condition is met.
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
            Ok(output) => Ok(Updated::Now(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => match unmet.item()
                {
                    Some(item) => Ok(Updated::Unmet(item.clone())),
                    None => Err(LedgerError::Missing(key)),
                },
                _ => Err(failure("UpdateItem", key, &error)),
            },
        }
    }

    /// Sends an update of a head. Its item is the answer also where the condition is not met.
    async fn send_head(
        &self,
        job: JobId,
        update: UpdateItemFluentBuilder,
    ) -> Result<JobHead, LedgerError> {
        let key = head_key(job);
        let (Updated::Now(item) | Updated::Unmet(item)) = self.send(key.clone(), update).await?;
        read(&key, item)
    }

    async fn batch_get(&self, keys: Vec<String>) -> Result<Vec<Item>, LedgerError> {
        let described = keys.first().cloned().unwrap_or_default();
        let mut wanted: Vec<Item> = keys
            .iter()
            .map(|key| HashMap::from([("pk".to_owned(), text(key))]))
            .collect();
        let mut items = Vec::with_capacity(keys.len());
        for attempt in 0..BATCH_TRIES {
            let request = KeysAndAttributes::builder()
                .consistent_read(true)
                .set_keys(Some(std::mem::take(&mut wanted)))
                .build()
                .map_err(|error| LedgerError::Refused {
                    operation: "BatchGetItem",
                    key: described.clone(),
                    reason: error.to_string(),
                })?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .await
                .map_err(|error| failure("BatchGetItem", described.clone(), &error))?;
            items.extend(
                answer
                    .responses
                    .unwrap_or_default()
                    .remove(&self.table)
                    .unwrap_or_default(),
            );
            match answer
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.table)
            {
                Some(unprocessed) if !unprocessed.keys.is_empty() => wanted = unprocessed.keys,
                _ => return Ok(items),
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        }
        Err(LedgerError::Unavailable {
            operation: "BatchGetItem",
            key: described,
            reason: "keys stayed unprocessed".to_owned(),
        })
    }
}

#[async_trait]
impl LedgerTable for DynamoTable {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        let key = head_key(head.job);
        let mut item: Item = serde_dynamo::to_item(head).map_err(|error| corrupt(&key, &error))?;
        item.insert("pk".to_owned(), text(&key));
        item.insert("kind".to_owned(), text(KIND));
        // Left out where there is none: the key of an index is not null.
        if let Some(name) = head.object.dataset_name() {
            item.insert("dataset_name".to_owned(), text(name));
        }
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(head.clone());
        };
        match error.as_service_error() {
            Some(service) if service.is_conditional_check_failed_exception() => {}
            _ => return Err(failure("PutItem", key, &error)),
        }
        // Read rather than taken from the error, so that what a lost reply wrote is told the same way.
        self.head(head.job).await?.ok_or(LedgerError::Missing(key))
    }

    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        let key = head_key(job);
        self.client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(&key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failure("GetItem", key.clone(), &error))?
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
            .item("pk", text(&key))
            .item("chunks", number(SHARD_CHUNKS))
            .item("expires_at", number(expiry()))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(failure("PutItem", key, &error)),
        }
    }

    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        let mut found = Vec::with_capacity(shards.len());
        for batch in shards.chunks(BATCH) {
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
        let set = AttributeValue::Ns(vec![ordinal.to_string()]);
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
                // Writing to a string does not fail.
                let _ = write!(add, ", #c{index} :c{index}");
                update = update
                    .expression_attribute_names(format!("#c{index}"), name)
                    .expression_attribute_values(format!(":c{index}"), number(count));
            }
        }
        match self.send(key, update.update_expression(add)).await? {
            Updated::Now(item) => Ok((read_shard(&item)?, true)),
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
        let (Updated::Now(item) | Updated::Unmet(item)) = self.send(key, update).await?;
        read_shard(&item)
    }

    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError> {
        let update = self
            .update(&head_key(job))
            .condition_expression("attribute_exists(pk)")
            .update_expression("ADD #full :shard")
            .expression_attribute_names("#full", "full")
            .expression_attribute_values(":shard", AttributeValue::Ns(vec![shard.to_string()]));
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
            .map_err(|error| failure("UpdateItem", key, &error))
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

pub(crate) fn failure<E>(operation: &'static str, key: String, error: &SdkError<E>) -> LedgerError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let reason = DisplayErrorContext(error).to_string();
    // What another try does not mend: the request or the table is wrong.
    let refused = matches!(
        error.code(),
        Some("AccessDeniedException" | "ResourceNotFoundException" | "ValidationException")
    );
    if refused || matches!(error, SdkError::ConstructionFailure(_)) {
        LedgerError::Refused {
            operation,
            key,
            reason,
        }
    } else {
        LedgerError::Unavailable {
            operation,
            key,
            reason,
        }
    }
}
