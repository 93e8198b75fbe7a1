//! Marks of chunks in a DynamoDB table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::dynamo::{number, number_set, text};
use landfall_domain::{Counts, DeadChunk, MAX_LISTED_DEAD_CHUNKS};

use crate::dynamo::{DynamoTable, Updated, attribute};
use crate::head::now;
use crate::item::{dead_chunk, dead_code, flat, read_shard};
use crate::{LedgerError, Shard};

fn number_sets(ordinals: &BTreeSet<u32>) -> AttributeValue {
    AttributeValue::Ns(ordinals.iter().map(ToString::to_string).collect())
}

impl DynamoTable {
    /// Adds a done chunk and its counts to the shard with this key, unless it is marked.
    pub(crate) async fn add_done(
        &self,
        key: String,
        ordinal: u32,
        counts: &Counts,
    ) -> Result<(Shard, bool), LedgerError> {
        let mut update = self.update_unmarked(&key, ordinal, "");
        let mut add = String::from("SET marked_at = :now ADD #done :set");
        for (index, (name, count)) in flat(counts).into_iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(add, ", #c{index} :c{index}");
            update = update
                .expression_attribute_names(format!("#c{index}"), name)
                .expression_attribute_values(format!(":c{index}"), number(count));
        }
        self.send_mark(key, update.update_expression(add)).await
    }

    /// Adds a dead chunk to the shard with this key, unless it is marked, or was taken out to be sent again since. If
    /// the shard has many, only its code is kept.
    pub(crate) async fn add_dead(
        &self,
        key: String,
        dead: &DeadChunk,
    ) -> Result<(Shard, bool), LedgerError> {
        let update = |and: &str, set: &str| {
            let attempt = " AND (attribute_not_exists(attempt) OR attempt <= :attempt)";
            self.update_unmarked(&key, dead.ordinal, &format!("{attempt}{and}"))
                .expression_attribute_values(":attempt", number(dead.attempt))
                .update_expression(format!(
                    "SET marked_at = :now{set} ADD #dead :set, #code :set"
                ))
                .expression_attribute_names("#code", dead_code(dead.code))
        };
        let known = update(
            " AND (attribute_not_exists(#dead) OR size(#dead) < :listed)",
            ", #chunk = :chunk",
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

    /// Moves dead chunks of a shard to those that are about to be sent again, unless that was done in this attempt.
    pub(crate) async fn reset(
        &self,
        key: String,
        shard: &Shard,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<Shard, LedgerError> {
        let mut update = self
            .update(&key)
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(attempt) OR attempt < :attempt)",
            )
            .expression_attribute_values(":attempt", number(attempt));
        if ordinals.is_empty() {
            let update = update.update_expression("SET attempt = :attempt");
            let (Updated::Applied(item) | Updated::Unmet(item)) = self.send(key, update).await?;
            return read_shard(&item);
        }
        update = update
            .expression_attribute_names("#dead", "dead")
            .expression_attribute_values(":set", number_sets(ordinals));
        let mut delete = String::from("DELETE #dead :set");
        for (index, code) in shard.dead_by_code.keys().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(delete, ", #code{index} :set");
            update = update.expression_attribute_names(format!("#code{index}"), dead_code(*code));
        }
        let mut remove = String::new();
        let listed = shard.dead_chunks.keys();
        for ordinal in listed.filter(|ordinal| ordinals.contains(ordinal)) {
            let separator = if remove.is_empty() { " REMOVE" } else { "," };
            let _ = write!(remove, "{separator} #chunk{ordinal}");
            let name = format!("#chunk{ordinal}");
            update = update.expression_attribute_names(name, dead_chunk(*ordinal));
        }
        let update = update.update_expression(format!(
            "SET attempt = :attempt ADD resend :set {delete}{remove}"
        ));
        let (Updated::Applied(item) | Updated::Unmet(item)) = self.send(key, update).await?;
        read_shard(&item)
    }

    /// Removes chunks from those of a shard that are about to be sent again, unless that began in another attempt.
    pub(crate) async fn remove_from_resend(
        &self,
        key: String,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<(), LedgerError> {
        let update = self
            .update(&key)
            .condition_expression("attempt = :attempt")
            .update_expression("DELETE resend :set")
            .expression_attribute_values(":attempt", number(attempt))
            .expression_attribute_values(":set", number_sets(ordinals));
        self.send(key, update).await.map(drop)
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
            .expression_attribute_values(":now", text(now()))
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
