//! The table of connections in `DynamoDB`. Its items, by partition and sort key:
//!
//! - `connection/<id>`, `connection`: a [`Connection`] and the keys of its topics;
//! - `job/<id>` or `dataset/<name>`, `<connection>`: a [`Subscriber`];
//! - `completed/<job>`, `<connection>`: a record that the connection has received the job's completion.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_domain::JobId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::SocketError;
use crate::connections::{Connection, ConnectionTable, MAX_TOPICS, Subscriber};

const CONNECTION: &str = "connection";

/// The deployed [`ConnectionTable`].
#[derive(Clone, Debug)]
pub(crate) struct DynamoConnections {
    client: Client,
    table: String,
}

type Item = HashMap<String, AttributeValue>;

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn connection_key(id: &str) -> String {
    format!("{CONNECTION}/{id}")
}

fn completed_key(job: JobId) -> String {
    format!("completed/{job}")
}

fn to_item(value: impl Serialize) -> Result<Item, SocketError> {
    serde_dynamo::to_item(value).map_err(SocketError::Item)
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, SocketError> {
    serde_dynamo::from_item(item).map_err(SocketError::Item)
}

fn is_condition_failure(error: &SdkError<UpdateItemError>) -> bool {
    error
        .as_service_error()
        .is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

#[async_trait]
impl ConnectionTable for DynamoConnections {
    async fn put_connection(&self, id: &str, connection: &Connection) -> Result<(), SocketError> {
        self.put(connection_key(id), CONNECTION, to_item(connection)?)
            .await
    }

    async fn connection(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let item = self.get(&connection_key(id), CONNECTION).await?;
        item.map(from_item).transpose()
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
            Err(error) => Err(SocketError::of("UpdateItem", &error)),
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
            Err(error) if !is_condition_failure(&error) => {
                Err(SocketError::of("UpdateItem", &error))
            }
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
        self.get(topic, id).await?.map(from_item).transpose()
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
            .map_err(|error| SocketError::of("PutItem", &error))
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
            .map_err(|error| SocketError::of("GetItem", &error))
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
            .map_err(|error| SocketError::of("DeleteItem", &error))
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
            let item = item.map_err(|error| SocketError::of("Query", &error))?;
            found.push(from_item(item)?);
        }
        Ok(found)
    }
}
