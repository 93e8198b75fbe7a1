//! One world of the simulation: uploads files and invokes the functions.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use jiff::SignedDuration;
use landfall_aws::{
    Bell, ChunkQueue, Contents, Datasets, MaintenanceQueue, Objects, Publisher, SplitQueue,
};
use landfall_closing::{
    CancelError, ConfirmError, RedriveError, cancel_job, confirm_prune, redrive_job,
};
use landfall_domain::{JobId, PruneState, StoreKind};
use landfall_ledger::{Ledger, LedgerTable, PruneRefusal};
use landfall_runtime::{Deadline, Metrics, Visibility};
use landfall_stores::{Reader, Store};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::json;
use worker::Redelivery;

use crate::fakes::{Buckets, Bus, Log, Table};
use crate::files::{File, Kind, files};
use crate::fixed::Fixed;
use crate::outcome::check;
use crate::planned;
use crate::queue::{Queue, Splits};
use crate::schedule::{Schedule, Step, Task};
use crate::stores::Map;

/// Longer than any invocation takes.
const HOUR: Duration = Duration::from_hours(1);
/// The time of an invocation that must stop as soon as it has done something.
const HURRIED: Duration = Duration::from_secs(30);
/// Size of one read of the splitter, so that small files have many.
const SEGMENT_BYTES: u64 = 64;
/// How often a message is received before it goes to the dead-letter queue.
pub const MAX_RECEIVES: u32 = 8;

/// How long a chunk waits for a store that is down.
pub const STORE_WAIT: SignedDuration = SignedDuration::from_hours(72);

/// Invocations that run at the same time.
pub const RUNNING: usize = 6;

/// What a function is invoked with.
pub enum Cause {
    Notification(serde_json::Value),
    Messages(Vec<Message>),
    /// A confirmation of a prune that was held back.
    Confirmation(JobId),
    /// A cancellation of a job.
    Cancellation(JobId),
    /// A redrive of a job.
    Redrive(JobId),
}

/// A delivery of a message: its body and its receive count.
pub type Message = (String, u32);

/// The result of an invocation: the messages to be redelivered, or an error.
pub type Outcome = Result<HashSet<String>, ()>;

/// The functions and their dependencies.
pub struct World {
    pub buckets: Arc<Buckets>,
    pub queue: Arc<Queue>,
    pub splits: Arc<Splits>,
    pub bus: Arc<Bus>,
    pub table: Arc<Table>,
    pub stores: [Arc<Map>; 2],
    pub splitter: Arc<splitter::Context>,
    /// Instances of the worker, each with its own caches. They are invoked in turn.
    pub workers: [Arc<worker::Context>; 2],
    pub metrics: Log,
    datasets: Arc<Datasets>,
    /// Number of invocations of the worker.
    calls: AtomicUsize,
    /// Number of invocations of the splitter.
    pub splitters: AtomicUsize,
}

impl World {
    pub fn new(chunk_bytes: u64, kind: Kind) -> Self {
        let buckets = Arc::new(Buckets::default());
        buckets.latest.lock().unwrap().insert(
            ("config".to_owned(), "datasets/products.toml".to_owned()),
            kind.definition().into(),
        );
        let metrics = Log::default();
        let splits: Arc<Splits> = Arc::default();
        let bus: Arc<Bus> = Arc::default();
        let table: Arc<Table> = Arc::default();
        let queue = Arc::new(Queue {
            table: Arc::clone(&table),
            ..Queue::default()
        });
        let stores = [Map::new(StoreKind::Mongodb), Map::new(StoreKind::Postgres)];
        let ledger = Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>);
        let objects = Arc::clone(&buckets) as Arc<dyn Objects>;
        let datasets = || Datasets::new(Arc::clone(&objects), "config");
        let contents = || Contents::new(Arc::clone(&objects), "work");
        let splitter = splitter::Context {
            objects: Arc::clone(&objects),
            contents: contents(),
            datasets: datasets(),
            ledger: ledger.clone(),
            queue: Arc::clone(&queue) as Arc<dyn ChunkQueue>,
            splits: Arc::clone(&splits) as Arc<dyn SplitQueue>,
            visibility: Arc::clone(&queue) as Arc<dyn Visibility>,
            chunk_bytes,
            segment_bytes: SEGMENT_BYTES,
            auto_datasets: true,
            longest: HOUR,
            longest_again: HOUR,
        };
        // The splitter has neither the bus nor the stores: only the worker closes jobs.
        let worker = || {
            let both = stores
                .iter()
                .map(|store| Arc::clone(store) as Arc<dyn Store>);
            let readers = stores
                .iter()
                .map(|store| Arc::clone(store) as Arc<dyn Reader>);
            let time = queue.time.clone();
            Arc::new(worker::Context::new(
                Arc::clone(&objects),
                "work",
                datasets(),
                Arc::clone(&table),
                Arc::clone(&bus) as Arc<dyn Publisher>,
                both.collect(),
                readers.collect(),
                "rejects",
                Redelivery {
                    visibility: Arc::clone(&queue) as Arc<dyn Visibility>,
                    max_receives: MAX_RECEIVES,
                    queue: Arc::clone(&queue) as Arc<dyn ChunkQueue>,
                    maintenance: Arc::clone(&queue) as Arc<dyn MaintenanceQueue>,
                    store_wait: STORE_WAIT,
                },
                Arc::clone(&queue) as Arc<dyn Bell>,
                Metrics::new("simulation", metrics.clone()),
                Arc::new(move || time.now()),
            ))
        };
        Self {
            workers: [worker(), worker()],
            buckets,
            queue,
            splits,
            bus,
            table,
            stores,
            splitters: AtomicUsize::default(),
            splitter: Arc::new(splitter),
            metrics,
            datasets: Arc::new(datasets()),
            calls: AtomicUsize::new(0),
        }
    }

    pub fn call(&self, cause: &Cause) -> Task<Outcome> {
        match cause {
            Cause::Notification(event) => {
                let (context, event) = (Arc::clone(&self.splitter), event.clone());
                // Most have only the time for one segment.
                let calls = self.splitters.fetch_add(1, Ordering::Relaxed);
                let left = if calls % 4 == 3 {
                    HOUR
                } else {
                    Duration::from_secs(30)
                };
                Box::pin(async move {
                    let deadline = Deadline::new(SystemTime::now() + left);
                    let done = splitter::handle(&context, event, deadline).await;
                    match done {
                        Ok(response) if response.batch_item_failures.is_empty() => {
                            Ok(HashSet::new())
                        }
                        Ok(_) | Err(_) => Err(()),
                    }
                })
            }
            Cause::Messages(bodies) => {
                let call = self.calls.fetch_add(1, Ordering::Relaxed);
                let context = Arc::clone(&self.workers[call / 2 % self.workers.len()]);
                let mut event = SqsEvent::default();
                for (body, received) in bodies {
                    let mut message = SqsMessage::default();
                    let name = "ApproximateReceiveCount".to_owned();
                    message.attributes.insert(name, received.to_string());
                    message.message_id = Some(body.clone());
                    message.body = Some(body.clone());
                    event.records.push(message);
                }
                // Every other invocation has time for one step of a prune.
                let is_hurried = call % 2 == 1;
                let left = if is_hurried { HURRIED } else { HOUR };
                let deadline = Deadline::new(SystemTime::now() + left);
                Box::pin(async move {
                    let response = worker::handle(&context, event, deadline).await;
                    let failed = response.batch_item_failures.into_iter();
                    Ok(failed.map(|failure| failure.item_identifier).collect())
                })
            }
            Cause::Confirmation(job) => {
                let ledger = Ledger::new(Arc::clone(&self.table) as Arc<dyn LedgerTable>);
                let (datasets, queue) = (Arc::clone(&self.datasets), Arc::clone(&self.queue));
                let job = *job;
                Box::pin(async move {
                    let head = ledger.head(job).await.unwrap().unwrap();
                    match confirm_prune(&ledger, &datasets, &*queue, head).await {
                        Ok(_) | Err(ConfirmError::Refused(PruneRefusal::Superseded)) => {
                            Ok(HashSet::new())
                        }
                        Err(other) => panic!("{other}"),
                    }
                })
            }
            Cause::Redrive(job) => {
                let ledger = Ledger::new(Arc::clone(&self.table) as Arc<dyn LedgerTable>);
                let (queue, job) = (Arc::clone(&self.queue), *job);
                Box::pin(async move {
                    let head = ledger.head(job).await.unwrap().unwrap();
                    match redrive_job(&ledger, &*queue, head, "operator").await {
                        Ok(_) | Err(RedriveError::Refused(_)) => Ok(HashSet::new()),
                        Err(other) => panic!("{other}"),
                    }
                })
            }
            Cause::Cancellation(job) => {
                let ledger = Ledger::new(Arc::clone(&self.table) as Arc<dyn LedgerTable>);
                let (queue, job) = (Arc::clone(&self.queue), *job);
                Box::pin(async move {
                    let head = ledger.head(job).await.unwrap().unwrap();
                    match cancel_job(&ledger, &*queue, head, "operator").await {
                        Ok(_) | Err(CancelError::Refused(_)) => Ok(HashSet::new()),
                        Err(other) => panic!("{other}"),
                    }
                })
            }
        }
    }
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let kinds = [
        Kind::Plain,
        Kind::WithDeletes,
        Kind::Snapshots,
        Kind::Ordered,
        Kind::Merged,
        Kind::Placed,
    ];
    let kind = *kinds.choose(&mut rng).unwrap();
    let world = World::new(*[1, 40, 200, 100_000].choose(&mut rng).unwrap(), kind);
    let mut files = files(&mut rng, kind);
    // Some files arrive while others, and the fixed rejects of the first ones, are ingested.
    let late = files.split_off(rng.random_range(1..=files.len()));
    let mut confirmations = Confirmations::default();
    let mut crashes = rng.random_range(0..12);
    let mut ingest = async |files: Vec<&File>, rng: &mut StdRng| {
        let notifications = world.put(&files, rng);
        world
            .run(notifications, &mut confirmations, &mut crashes, rng)
            .await;
    };
    ingest(files.iter().collect(), &mut rng).await;
    let fixed = Fixed::of(&world, &files, kind, &mut rng);
    let rest = late.iter().chain(fixed.iter().map(|fixed| &fixed.file));
    ingest(rest.collect(), &mut rng).await;
    ingest(fixed.iter().map(|fixed| &fixed.again).collect(), &mut rng).await;
    files.extend(late);
    check(&world, &files, &fixed, kind).await;
    planned::check(&world, &kind.definition()).await;
}

impl World {
    /// Puts files into the inbox, and returns their notifications, which arrive at least once, in any order.
    pub fn put(&self, files: &[&File], rng: &mut StdRng) -> Vec<serde_json::Value> {
        let mut notifications = Vec::new();
        for file in files {
            let place = (file.key.clone(), file.version.clone());
            let bytes = file.object();
            self.buckets.versions.lock().unwrap().insert(place, bytes);
            for _ in 0..rng.random_range(1..4) {
                notifications.push(notification(file));
            }
        }
        notifications.shuffle(rng);
        notifications
    }

    /// Returns the events of the split queue, some of them twice.
    pub fn resumes(&self, rng: &mut StdRng) -> Vec<serde_json::Value> {
        let mut resumes = std::mem::take(&mut *self.splits.waiting.lock().unwrap());
        for index in 0..resumes.len() {
            if rng.random_bool(0.1) {
                resumes.push(resumes[index].clone());
            }
        }
        resumes
    }

    /// Runs the functions until nothing is left to do.
    pub async fn run(
        &self,
        mut notifications: Vec<serde_json::Value>,
        confirmations: &mut Confirmations,
        crashes: &mut usize,
        rng: &mut StdRng,
    ) {
        let mut schedule = Schedule::new();
        loop {
            confirmations.extend(self, rng);
            notifications.append(&mut self.resumes(rng));
            let waiting = self.queue.waiting.lock().unwrap().len();
            let idle = notifications.is_empty() && waiting == 0 && confirmations.waiting.is_empty();
            if idle && schedule.len() == 0 {
                break;
            }
            if !idle && (schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2)))
            {
                let is_next = |waiting: bool, rng: &mut StdRng| waiting && rng.random_bool(0.3);
                let cause = if is_next(!confirmations.waiting.is_empty(), rng) {
                    Cause::Confirmation(confirmations.waiting.pop().unwrap())
                } else if is_next(!notifications.is_empty(), rng) {
                    Cause::Notification(notifications.pop().unwrap())
                } else if waiting == 0 {
                    continue;
                } else {
                    Cause::Messages(receive(self, rng))
                };
                let task = self.call(&cause);
                schedule.start(rng, cause, task);
                continue;
            }
            let dies = *crashes > 0 && rng.random_bool(0.02);
            *crashes -= usize::from(dies);
            match schedule.step(rng, dies).await {
                Step::Progress
                | Step::Ended(Cause::Notification(_) | Cause::Confirmation(_), Ok(_)) => {}
                Step::Ended(Cause::Cancellation(_) | Cause::Redrive(_), _)
                | Step::Died(Cause::Cancellation(_) | Cause::Redrive(_)) => {
                    unreachable!("no job is cancelled or redriven");
                }
                Step::Ended(Cause::Confirmation(job), Err(()))
                | Step::Died(Cause::Confirmation(job)) => {
                    confirmations.waiting.push(job);
                }
                Step::Ended(Cause::Messages(bodies), Ok(failed)) => {
                    let again = bodies.into_iter().map(|(body, _)| body);
                    let again = again.filter(|body| failed.contains(body));
                    self.queue.waiting.lock().unwrap().extend(again);
                }
                Step::Ended(Cause::Notification(event), Err(()))
                | Step::Died(Cause::Notification(event)) => {
                    notifications.push(event);
                }
                Step::Ended(Cause::Messages(bodies), Err(()))
                | Step::Died(Cause::Messages(bodies)) => {
                    let again = bodies.into_iter().map(|(body, _)| body);
                    self.queue.waiting.lock().unwrap().extend(again);
                }
            }
        }
    }
}

/// The confirmations of prunes that were held back: most are confirmed, and some several times.
#[derive(Default)]
pub struct Confirmations {
    waiting: Vec<JobId>,
    seen: HashSet<JobId>,
}

impl Confirmations {
    /// Adds confirmations of the jobs that have closed since.
    fn extend(&mut self, world: &World, rng: &mut StdRng) {
        for event in world.bus.events.lock().unwrap().iter() {
            if event.prune == Some(PruneState::Held) && self.seen.insert(event.job) {
                let times = rng.random_range(0..4);
                self.waiting.extend(std::iter::repeat_n(event.job, times));
            }
        }
    }
}

/// Receives up to four messages. Some of them stay in the queue and are delivered again.
///
/// Receive counts are approximate in SQS, and random here.
pub fn receive(world: &World, rng: &mut StdRng) -> Vec<Message> {
    let mut waiting = world.queue.waiting.lock().unwrap();
    waiting.shuffle(rng);
    let count = rng.random_range(1..=4).min(waiting.len());
    let first = waiting.len() - count;
    let mut received = waiting.split_off(first);
    for body in &received {
        if rng.random_bool(0.1) {
            waiting.push(body.clone());
        }
    }
    // A batch does not contain a message twice.
    received.sort();
    received.dedup();
    received
        .into_iter()
        .map(|body| (body, rng.random_range(1..3)))
        .collect()
}

pub fn notification(file: &File) -> serde_json::Value {
    let time = format!("2026-11-20T08:30:{:02}.000Z", file.time_ms - 1_000);
    let entity = json!({
        "key": file.key, "size": file.object().len(), "eTag": file.version,
        "versionId": file.version, "sequencer": format!("{:018X}", file.time_ms),
    });
    landfall_tests::notification(&entity, "inbox", &time)
}
