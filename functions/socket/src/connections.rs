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
use landfall_auth::{Access, Grant};
use landfall_aws::dynamo::{Item, from_item, number, text, to_item};
use landfall_domain::JobId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::SocketError;
use crate::messages::Topic;

/// Seconds that a connection lives: the limit of API Gateway.
const LIFETIME: i64 = 2 * 3600;
/// The most topics a connection may subscribe to at once.
pub const MAX_TOPICS: usize = 100;
/// Subscriptions of a connection that are deleted concurrently.
const CONCURRENT_DELETES: usize = 8;
/// Sort key of connections.
const CONNECTION: &str = "connection";

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Name of its token.
    pub(crate) token: String,
    /// The datasets its token covered when the connection was opened.
    pub(crate) datasets: Access,
    /// Seconds since 1970.
    expires_at: i64,
    /// Keys of the topics it subscribes to. Only [`ConnectionTable::add_topic`] and
    /// [`ConnectionTable::remove_topic`] write them.
    #[serde(default, skip_serializing)]
    topics: BTreeSet<String>,
}

/// A subscription of one connection to one topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscriber {
    /// Id of the connection.
    #[serde(rename = "sk")]
    pub(crate) connection: String,
    /// The datasets its token covers.
    pub(crate) datasets: Access,
    /// When it subscribed, in milliseconds since 1970. Set for datasets only: the subscriber receives the
    /// completions that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<i64>,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

/// The table of connections. Every method reads or writes a single item, or queries one partition; all reads are
/// consistent. `pk` is the partition key and `sk` the sort key of an item.
#[async_trait]
pub trait ConnectionTable: Send + Sync {
    /// Stores an item, which has its keys as attributes.
    async fn put(&self, item: Item) -> Result<(), SocketError>;

    /// Returns an item.
    async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, SocketError>;

    /// Deletes an item, if it exists.
    async fn delete(&self, pk: &str, sk: &str) -> Result<(), SocketError>;

    /// Returns all items of a partition.
    async fn query(&self, pk: &str) -> Result<Vec<Item>, SocketError>;

    /// Adds a topic to the attribute `topics` of a connection. Returns false if there is no such connection, or if it
    /// has [`MAX_TOPICS`] others.
    async fn add_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<bool, SocketError>;

    /// Removes a topic from a connection, if both exist.
    async fn remove_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<(), SocketError>;
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
        self.put(connection_key(id), CONNECTION, to_item(&connection)?)
            .await
    }

    /// Returns a connection, unless it has expired.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let found: Option<Connection> = self.get(&connection_key(id), CONNECTION).await?;
        Ok(found.filter(|connection| is_valid(connection.expires_at)))
    }

    /// Records a subscription. Returns false if the connection has too many.
    pub(crate) async fn subscribe(
        &self,
        id: &str,
        connection: &Connection,
        topic: &Topic,
    ) -> Result<bool, SocketError> {
        let (topic_key, key) = (topic.key(), connection_key(id));
        // First the topic, so that closing the connection also deletes a subscription that was only half made.
        if !self.table.add_topic(&key, CONNECTION, &topic_key).await? {
            return Ok(false);
        }
        let subscriber = Subscriber {
            connection: id.to_owned(),
            datasets: connection.datasets.clone(),
            since: matches!(topic, Topic::Dataset(_)).then(|| Timestamp::now().as_millisecond()),
            expires_at: connection.expires_at,
        };
        self.put(topic_key, id, to_item(&subscriber)?).await?;
        Ok(true)
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, id: &str, topic: &Topic) -> Result<(), SocketError> {
        let (topic_key, key) = (topic.key(), connection_key(id));
        self.table.delete(&topic_key, id).await?;
        self.table.remove_topic(&key, CONNECTION, &topic_key).await
    }

    /// Deletes a connection and all its subscriptions.
    pub(crate) async fn close(&self, id: &str) -> Result<(), SocketError> {
        let key = connection_key(id);
        let connection: Option<Connection> = self.get(&key, CONNECTION).await?;
        let topics = connection.map(|connection| connection.topics);
        stream::iter(topics.into_iter().flatten())
            .map(|topic| async move { self.table.delete(&topic, id).await })
            .buffer_unordered(CONCURRENT_DELETES)
            .try_collect::<()>()
            .await?;
        // Last, so that a retry after a crash still finds the topics.
        self.table.delete(&key, CONNECTION).await
    }

    /// Deletes a connection that was found gone while a message about these topics was pushed.
    pub(crate) async fn prune(&self, id: &str, topics: &[Topic]) -> Result<(), SocketError> {
        // A disconnect during a subscribe can delete the connection's item before the subscription is written, so
        // the item alone does not lead to all subscriptions.
        for topic in topics {
            self.table.delete(&topic.key(), id).await?;
        }
        self.close(id).await
    }

    /// Returns all subscribers to a topic that have not expired.
    pub(crate) async fn subscribers(&self, topic: &Topic) -> Result<Vec<Subscriber>, SocketError> {
        let mut found: Vec<Subscriber> = self.query(&topic.key()).await?;
        found.retain(|subscriber| is_valid(subscriber.expires_at));
        Ok(found)
    }

    /// Returns one subscriber to a topic, unless it has expired.
    pub(crate) async fn subscriber(
        &self,
        topic: &Topic,
        id: &str,
    ) -> Result<Option<Subscriber>, SocketError> {
        let found: Option<Subscriber> = self.get(&topic.key(), id).await?;
        Ok(found.filter(|subscriber| is_valid(subscriber.expires_at)))
    }

    /// Records that a subscriber has received the completion of a job.
    pub(crate) async fn set_notified(
        &self,
        job: JobId,
        subscriber: &Subscriber,
    ) -> Result<(), SocketError> {
        let item = Item::from([("expires_at".to_owned(), number(subscriber.expires_at))]);
        self.put(completed_key(job), &subscriber.connection, item)
            .await
    }

    /// Returns the ids of the connections that have received the completion of a job.
    pub(crate) async fn notified(&self, job: JobId) -> Result<HashSet<String>, SocketError> {
        #[derive(Deserialize)]
        struct Key {
            sk: String,
        }
        let keys: Vec<Key> = self.query(&completed_key(job)).await?;
        Ok(keys.into_iter().map(|key| key.sk).collect())
    }

    async fn put(&self, pk: String, sk: &str, mut item: Item) -> Result<(), SocketError> {
        item.insert("pk".to_owned(), text(pk));
        item.insert("sk".to_owned(), text(sk));
        self.table.put(item).await
    }

    async fn get<T: DeserializeOwned>(&self, pk: &str, sk: &str) -> Result<Option<T>, SocketError> {
        let item = self.table.get(pk, sk).await?;
        Ok(item.map(from_item).transpose()?)
    }

    async fn query<T: DeserializeOwned>(&self, pk: &str) -> Result<Vec<T>, SocketError> {
        let items = self.table.query(pk).await?.into_iter();
        Ok(items.map(from_item).collect::<Result<_, _>>()?)
    }
}

fn connection_key(id: &str) -> String {
    format!("{CONNECTION}/{id}")
}

fn completed_key(job: JobId) -> String {
    format!("completed/{job}")
}

fn is_valid(expires_at: i64) -> bool {
    expires_at > Timestamp::now().as_second()
}
