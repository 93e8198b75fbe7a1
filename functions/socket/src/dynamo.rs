//! The table of connections in `DynamoDB`.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, is_condition_failure, number, text};

use crate::SocketError;
use crate::connections::{ConnectionTable, MAX_TOPICS};

/// The deployed [`ConnectionTable`].
#[derive(Clone, Debug)]
pub(crate) struct DynamoConnections {
    client: Client,
    table: String,
}

#[async_trait]
impl ConnectionTable for DynamoConnections {
    async fn put(&self, item: Item) -> Result<(), SocketError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.error("PutItem", &error))
    }

    async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, SocketError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .consistent_read(true)
            .send()
            .await
            .map(|output| output.item)
            .map_err(|error| self.error("GetItem", &error))
    }

    async fn delete(&self, pk: &str, sk: &str) -> Result<(), SocketError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.error("DeleteItem", &error))
    }

    async fn query(&self, pk: &str) -> Result<Vec<Item>, SocketError> {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(|error| self.error("Query", &error))
    }

    async fn add_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<bool, SocketError> {
        let update = self
            .update(pk, sk, topic)
            .condition_expression(
                "attribute_exists(pk) AND \
                (attribute_not_exists(topics) OR size(topics) < :most OR contains(topics, :key))",
            )
            .update_expression("ADD topics :keys")
            .expression_attribute_values(":most", number(MAX_TOPICS))
            .expression_attribute_values(":key", text(topic));
        self.send(update).await
    }

    async fn remove_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<(), SocketError> {
        let update = self
            .update(pk, sk, topic)
            .condition_expression("attribute_exists(pk)")
            .update_expression("DELETE topics :keys");
        self.send(update).await.map(drop)
    }
}

impl DynamoConnections {
    pub(crate) fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    fn error<E>(&self, operation: &'static str, error: &SdkError<E>) -> SocketError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        AwsError::from_sdk(operation, &self.table, error).into()
    }

    /// Returns an update of a connection with the set of one topic as `:keys`.
    fn update(&self, pk: &str, sk: &str, topic: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .expression_attribute_values(":keys", AttributeValue::Ss(vec![topic.to_owned()]))
    }

    /// Sends an update. Returns whether its condition was met.
    async fn send(&self, update: UpdateItemFluentBuilder) -> Result<bool, SocketError> {
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failure(&error) => Ok(false),
            Err(error) => Err(self.error("UpdateItem", &error)),
        }
    }
}
