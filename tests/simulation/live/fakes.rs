//! The services around the socket, in memory. Every call can fail, before its effect or with its reply lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use landfall_aws::AwsError;
use landfall_domain::JobId;
use landfall_ledger::{JobIndex, JobsPage, JobsQuery, LedgerError};
use landfall_runtime::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use socket::{
    Connection, ConnectionTable, Delivery, Gateway, MAX_TOPICS, PushMessage, PushQueue,
    SocketError, Subscriber,
};

use crate::fakes::Table;
use crate::schedule::pause;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

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
    pub connections: Mutex<BTreeMap<String, Connection>>,
    pub subscribers: Mutex<BTreeMap<(String, String), Subscriber>>,
    notified: Mutex<BTreeSet<(JobId, String)>>,
}

impl ConnectionMap {
    pub fn new(network: Arc<Network>) -> Self {
        Self {
            network,
            connections: Mutex::default(),
            subscribers: Mutex::default(),
            notified: Mutex::default(),
        }
    }
}

#[async_trait]
impl ConnectionTable for ConnectionMap {
    async fn put_connection(&self, id: &str, connection: &Connection) -> Result<(), SocketError> {
        let put = || locked(&self.connections).insert(id.to_owned(), connection.clone());
        self.network.call(put).await.map(drop)
    }

    async fn connection(&self, id: &str) -> Result<Option<Connection>, SocketError> {
        let get = || locked(&self.connections).get(id).cloned();
        self.network.call(get).await
    }

    async fn delete_connection(&self, id: &str) -> Result<(), SocketError> {
        let delete = || locked(&self.connections).remove(id);
        self.network.call(delete).await.map(drop)
    }

    async fn add_topic(&self, id: &str, topic: &str) -> Result<bool, SocketError> {
        let add = || {
            let mut connections = locked(&self.connections);
            connections.get_mut(id).is_some_and(|connection| {
                let topics = &mut connection.topics;
                let fits = topics.len() < MAX_TOPICS || topics.contains(topic);
                if fits {
                    topics.insert(topic.to_owned());
                }
                fits
            })
        };
        self.network.call(add).await
    }

    async fn remove_topic(&self, id: &str, topic: &str) -> Result<(), SocketError> {
        let remove = || {
            if let Some(connection) = locked(&self.connections).get_mut(id) {
                connection.topics.remove(topic);
            }
        };
        self.network.call(remove).await
    }

    async fn put_subscriber(
        &self,
        topic: &str,
        subscriber: &Subscriber,
    ) -> Result<(), SocketError> {
        let key = (topic.to_owned(), subscriber.connection.clone());
        let put = || locked(&self.subscribers).insert(key, subscriber.clone());
        self.network.call(put).await.map(drop)
    }

    async fn subscriber(&self, topic: &str, id: &str) -> Result<Option<Subscriber>, SocketError> {
        let key = (topic.to_owned(), id.to_owned());
        let get = || locked(&self.subscribers).get(&key).cloned();
        self.network.call(get).await
    }

    async fn subscribers(&self, topic: &str) -> Result<Vec<Subscriber>, SocketError> {
        let query = || {
            locked(&self.subscribers)
                .iter()
                .filter(|((key, _), _)| key == topic)
                .map(|(_, subscriber)| subscriber.clone())
                .collect()
        };
        self.network.call(query).await
    }

    async fn delete_subscriber(&self, topic: &str, id: &str) -> Result<(), SocketError> {
        let key = (topic.to_owned(), id.to_owned());
        let delete = || locked(&self.subscribers).remove(&key);
        self.network.call(delete).await.map(drop)
    }

    async fn set_notified(&self, job: JobId, subscriber: &Subscriber) -> Result<(), SocketError> {
        let set = || locked(&self.notified).insert((job, subscriber.connection.clone()));
        self.network.call(set).await.map(drop)
    }

    async fn notified(&self, job: JobId) -> Result<HashSet<String>, SocketError> {
        let query = || {
            locked(&self.notified)
                .iter()
                .filter(|(of, _)| *of == job)
                .map(|(_, connection)| connection.clone())
                .collect()
        };
        self.network.call(query).await
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

    async fn put_back(&self, _: &[Message]) -> Result<(), SocketError> {
        self.network.call(|| ()).await
    }
}

#[async_trait]
impl JobIndex for Table {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        pause().await;
        self.0.jobs(query).await
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        pause().await;
        self.0.generation(dataset).await
    }
}
