use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use landfall_aws::{Bell, ChunkQueue, Contents, Datasets, MaintenanceQueue, Objects, Publisher};
use landfall_closing::Closer;
use landfall_ledger::{CircuitTable, Ledger, LedgerTable, ParentTable, WriteTable};
use landfall_runtime::{Environment, Metrics, StoresError, Visibility, required};
use landfall_stores::{Reader, Store};

use crate::circuit::{Circuits, Clock};
use crate::header::HeaderCache;
use crate::requests::Requests;
use crate::write::Deletable;

/// How the messages of the chunk queue are delivered again.
pub struct Redelivery {
    /// The queue, for close messages that continue a prune, chunks that are sent again, and work that has to wait.
    pub queue: Arc<dyn ChunkQueue>,
    /// The maintenance queue.
    pub maintenance: Arc<dyn MaintenanceQueue>,
    /// Sets when messages become visible again.
    pub visibility: Arc<dyn Visibility>,
    /// The `maxReceiveCount` of the chunk queue, after which a message goes to the dead-letter queue.
    pub max_receives: u32,
    /// How long a chunk waits for a store that is down.
    pub store_wait: SignedDuration,
}

/// The dependencies of the worker.
pub struct Context {
    /// The rejects.
    pub objects: Arc<dyn Objects>,
    /// The text of the objects in the inbox.
    pub contents: Contents,
    /// Definitions of datasets.
    pub datasets: Arc<Datasets>,
    /// The ledger.
    pub ledger: Ledger,
    /// The same ledger, for writes by the API.
    pub writes: Arc<dyn WriteTable>,
    /// The same ledger, for the numbers of rows.
    pub parents: Arc<dyn ParentTable>,
    /// The databases.
    pub stores: Vec<Arc<dyn Store>>,
    /// The same databases, for reading.
    pub readers: Vec<Arc<dyn Reader>>,
    /// Bucket of the rejects.
    pub rejects_bucket: String,
    /// Bucket of large rows of writes.
    pub work_bucket: String,
    /// How messages are delivered again.
    pub redelivery: Redelivery,
    /// Rings the relay.
    pub bell: Arc<dyn Bell>,
    /// What is counted and measured.
    pub metrics: Metrics,
    /// Closes jobs.
    pub closer: Closer,
    pub(crate) circuits: Circuits,
    pub(crate) headers: HeaderCache,
    pub(crate) requests: Requests,
    pub(crate) deletable: Deletable,
}

impl Context {
    /// Returns a context with these dependencies.
    #[expect(clippy::too_many_arguments, reason = "each is another service")]
    pub fn new<L: LedgerTable + CircuitTable + WriteTable + ParentTable + 'static>(
        objects: Arc<dyn Objects>,
        work_bucket: impl Into<String>,
        datasets: Datasets,
        ledger: Arc<L>,
        publisher: Arc<dyn Publisher>,
        stores: Vec<Arc<dyn Store>>,
        readers: Vec<Arc<dyn Reader>>,
        rejects_bucket: impl Into<String>,
        redelivery: Redelivery,
        bell: Arc<dyn Bell>,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let circuits = Circuits::new(ledger.clone(), clock, metrics.clone());
        let writes = ledger.clone();
        let parents = ledger.clone();
        let ledger = Ledger::new(ledger);
        let work_bucket = work_bucket.into();
        let contents = Contents::new(Arc::clone(&objects), work_bucket.clone());
        let datasets = Arc::new(datasets);
        let rejects_bucket = rejects_bucket.into();
        Self {
            objects,
            contents,
            closer: Closer::new(
                ledger.clone(),
                publisher,
                Arc::clone(&redelivery.queue),
                Arc::clone(&datasets),
                stores.clone(),
                rejects_bucket.clone(),
                metrics.clone(),
            ),
            datasets,
            ledger,
            writes,
            parents,
            stores,
            readers,
            rejects_bucket,
            work_bucket,
            redelivery,
            bell,
            metrics,
            circuits,
            deletable: Deletable::default(),
            headers: HeaderCache::default(),
            requests: Requests::default(),
        }
    }

    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, StoresError> {
        let environment = Environment::load().await;
        let rejects_bucket: String = required("LANDFALL_REJECTS_BUCKET")?;
        let work_bucket: String = required("LANDFALL_WORK_BUCKET")?;
        let queue = Arc::new(environment.queue("LANDFALL_CHUNK_QUEUE_URL")?);
        let redelivery = Redelivery {
            queue: Arc::clone(&queue) as Arc<dyn ChunkQueue>,
            maintenance: Arc::new(environment.queue("LANDFALL_MAINTENANCE_QUEUE_URL")?),
            visibility: queue,
            max_receives: required("LANDFALL_CHUNK_RECEIVES")?,
            store_wait: SignedDuration::from_hours(required("LANDFALL_STORE_WAIT_HOURS")?),
        };
        Ok(Self::new(
            environment.objects(),
            work_bucket,
            environment.datasets()?,
            Arc::new(environment.ledger_table()?),
            Arc::new(environment.event_bus()?),
            environment.stores().await?,
            environment.readers().await?,
            rejects_bucket,
            redelivery,
            Arc::new(environment.queue("LANDFALL_RELAY_QUEUE_URL")?),
            Metrics::from_environment()?,
            Arc::new(Timestamp::now),
        ))
    }
}
