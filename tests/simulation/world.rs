//! One world of the simulation: uploads files, invokes the functions, and checks the final state.

use std::collections::{BTreeMap, HashSet};
use std::ops::Add as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use bytes::Bytes;
use landfall_aws::{ChunkQueue, Datasets, Objects, Publisher};
use landfall_closing::{ConfirmError, confirm_prune};
use landfall_domain::{
    CompletionEvent, JobId, JobState, ProblemCode, PruneState, StoreKind, Value,
};
use landfall_ledger::{Ledger, LedgerTable, PruneRefusal};
use landfall_runtime::{Deadline, Visibility};
use landfall_stores::Store;
use landfall_tests::Products;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::json;
use worker::Redelivery;

use crate::fakes::{Buckets, Bus, Map, Queue, Table};
use crate::schedule::{Schedule, Step, Task};

const DEFINITION: &str = r#"
name = "products"
key = ["sku"]
[[fields]]
name = "sku"
type = "text"
[[fields]]
name = "name"
type = "text"
required = true
[[fields]]
name = "description"
type = "text"
"#;

/// The variants of the definition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    WithDeletes,
    Snapshots,
    Ordered,
}

impl Kind {
    /// Returns the lines that precede the fields.
    fn definition(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::WithDeletes => "operation = { column = \"op\" }\n",
            Self::Snapshots => "mode = \"snapshot\"\n",
            Self::Ordered => "order = \"changed\"\n",
        }
    }

    /// Returns the fields that follow the others.
    fn fields(self) -> &'static str {
        match self {
            Self::Ordered => {
                "[[fields]]\nname = \"changed\"\ntype = \"integer\"\nrequired = true\n"
            }
            Self::Plain | Self::WithDeletes | Self::Snapshots => "",
        }
    }
}

/// How often a message is received before it goes to the dead-letter queue.
pub const MAX_RECEIVES: u32 = 8;

/// Invocations that run at the same time.
pub const RUNNING: usize = 6;

/// What a function is invoked with.
pub enum Cause {
    Notification(serde_json::Value),
    Messages(Vec<Message>),
    /// A confirmation of a prune that was held back.
    Confirmation(JobId),
}

/// A delivery of a message: its body and its receive count.
pub type Message = (String, u32);

/// The result of an invocation: the messages to be redelivered, or an error.
pub type Outcome = Result<HashSet<String>, ()>;

pub struct File {
    pub key: String,
    pub version: String,
    pub bytes: Bytes,
    /// Position in the order of objects.
    pub time_ms: i64,
}

/// The functions and their dependencies.
pub struct World {
    pub buckets: Arc<Buckets>,
    pub queue: Arc<Queue>,
    pub bus: Arc<Bus>,
    pub table: Arc<Table>,
    pub stores: [Arc<Map>; 2],
    pub splitter: Arc<splitter::Context>,
    pub worker: Arc<worker::Context>,
    datasets: Arc<Datasets>,
}

impl World {
    pub fn new(chunk_bytes: u64, kind: Kind) -> Self {
        let buckets = Arc::new(Buckets::default());
        buckets.latest.lock().unwrap().insert(
            ("config".to_owned(), "datasets/products.toml".to_owned()),
            DEFINITION
                .replacen("[[fields]]", &format!("{}[[fields]]", kind.definition()), 1)
                .add(kind.fields())
                .into(),
        );
        let (queue, bus, table) = (Arc::default(), Arc::default(), Arc::default());
        let stores = [Map::new(StoreKind::Mongodb), Map::new(StoreKind::Postgres)];
        let ledger = Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>);
        let objects = Arc::clone(&buckets) as Arc<dyn Objects>;
        let datasets = || Datasets::new(Arc::clone(&objects), "config");
        let splitter = splitter::Context {
            objects: Arc::clone(&objects),
            datasets: datasets(),
            ledger: ledger.clone(),
            queue: Arc::clone(&queue) as Arc<dyn ChunkQueue>,
            chunk_bytes,
        };
        let both = stores
            .iter()
            .map(|store| Arc::clone(store) as Arc<dyn Store>)
            .collect();
        // The splitter has neither the bus nor the stores: only the worker closes jobs.
        let publisher = Arc::clone(&bus) as Arc<dyn Publisher>;
        let worker = worker::Context::new(
            Arc::clone(&objects),
            datasets(),
            ledger,
            publisher,
            both,
            "rejects",
            Redelivery {
                visibility: Arc::clone(&queue) as Arc<dyn Visibility>,
                max_receives: MAX_RECEIVES,
            },
        );
        Self {
            buckets,
            queue,
            bus,
            table,
            stores,
            splitter: Arc::new(splitter),
            worker: Arc::new(worker),
            datasets: Arc::new(datasets()),
        }
    }

    pub fn call(&self, cause: &Cause) -> Task<Outcome> {
        match cause {
            Cause::Notification(event) => {
                let (context, event) = (Arc::clone(&self.splitter), event.clone());
                Box::pin(async move {
                    let done = splitter::handle(&context, event).await;
                    done.map(|()| HashSet::new()).map_err(drop)
                })
            }
            Cause::Messages(bodies) => {
                let context = Arc::clone(&self.worker);
                let mut event = SqsEvent::default();
                for (body, received) in bodies {
                    let mut message = SqsMessage::default();
                    let name = "ApproximateReceiveCount".to_owned();
                    message.attributes.insert(name, received.to_string());
                    message.message_id = Some(body.clone());
                    message.body = Some(body.clone());
                    event.records.push(message);
                }
                let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
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
    ];
    let kind = *kinds.choose(&mut rng).unwrap();
    let world = World::new(*[1, 40, 200, 100_000].choose(&mut rng).unwrap(), kind);
    let files = files(&mut rng, kind);
    let mut notifications = Vec::new();
    for file in &files {
        let place = (file.key.clone(), file.version.clone());
        world
            .buckets
            .versions
            .lock()
            .unwrap()
            .insert(place, file.bytes.clone());
        // Delivered at least once, in any order.
        for _ in 0..rng.random_range(1..4) {
            notifications.push(notification(file));
        }
    }
    notifications.shuffle(&mut rng);

    let mut confirmations = Confirmations::default();
    let mut crashes = rng.random_range(0..12);
    let mut schedule = Schedule::new();
    loop {
        confirmations.extend(&world, &mut rng);
        let waiting = world.queue.waiting.lock().unwrap().len();
        let idle = notifications.is_empty() && waiting == 0 && confirmations.waiting.is_empty();
        if idle && schedule.len() == 0 {
            break;
        }
        if !idle && (schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2))) {
            let is_next = |waiting: bool, rng: &mut StdRng| waiting && rng.random_bool(0.3);
            let cause = if is_next(!confirmations.waiting.is_empty(), &mut rng) {
                Cause::Confirmation(confirmations.waiting.pop().unwrap())
            } else if is_next(!notifications.is_empty(), &mut rng) {
                Cause::Notification(notifications.pop().unwrap())
            } else if waiting == 0 {
                continue;
            } else {
                Cause::Messages(receive(&world, &mut rng))
            };
            let task = world.call(&cause);
            schedule.start(&mut rng, cause, task);
            continue;
        }
        let dies = crashes > 0 && rng.random_bool(0.02);
        crashes -= usize::from(dies);
        match schedule.step(&mut rng, dies).await {
            Step::Progress
            | Step::Ended(Cause::Notification(_) | Cause::Confirmation(_), Ok(_)) => {}
            Step::Ended(Cause::Confirmation(job), Err(()))
            | Step::Died(Cause::Confirmation(job)) => {
                confirmations.waiting.push(job);
            }
            Step::Ended(Cause::Messages(bodies), Ok(failed)) => {
                let again = bodies.into_iter().map(|(body, _)| body);
                let again = again.filter(|body| failed.contains(body));
                world.queue.waiting.lock().unwrap().extend(again);
            }
            Step::Ended(Cause::Notification(event), Err(()))
            | Step::Died(Cause::Notification(event)) => {
                notifications.push(event);
            }
            Step::Ended(Cause::Messages(bodies), Err(())) | Step::Died(Cause::Messages(bodies)) => {
                let again = bodies.into_iter().map(|(body, _)| body);
                world.queue.waiting.lock().unwrap().extend(again);
            }
        }
    }
    check(&world, &files, kind).await;
}

/// The confirmations of prunes that were held back: most are confirmed, and some several times.
#[derive(Default)]
struct Confirmations {
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
fn receive(world: &World, rng: &mut StdRng) -> Vec<Message> {
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

/// Generates small files with few keys: several objects, and several versions of one object.
fn files(rng: &mut StdRng, kind: Kind) -> Vec<File> {
    // A snapshot with rejects prunes nothing, so some files have no rejects.
    let worst = if rng.random_bool(0.5) { 0 } else { 2 };
    let last = match kind {
        Kind::WithDeletes => ",op\n",
        Kind::Ordered => ",changed\n",
        Kind::Plain | Kind::Snapshots => "\n",
    };
    // The first file is large, so that the prune of a later one is held back.
    let is_large = kind == Kind::Snapshots && rng.random_bool(0.8);
    (0..rng.random_range(1..4))
        .map(|index| {
            let mut text = String::from("sku,name,description");
            text.push_str(last);
            if is_large && index == 0 {
                text.extend((0..120).map(|row| format!("l{row},large,\n")));
            }
            for row in 0..rng.random_range(0..14) {
                let sku = rng.random_range(0..8);
                let line = match rng.random_range(2 - worst..10) {
                    0 => ",nameless,".to_owned(),
                    1 => format!("s{sku},ragged"),
                    2 => format!("s{sku},\"two\nlines {index}.{row}\",x"),
                    // The same values in several files.
                    3 => format!("s{sku},same,same"),
                    _ => format!("s{sku},n{index}.{row},"),
                };
                text.push_str(&line);
                match kind {
                    Kind::WithDeletes if rng.random_bool(0.3) => text.push_str(",delete"),
                    Kind::WithDeletes => text.push(','),
                    Kind::Ordered => text.extend([',', *['1', '2', '3'].choose(rng).unwrap()]),
                    Kind::Plain | Kind::Snapshots => {}
                }
                text.push('\n');
            }
            File {
                key: format!("products/{}.csv", rng.random_range(0..2)),
                version: format!("v{index}"),
                bytes: text.into(),
                time_ms: 1_000 + index,
            }
        })
        .collect()
}

pub fn notification(file: &File) -> serde_json::Value {
    let time = format!("2026-11-20T08:30:{:02}.000Z", file.time_ms - 1_000);
    let entity = json!({
        "key": file.key, "size": file.bytes.len(), "eTag": file.version,
        "versionId": file.version, "sequencer": format!("{:018X}", file.time_ms),
    });
    landfall_tests::notification(&entity, "inbox", &time)
}

async fn check(world: &World, files: &[File], kind: Kind) {
    let mut events: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    let mut pruned: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    for event in world.bus.events.lock().unwrap().iter() {
        let same = match event.prune {
            Some(PruneState::Done) => &mut pruned,
            _ => &mut events,
        };
        let first = same.entry(event.job).or_insert_with(|| event.clone());
        assert_eq!(first, event, "a job has two different completions");
    }
    let ids: HashSet<_> = events.values().map(|event| event.id).collect();
    assert_eq!(
        ids.len(),
        files.len(),
        "one job and one completion for each version"
    );

    let mut reference = Products::default();
    for file in files {
        let event = events
            .values()
            .find(|event| event.object.version.as_deref() == Some(&file.version))
            .expect("every job completes");
        let head = world.table.0.head(event.job).await.unwrap().unwrap();
        assert!(head.published);
        let alone = Products::from_file(&file.bytes);
        let is_held = event.prune == Some(PruneState::Held);
        if let Some(pruned) = pruned.get(&event.job) {
            assert!(is_held && head.prune_published);
            assert_eq!(pruned.id, CompletionEvent::id_after_prune(event.job));
            assert_eq!(pruned.problem, None);
        }
        let has_pruned = pruned.contains_key(&event.job)
            || (kind == Kind::Snapshots
                && event.problem.is_none()
                && event.state == JobState::Succeeded);
        if has_pruned {
            reference = alone.clone();
        } else {
            reference.read(&file.bytes);
        }
        if is_held {
            assert_eq!(event.problem.as_ref().unwrap().code, ProblemCode::PruneHeld);
            assert!(
                event
                    .counts
                    .stores
                    .values()
                    .all(|counts| counts.pruned == 0)
            );
        } else if kind == Kind::Snapshots {
            let is_complete = alone.records > 0 && alone.rejected == 0;
            assert_eq!(has_pruned, is_complete, "{:?}", event.problem);
        }
        let expected = if alone.rejected > 0 && alone.rejected == alone.records {
            JobState::Failed
        } else {
            JobState::Succeeded
        };
        assert_eq!(event.state, expected, "{:?}", event.problem);
        assert_eq!(event.counts.rows, alone.records);
        assert_eq!(event.counts.rejected, alone.rejected);
        if alone.records > 0 {
            assert_eq!(event.counts.stores.len(), 2);
        } else {
            let closes = world.queue.closes.lock().unwrap();
            assert!(closes.contains(&event.job), "no chunk can close the job");
        }
        for counts in event.counts.stores.values() {
            assert_eq!(counts.total() + alone.rejected, alone.records);
        }
        let prefix = format!("products/{}/", event.job);
        let buckets = world.buckets.latest.lock().unwrap();
        let rejects = buckets
            .iter()
            .filter(|((bucket, key), _)| bucket == "rejects" && key.starts_with(&prefix))
            .map(|(_, body)| String::from_utf8_lossy(body).lines().count() as u64);
        assert_eq!(rejects.sum::<u64>(), alone.rejected);
    }
    for store in &world.stores {
        let rows: BTreeMap<_, _> = store
            .rows
            .lock()
            .unwrap()
            .iter()
            .filter_map(|(key, (_, values))| Some((key, values.as_ref()?)))
            .map(|(key, values)| match &values[1..3] {
                [Value::Text(name), Value::Null] => (key.clone(), (name.to_string(), None)),
                [Value::Text(name), Value::Text(text)] => {
                    (key.clone(), (name.to_string(), Some(text.to_string())))
                }
                other => panic!("not a product: {other:?}"),
            })
            .collect();
        assert_eq!(rows, reference.rows, "{}", store.kind);
    }
}
