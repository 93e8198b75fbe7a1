//! The table of connections. Its items:
//!
//! - `connection/<id>`, `connection`: who is connected, and what they subscribe to;
//! - `job/<id>` or `dataset/<name>`, `<connection>`: a subscription;
//! - `completed/<job>`, `<connection>`: that a connection has been told of a job's completion.
//!
//! All expire with the connection. `DynamoDB` may drop them days later, so whoever reads one looks.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::{Access, Grant, Scope};
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};

use crate::SocketError;
use crate::messages::Topic;

/// Seconds that a connection lives: as long as API Gateway lets it.
const LIFETIME: i64 = 2 * 3600;
/// The most that a connection may subscribe to at once.
pub(crate) const MAX_TOPICS: usize = 100;
/// Subscriptions of a connection that are removed at once.
const REMOVED_AT_ONCE: usize = 8;
const CONNECTION: &str = "connection";

/// The table of connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    client: Client,
    table: String,
}

/// A connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Name of its token.
    token: String,
    datasets: Access,
    expires_at: i64,
}

impl Connection {
    /// What it may do: what its token could when it was opened.
    pub(crate) fn grant(&self) -> Grant {
        Grant {
            name: self.token.clone(),
            scopes: [Scope::Read].into(),
            datasets: self.datasets.clone(),
        }
    }
}

/// A subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscriber {
    /// Id of the connection.
    #[serde(rename = "sk")]
    pub(crate) connection: String,
    /// The datasets that it may know of.
    pub(crate) datasets: Access,
    /// When it subscribed to a dataset, in milliseconds since 1970: it is told of what completes afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<i64>,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
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

/// Whether the condition of an update was not met.
fn is_unmet(error: &SdkError<UpdateItemError>) -> bool {
    error
        .as_service_error()
        .is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

impl Connections {
    pub(crate) fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Notes a new connection of a token's bearer.
    pub(crate) async fn open(&self, id: &str, grant: Grant) -> Result<(), SocketError> {
        let connection = Connection {
            token: grant.name,
            datasets: grant.datasets,
            expires_at: Timestamp::now().as_second() + LIFETIME,
        };
        let item = serde_dynamo::to_item(connection).map_err(SocketError::Item)?;
        self.put(connection_key(id), CONNECTION, item).await
    }

    /// A connection; none if it has expired.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let item = self.get(connection_key(id), CONNECTION).await?;
        let connection: Option<Connection> = item
            .map(serde_dynamo::from_item)
            .transpose()
            .map_err(SocketError::Item)?;
        let now = Timestamp::now().as_second();
        Ok(connection.filter(|connection| connection.expires_at > now))
    }

    /// Notes a subscription; says whether there was room for it.
    pub(crate) async fn subscribe(
        &self,
        id: &str,
        connection: &Connection,
        topic: &Topic,
    ) -> Result<bool, SocketError> {
        let key = topic.key();
        // First, so that whatever a connection subscribes to goes with it.
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
            .expression_attribute_values(":key", text(&key))
            .expression_attribute_values(":keys", AttributeValue::Ss(vec![key.clone()]))
            .send()
            .await;
        match added {
            Ok(_) => {}
            Err(error) if is_unmet(&error) => return Ok(false),
            Err(error) => return Err(SocketError::of("UpdateItem", &error)),
        }
        let subscriber = Subscriber {
            connection: id.to_owned(),
            datasets: connection.datasets.clone(),
            since: matches!(topic, Topic::Dataset(_)).then(|| Timestamp::now().as_millisecond()),
            expires_at: connection.expires_at,
        };
        let item = serde_dynamo::to_item(subscriber).map_err(SocketError::Item)?;
        self.put(key, id, item).await?;
        Ok(true)
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, id: &str, topic: &Topic) -> Result<(), SocketError> {
        let key = topic.key();
        self.delete(&key, id).await?;
        let removed = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(connection_key(id)))
            .key("sk", text(CONNECTION))
            .condition_expression("attribute_exists(pk)")
            .update_expression("DELETE topics :keys")
            .expression_attribute_values(":keys", AttributeValue::Ss(vec![key]))
            .send()
            .await;
        match removed {
            Err(error) if !is_unmet(&error) => Err(SocketError::of("UpdateItem", &error)),
            _ => Ok(()),
        }
    }

    /// Forgets a connection and all its subscriptions.
    pub(crate) async fn close(&self, id: &str) -> Result<(), SocketError> {
        let item = self.get(connection_key(id), CONNECTION).await?;
        let topics = match item.as_ref().and_then(|item| item.get("topics")) {
            Some(AttributeValue::Ss(topics)) => topics.clone(),
            _ => Vec::new(),
        };
        stream::iter(topics)
            .map(|topic| async move { self.delete(&topic, id).await })
            .buffer_unordered(REMOVED_AT_ONCE)
            .try_collect::<()>()
            .await?;
        // Last: whoever dies before leaves something for the next to find them by.
        self.delete(&connection_key(id), CONNECTION).await
    }

    /// Forgets a connection that was found gone while a topic was pushed.
    pub(crate) async fn prune(&self, id: &str, topics: &[Topic]) -> Result<(), SocketError> {
        // Its own item may be gone already, by a disconnect that met a subscription half-way.
        for topic in topics {
            self.delete(&topic.key(), id).await?;
        }
        self.close(id).await
    }

    /// All who subscribe to a topic and have not expired.
    pub(crate) async fn subscribers(&self, topic: &Topic) -> Result<Vec<Subscriber>, SocketError> {
        let now = Timestamp::now().as_second();
        let mut found = Vec::new();
        self.each(topic.key(), |item| {
            let subscriber: Subscriber =
                serde_dynamo::from_item(item).map_err(SocketError::Item)?;
            if subscriber.expires_at > now {
                found.push(subscriber);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// One who subscribes to a topic, unless expired.
    pub(crate) async fn subscriber(
        &self,
        topic: &Topic,
        id: &str,
    ) -> Result<Option<Subscriber>, SocketError> {
        let now = Timestamp::now().as_second();
        let item = self.get(topic.key(), id).await?;
        let subscriber: Option<Subscriber> = item
            .map(serde_dynamo::from_item)
            .transpose()
            .map_err(SocketError::Item)?;
        Ok(subscriber.filter(|subscriber| subscriber.expires_at > now))
    }

    /// The connections that have been told of a job's completion.
    pub(crate) async fn told(&self, job: JobId) -> Result<HashSet<String>, SocketError> {
        let mut told = HashSet::new();
        self.each(completed_key(job), |mut item| {
            if let Some(AttributeValue::S(id)) = item.remove("sk") {
                told.insert(id);
            }
            Ok(())
        })
        .await?;
        Ok(told)
    }

    /// Notes that a connection has been told of a job's completion.
    pub(crate) async fn set_told(&self, job: JobId, to: &Subscriber) -> Result<(), SocketError> {
        let item = Item::from([("expires_at".to_owned(), number(to.expires_at))]);
        self.put(completed_key(job), &to.connection, item).await
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

    async fn get(&self, pk: String, sk: &str) -> Result<Option<Item>, SocketError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .consistent_read(true)
            .send()
            .await
            .map(|answer| answer.item)
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

    /// Each item of a partition, as it is now.
    async fn each(
        &self,
        pk: String,
        mut take: impl FnMut(Item) -> Result<(), SocketError>,
    ) -> Result<(), SocketError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            take(item.map_err(|error| SocketError::of("Query", &error))?)?;
        }
        Ok(())
    }
}
