//! The table of connections. Its items:
//!
//! - `connection/<id>`, `connection`: a connection and its subscriptions;
//! - `job/<id>` or `dataset/<name>`, `<connection>`: a subscription;
//! - `completed/<job>`, `<connection>`: marks that a connection has received a job's completion.
//!
//! All expire with the connection. DynamoDB may delete expired items days later, so readers check the expiry
//! themselves.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::{Access, Grant, Scope};
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};

use crate::SocketError;
use crate::messages::Topic;

/// Seconds that a connection lives: the limit of API Gateway.
const LIFETIME: i64 = 2 * 3600;
/// The most topics a connection may subscribe to at once.
pub const MAX_TOPICS: usize = 100;
/// Subscriptions of a connection that are deleted concurrently.
const CONCURRENT_DELETES: usize = 8;

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Name of its token.
    pub token: String,
    /// The datasets its token covered when the connection was opened.
    pub datasets: Access,
    /// Seconds since 1970.
    pub expires_at: i64,
    /// Keys of the topics it subscribes to. Only [`ConnectionTable::add_topic`] and
    /// [`ConnectionTable::remove_topic`] write them.
    #[serde(default, skip_serializing)]
    pub topics: BTreeSet<String>,
}

impl Connection {
    /// Returns what its token allowed when the connection was opened.
    pub(crate) fn grant(&self) -> Grant {
        Grant {
            name: self.token.clone(),
            scopes: [Scope::Read].into(),
            datasets: self.datasets.clone(),
        }
    }
}

/// A subscription of one connection to one topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscriber {
    /// Id of the connection.
    #[serde(rename = "sk")]
    pub connection: String,
    /// The datasets its token covers.
    pub datasets: Access,
    /// When it subscribed, in milliseconds since 1970. Set for datasets only: the subscriber receives the
    /// completions that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Seconds since 1970.
    pub expires_at: i64,
}

impl Subscriber {
    /// Reports whether its token covers jobs of this dataset; `None` stands for an object key that names no
    /// dataset.
    pub(crate) fn may_see(&self, dataset: Option<&str>) -> bool {
        let grant = Grant {
            name: String::new(),
            scopes: [Scope::Read].into(),
            datasets: self.datasets.clone(),
        };
        grant.may(Scope::Read, dataset)
    }
}

/// The table of connections. Every method reads or writes a single item, or queries one partition; all reads are
/// consistent.
///
/// Items expire with their connection. They may still be returned days later, so callers check `expires_at`.
/// A topic is passed as its key.
#[async_trait]
pub trait ConnectionTable: Send + Sync {
    /// Stores a new connection without topics.
    async fn put_connection(&self, id: &str, connection: &Connection) -> Result<(), SocketError>;

    /// Returns a connection.
    async fn connection(&self, id: &str) -> Result<Option<Connection>, SocketError>;

    /// Deletes a connection, but not its subscriptions.
    async fn delete_connection(&self, id: &str) -> Result<(), SocketError>;

    /// Adds a topic to a connection. Returns false if there is no such connection, or if it has [`MAX_TOPICS`]
    /// others.
    async fn add_topic(&self, id: &str, topic: &str) -> Result<bool, SocketError>;

    /// Removes a topic from a connection, if both exist.
    async fn remove_topic(&self, id: &str, topic: &str) -> Result<(), SocketError>;

    /// Stores a subscription.
    async fn put_subscriber(&self, topic: &str, subscriber: &Subscriber)
    -> Result<(), SocketError>;

    /// Returns the subscription of a connection to a topic.
    async fn subscriber(&self, topic: &str, id: &str) -> Result<Option<Subscriber>, SocketError>;

    /// Returns all subscriptions to a topic.
    async fn subscribers(&self, topic: &str) -> Result<Vec<Subscriber>, SocketError>;

    /// Deletes the subscription of a connection to a topic.
    async fn delete_subscriber(&self, topic: &str, id: &str) -> Result<(), SocketError>;

    /// Records that a connection has received the completion of a job.
    async fn set_notified(&self, job: JobId, subscriber: &Subscriber) -> Result<(), SocketError>;

    /// Returns the ids of the connections that have received the completion of a job.
    async fn notified(&self, job: JobId) -> Result<HashSet<String>, SocketError>;
}

/// Opens and closes connections, and keeps their subscriptions.
#[derive(Clone)]
pub struct Connections {
    table: Arc<dyn ConnectionTable>,
}

impl Connections {
    /// Creates it over a table.
    pub fn new(table: Arc<dyn ConnectionTable>) -> Self {
        Self { table }
    }

    /// Records a new connection.
    pub(crate) async fn open(&self, id: &str, grant: Grant) -> Result<(), SocketError> {
        let connection = Connection {
            token: grant.name,
            datasets: grant.datasets,
            expires_at: Timestamp::now().as_second() + LIFETIME,
            topics: BTreeSet::new(),
        };
        self.table.put_connection(id, &connection).await
    }

    /// Returns a connection, unless it has expired.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let connection = self.table.connection(id).await?;
        let now = Timestamp::now().as_second();
        Ok(connection.filter(|connection| connection.expires_at > now))
    }

    /// Records a subscription. Returns false if the connection has too many.
    pub(crate) async fn subscribe(
        &self,
        id: &str,
        connection: &Connection,
        topic: &Topic,
    ) -> Result<bool, SocketError> {
        let key = topic.key();
        // First the topic, so that closing the connection also deletes a subscription that was only half made.
        if !self.table.add_topic(id, &key).await? {
            return Ok(false);
        }
        let subscriber = Subscriber {
            connection: id.to_owned(),
            datasets: connection.datasets.clone(),
            since: matches!(topic, Topic::Dataset(_)).then(|| Timestamp::now().as_millisecond()),
            expires_at: connection.expires_at,
        };
        self.table.put_subscriber(&key, &subscriber).await?;
        Ok(true)
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, id: &str, topic: &Topic) -> Result<(), SocketError> {
        let key = topic.key();
        self.table.delete_subscriber(&key, id).await?;
        self.table.remove_topic(id, &key).await
    }

    /// Deletes a connection and all its subscriptions.
    pub(crate) async fn close(&self, id: &str) -> Result<(), SocketError> {
        let connection = self.table.connection(id).await?;
        let topics = connection.map(|connection| connection.topics);
        stream::iter(topics.into_iter().flatten())
            .map(|topic| async move { self.table.delete_subscriber(&topic, id).await })
            .buffer_unordered(CONCURRENT_DELETES)
            .try_collect::<()>()
            .await?;
        // Last, so that a retry after a crash still finds the topics.
        self.table.delete_connection(id).await
    }

    /// Deletes a connection that was found gone while a message about these topics was pushed.
    pub(crate) async fn prune(&self, id: &str, topics: &[Topic]) -> Result<(), SocketError> {
        // A disconnect during a subscribe can delete the connection's item before the subscription is written, so
        // the item alone does not lead to all subscriptions.
        for topic in topics {
            self.table.delete_subscriber(&topic.key(), id).await?;
        }
        self.close(id).await
    }

    /// Returns all subscribers to a topic that have not expired.
    pub(crate) async fn subscribers(&self, topic: &Topic) -> Result<Vec<Subscriber>, SocketError> {
        let mut found = self.table.subscribers(&topic.key()).await?;
        let now = Timestamp::now().as_second();
        found.retain(|subscriber| subscriber.expires_at > now);
        Ok(found)
    }

    /// Returns one subscriber to a topic, unless it has expired.
    pub(crate) async fn subscriber(
        &self,
        topic: &Topic,
        id: &str,
    ) -> Result<Option<Subscriber>, SocketError> {
        let found = self.table.subscriber(&topic.key(), id).await?;
        let now = Timestamp::now().as_second();
        Ok(found.filter(|subscriber| subscriber.expires_at > now))
    }

    /// Returns the ids of the connections that have received the completion of a job.
    pub(crate) async fn notified(&self, job: JobId) -> Result<HashSet<String>, SocketError> {
        self.table.notified(job).await
    }

    /// Records that a subscriber has received the completion of a job.
    pub(crate) async fn set_notified(
        &self,
        job: JobId,
        subscriber: &Subscriber,
    ) -> Result<(), SocketError> {
        self.table.set_notified(job, subscriber).await
    }
}
