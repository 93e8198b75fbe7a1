//! The services around the socket, in memory. Every call can fail, before its effect or with its reply lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, find, require};
use landfall_domain::JobId;
use landfall_ledger::{JobIndex, JobsCursor, JobsPage, JobsQuery, LedgerError, OrderQuery};
use landfall_runtime::Visibility;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use socket::{ConnectionTable, Delivery, Gateway, MAX_TOPICS, PushMessage, PushQueue, SocketError};

use crate::fakes::{Table, locked};
use crate::schedule::pause;

/// Simulated time, counted in steps of the schedule.
pub struct Clock {
    now: AtomicU64,
    /// Steps in a second.
    pub second: u64,
}

impl Clock {
    pub fn new(second: u64) -> Self {
        let now = AtomicU64::new(0);
        Self { now, second }
    }

    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn advance(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes some calls fail.
pub struct Network {
    rng: Mutex<StdRng>,
    /// Share of calls that fail.
    rate: f64,
    /// Failures left.
    failures: AtomicU64,
}

impl Network {
    /// Creates a network in which calls fail at this rate, up to a number of failures.
    pub fn new(seed: u64, rate: f64, failures: u64) -> Self {
        Self {
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            rate,
            failures: failures.into(),
        }
    }

    fn check(&self) -> Result<(), SocketError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left == 0 || !locked(&self.rng).random_bool(self.rate) {
            return Ok(());
        }
        self.failures.store(left - 1, Ordering::Relaxed);
        Err(AwsError::unavailable("Call", "the service", "the network is down").into())
    }

    async fn call<T>(&self, effect: impl FnOnce() -> T) -> Result<T, SocketError> {
        pause().await;
        self.check()?;
        let reply = effect();
        pause().await;
        self.check()?;
        Ok(reply)
    }
}

/// The table of connections.
pub struct ConnectionMap {
    network: Arc<Network>,
    pub items: Mutex<BTreeMap<(String, String), Item>>,
}

impl ConnectionMap {
    pub fn new(network: Arc<Network>) -> Self {
        Self {
            network,
            items: Mutex::default(),
        }
    }

    /// Changes the topics of a connection that exists.
    async fn edit<T: Default>(
        &self,
        pk: &str,
        sk: &str,
        edit: impl FnOnce(&mut BTreeSet<String>) -> T,
    ) -> Result<T, SocketError> {
        let key = (pk.to_owned(), sk.to_owned());
        let edit = || {
            let mut items = locked(&self.items);
            let Some(item) = items.get_mut(&key) else {
                return T::default();
            };
            let mut topics = topics(item);
            let edited = edit(&mut topics);
            let stored = AttributeValue::Ss(topics.into_iter().collect());
            item.insert("topics".to_owned(), stored);
            edited
        };
        self.network.call(edit).await
    }
}

/// Returns the topics of a connection.
pub fn topics(connection: &Item) -> BTreeSet<String> {
    find(connection, "topics").unwrap().unwrap_or_default()
}

#[async_trait]
impl ConnectionTable for ConnectionMap {
    async fn put(&self, item: Item) -> Result<(), SocketError> {
        let key = |name| require(&item, name).unwrap();
        let key = (key("pk"), key("sk"));
        let put = || locked(&self.items).insert(key, item);
        self.network.call(put).await.map(drop)
    }

    async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, SocketError> {
        let key = (pk.to_owned(), sk.to_owned());
        let get = || locked(&self.items).get(&key).cloned();
        self.network.call(get).await
    }

    async fn delete(&self, pk: &str, sk: &str) -> Result<(), SocketError> {
        let key = (pk.to_owned(), sk.to_owned());
        let delete = || locked(&self.items).remove(&key);
        self.network.call(delete).await.map(drop)
    }

    async fn query(&self, pk: &str) -> Result<Vec<Item>, SocketError> {
        let query = || {
            let items = locked(&self.items);
            let found = items.iter().filter(|((key, _), _)| key == pk);
            found.map(|(_, item)| item.clone()).collect()
        };
        self.network.call(query).await
    }

    async fn add_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<bool, SocketError> {
        let add = |topics: &mut BTreeSet<String>| {
            let fits = topics.len() < MAX_TOPICS || topics.contains(topic);
            if fits {
                topics.insert(topic.to_owned());
            }
            fits
        };
        self.edit(pk, sk, add).await
    }

    async fn remove_topic(&self, pk: &str, sk: &str, topic: &str) -> Result<(), SocketError> {
        let remove = |topics: &mut BTreeSet<String>| topics.remove(topic);
        self.edit(pk, sk, remove).await.map(drop)
    }
}

/// The clients as the gateway sees them.
pub struct Clients {
    network: Arc<Network>,
    clock: Arc<Clock>,
    /// Frames received over each open connection, with their times.
    pub open: Mutex<BTreeMap<String, Vec<(u64, Value)>>>,
    /// Connections and jobs for which the last push did not reach the client.
    pub missed: Mutex<BTreeSet<(String, String)>>,
}

impl Clients {
    pub fn new(network: Arc<Network>, clock: Arc<Clock>) -> Self {
        Self {
            network,
            clock,
            open: Mutex::default(),
            missed: Mutex::default(),
        }
    }
}

#[async_trait]
impl Gateway for Clients {
    async fn post(&self, connection: &str, frame: &[u8]) -> Result<Delivery, SocketError> {
        let frame: Value = serde_json::from_slice(frame).unwrap();
        let job = frame["job"]["id"].as_str().unwrap_or_default().to_owned();
        let key = (connection.to_owned(), job);
        locked(&self.missed).insert(key.clone());
        let post = || {
            let mut open = locked(&self.open);
            let Some(received) = open.get_mut(connection) else {
                return Delivery::Gone;
            };
            received.push((self.clock.now(), frame));
            locked(&self.missed).remove(&key);
            Delivery::Accepted
        };
        self.network.call(post).await
    }

    async fn close(&self, connection: &str) -> Result<(), SocketError> {
        let is_open = locked(&self.open).contains_key(connection);
        assert!(
            !is_open,
            "the socket closed a connection that had not expired"
        );
        Ok(())
    }
}

/// A message that waits in the push queue.
#[derive(Clone)]
pub struct Queued {
    pub message: PushMessage,
    /// When it can be received.
    pub visible_at: u64,
    pub receives: u32,
}

/// The push queue.
pub struct Pushes {
    network: Arc<Network>,
    clock: Arc<Clock>,
    pub waiting: Mutex<Vec<Queued>>,
    accepted: Mutex<HashSet<(JobId, String)>>,
}

impl Pushes {
    pub fn new(network: Arc<Network>, clock: Arc<Clock>) -> Self {
        Self {
            network,
            clock,
            waiting: Mutex::default(),
            accepted: Mutex::default(),
        }
    }
}

#[async_trait]
impl PushQueue for Pushes {
    async fn send(&self, messages: &[PushMessage]) -> Result<(), SocketError> {
        let second = i64::try_from(self.clock.now() / self.clock.second).unwrap();
        for message in messages {
            let key = (message.job, message.deduplication_id(second));
            let send = || {
                if locked(&self.accepted).insert(key) {
                    locked(&self.waiting).push(Queued {
                        message: message.clone(),
                        visible_at: self.clock.now() + self.clock.second,
                        receives: 0,
                    });
                }
            };
            self.network.call(send).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Visibility for Pushes {
    async fn change(&self, _: &[(String, i32)]) -> Result<(), AwsError> {
        let changed = self.network.call(|| ()).await;
        changed.map_err(|error| AwsError::unavailable("ChangeMessageVisibility", "pushes", error))
    }
}

#[async_trait]
impl JobIndex for Table {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        pause().await;
        self.0.jobs(query).await
    }

    async fn open_jobs(
        &self,
        after: Option<&JobsCursor>,
        limit: usize,
    ) -> Result<JobsPage, LedgerError> {
        pause().await;
        self.0.open_jobs(after, limit).await
    }

    async fn jobs_of_order(&self, query: &OrderQuery) -> Result<JobsPage, LedgerError> {
        pause().await;
        self.0.jobs_of_order(query).await
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        pause().await;
        self.0.generation(dataset).await
    }
}
