//! The table of connections in `DynamoDB`. Its items, by partition and sort key:
//!
//! - `connection/<id>`, `connection`: a [`Connection`] and the keys of its topics;
//! - `job/<id>` or `dataset/<name>`, `<connection>`: a [`Subscriber`];
//! - `completed/<job>`, `<connection>`: a record that the connection has received the job's completion.

use std::collections::HashSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, from_item, is_condition_failure, number, text, to_item};
use landfall_domain::JobId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::SocketError;
use crate::connections::{Connection, ConnectionTable, MAX_TOPICS, Subscriber};

const CONNECTION: &str = "connection";

/// The deployed [`ConnectionTable`].
#[derive(Clone, Debug)]
pub(crate) struct DynamoConnections {
    client: Client,
    table: String,
}

fn connection_key(id: &str) -> String {
    format!("{CONNECTION}/{id}")
}

fn completed_key(job: JobId) -> String {
    format!("completed/{job}")
}

#[async_trait]
impl ConnectionTable for DynamoConnections {
    async fn put_connection(&self, id: &str, connection: &Connection) -> Result<(), SocketError> {
        self.put(connection_key(id), CONNECTION, to_item(connection)?)
            .await
    }

    async fn connection(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let item = self.get(&connection_key(id), CONNECTION).await?;
        Ok(item.map(from_item).transpose()?)
    }

    async fn delete_connection(&self, id: &str) -> Result<(), SocketError> {
        self.delete(&connection_key(id), CONNECTION).await
    }

    async fn add_topic(&self, id: &str, topic: &str) -> Result<bool, SocketError> {
        let added = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(connection_key(id)))
            .key("sk", text(CONNECTION))
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(topics) OR size(topics) < :most OR contains(topics, :key))",
            )
            .update_expression("ADD topics :keys")
            .expression_attribute_values(":most", number(MAX_TOPICS))
            .expression_attribute_values(":key", text(topic))
            .expression_attribute_values(":keys", AttributeValue::Ss(vec![topic.to_owned()]))
            .send()
            .await;
        match added {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failure(&error) => Ok(false),
            Err(error) => Err(self.error("UpdateItem", &error)),
        }
    }

    async fn remove_topic(&self, id: &str, topic: &str) -> Result<(), SocketError> {
        let removed = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(connection_key(id)))
            .key("sk", text(CONNECTION))
            .condition_expression("attribute_exists(pk)")
            .update_expression("DELETE topics :keys")
            .expression_attribute_values(":keys", AttributeValue::Ss(vec![topic.to_owned()]))
            .send()
            .await;
        match removed {
            Err(error) if !is_condition_failure(&error) => Err(self.error("UpdateItem", &error)),
            _ => Ok(()),
        }
    }

    async fn put_subscriber(
        &self,
        topic: &str,
        subscriber: &Subscriber,
    ) -> Result<(), SocketError> {
        let item = to_item(subscriber)?;
        self.put(topic.to_owned(), &subscriber.connection, item)
            .await
    }

    async fn subscriber(&self, topic: &str, id: &str) -> Result<Option<Subscriber>, SocketError> {
        let item = self.get(topic, id).await?;
        Ok(item.map(from_item).transpose()?)
    }

    async fn subscribers(&self, topic: &str) -> Result<Vec<Subscriber>, SocketError> {
        self.query(topic.to_owned()).await
    }

    async fn delete_subscriber(&self, topic: &str, id: &str) -> Result<(), SocketError> {
        self.delete(topic, id).await
    }

    async fn set_notified(&self, job: JobId, subscriber: &Subscriber) -> Result<(), SocketError> {
        let item = Item::from([("expires_at".to_owned(), number(subscriber.expires_at))]);
        self.put(completed_key(job), &subscriber.connection, item)
            .await
    }

    async fn notified(&self, job: JobId) -> Result<HashSet<String>, SocketError> {
        #[derive(Deserialize)]
        struct Key {
            sk: String,
        }
        let keys: Vec<Key> = self.query(completed_key(job)).await?;
        Ok(keys.into_iter().map(|key| key.sk).collect())
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

    async fn put(&self, pk: String, sk: &str, item: Item) -> Result<(), SocketError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .item("pk", text(pk))
            .item("sk", text(sk))
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

    /// Reads all items of a partition.
    async fn query<T: DeserializeOwned>(&self, pk: String) -> Result<Vec<T>, SocketError> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| self.error("Query", &error))?;
            found.push(from_item(item)?);
        }
        Ok(found)
    }
}
