//! Marks of chunks in a DynamoDB table.

use std::fmt::Write as _;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use landfall_aws::dynamo::{number, number_set};
use landfall_domain::{Counts, DeadChunk, MAX_LISTED_DEAD_CHUNKS};

use crate::dynamo::{DynamoTable, Updated, attribute};
use crate::item::{dead_chunk, dead_code, flat, read_shard};
use crate::{LedgerError, Shard};

impl DynamoTable {
    /// Adds a done chunk and its counts to the shard with this key, unless it is marked.
    pub(crate) async fn add_done(
        &self,
        key: String,
        ordinal: u32,
        counts: &Counts,
    ) -> Result<(Shard, bool), LedgerError> {
        let mut update = self.update_unmarked(&key, ordinal, "");
        let mut add = String::from("ADD #done :set");
        for (index, (name, count)) in flat(counts).into_iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(add, ", #c{index} :c{index}");
            update = update
                .expression_attribute_names(format!("#c{index}"), name)
                .expression_attribute_values(format!(":c{index}"), number(count));
        }
        self.send_mark(key, update.update_expression(add)).await
    }

    /// Adds a dead chunk to the shard with this key, unless it is marked. If the shard has many, only its code is kept.
    pub(crate) async fn add_dead(
        &self,
        key: String,
        dead: &DeadChunk,
    ) -> Result<(Shard, bool), LedgerError> {
        let update = |and: &str, set: &str| {
            self.update_unmarked(&key, dead.ordinal, and)
                .update_expression(format!("ADD #dead :set, #code :set{set}"))
                .expression_attribute_names("#code", dead_code(dead.code))
        };
        let known = update(
            " AND (attribute_not_exists(#dead) OR size(#dead) < :listed)",
            " SET #chunk = :chunk",
        )
        .expression_attribute_names("#chunk", dead_chunk(dead.ordinal))
        .expression_attribute_values(":chunk", attribute(&key, dead)?)
        .expression_attribute_values(":listed", number(MAX_LISTED_DEAD_CHUNKS));
        let (shard, added) = self.send_mark(key.clone(), known).await?;
        if added || shard.has(dead.ordinal) {
            return Ok((shard, added));
        }
        let counted = update("", "");
        self.send_mark(key, counted).await
    }

    /// Starts an update of a shard whose condition is that a chunk is not marked, and another one.
    fn update_unmarked(&self, key: &str, ordinal: u32, and: &str) -> UpdateItemFluentBuilder {
        self.update(key)
            .condition_expression(format!(
                "attribute_exists(pk) AND NOT contains(#done, :ordinal) AND NOT contains(#dead, :ordinal){and}"
            ))
            .expression_attribute_names("#done", "done")
            .expression_attribute_names("#dead", "dead")
            .expression_attribute_values(":ordinal", number(ordinal))
            .expression_attribute_values(":set", number_set(ordinal))
    }

    async fn send_mark(
        &self,
        key: String,
        update: UpdateItemFluentBuilder,
    ) -> Result<(Shard, bool), LedgerError> {
        match self.send(key, update).await? {
            Updated::Applied(item) => Ok((read_shard(&item)?, true)),
            Updated::Unmet(item) => Ok((read_shard(&item)?, false)),
        }
    }
}
