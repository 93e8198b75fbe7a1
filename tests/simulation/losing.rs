//! Messages and notifications that are lost, functions that die and are not invoked again, and the janitor, which runs
//! at random moments, may die itself, and gets every job closed all the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use janitor::{Backlog, Inventory, Patience, Splitter, StoredVersion, VersionMarker};
use jiff::SignedDuration;
use landfall_aws::{AwsError, ChunkQueue, SplitQueue, WorkMessage};
use landfall_domain::{JobId, ObjectRef};
use landfall_ledger::{CursorTable, JobIndex, Ledger, LedgerTable};
use landfall_runtime::{Deadline, Metrics};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::failing::{self, Cancellations};
use crate::fakes::{Buckets, locked};
use crate::files::{File, Kind};
use crate::queue::Queue;
use crate::schedule::{Schedule, Step, Task, pause};
use crate::world::{Cause, Outcome, RUNNING, World, notification};

/// Steps within which every job closes once nothing is lost and functions do not die any more.
const CLOSES_WITHIN: u32 = 100_000;

/// What happened: for each invocation that ended, the step, what it was for, and whether it died.
type Trace = Vec<(u32, String, bool)>;

/// What a function is invoked with.
enum Event {
    Function(Cause),
    /// A run of the janitor.
    Run,
    /// A dead letter for the janitor.
    DeadLetter(String),
}

impl Event {
    fn name(&self) -> String {
        match self {
            Self::Function(Cause::Notification(_)) => "notification".to_owned(),
            Self::Function(Cause::Messages(messages)) => format!("{messages:?}"),
            Self::Function(
                Cause::Confirmation(job) | Cause::Cancellation(job) | Cause::Redrive(job),
            ) => job.to_string(),
            Self::Run => "run".to_owned(),
            // Its body may have the time at which its job began.
            Self::DeadLetter(_) => "dead letter".to_owned(),
        }
    }
}

/// The janitor, and its effects on the world.
pub struct Janitor {
    context: Arc<janitor::Context>,
    /// The notifications that it has sent to the splitter.
    notifications: Arc<Notifications>,
    /// The messages that workers process.
    in_progress: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Notifications(std::sync::Mutex<Vec<Value>>);

#[async_trait]
impl Splitter for Notifications {
    async fn invoke(&self, event: &Value) -> Result<(), AwsError> {
        pause().await;
        locked(&self.0).push(event.clone());
        pause().await;
        Ok(())
    }
}

struct Waiting(Arc<Queue>, Arc<AtomicUsize>);

#[async_trait]
impl Backlog for Waiting {
    async fn is_empty(&self) -> Result<bool, AwsError> {
        pause().await;
        let in_progress = self.1.load(Ordering::Relaxed);
        Ok(in_progress == 0 && locked(&self.0.waiting).is_empty())
    }
}

/// The split queue, which is empty whenever the janitor gives up a job.
struct NoBacklog;

#[async_trait]
impl Backlog for NoBacklog {
    async fn is_empty(&self) -> Result<bool, AwsError> {
        Ok(true)
    }
}

#[async_trait]
impl Inventory for Buckets {
    async fn versions(
        &self,
        after: Option<&VersionMarker>,
    ) -> Result<(Vec<StoredVersion>, Option<VersionMarker>), AwsError> {
        pause().await;
        let versions = locked(&self.versions);
        let mut places: Vec<_> = versions.iter().collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        let is_after = |key: &String| after.is_none_or(|after| *key > after.key);
        let mut places = places.into_iter().filter(|((key, _), _)| is_after(key));
        // One version in each page.
        let Some(((key, version), bytes)) = places.next() else {
            return Ok((Vec::new(), None));
        };
        let found = StoredVersion {
            object: ObjectRef {
                bucket: "inbox".to_owned(),
                key: key.clone(),
                version: Some(version.clone()),
                etag: version.clone(),
                size: bytes.len() as u64,
            },
            created_at: "2026-11-20T08:30:00Z".parse().unwrap(),
        };
        let next = places.next().map(|_| VersionMarker {
            key: key.clone(),
            version: Some(version.clone()),
        });
        Ok((vec![found], next))
    }
}

impl Janitor {
    /// Returns a janitor for which every pause is over, and which gives up after so many attempts.
    pub fn new(world: &World, max_attempts: u32) -> Self {
        let notifications = Arc::new(Notifications::default());
        let in_progress = Arc::new(AtomicUsize::new(0));
        let table = Arc::clone(&world.table);
        let waiting = Waiting(Arc::clone(&world.queue), Arc::clone(&in_progress));
        let context = janitor::Context {
            ledger: Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>),
            index: Arc::clone(&table) as Arc<dyn JobIndex>,
            cursors: table as Arc<dyn CursorTable>,
            queue: Arc::clone(&world.queue) as Arc<dyn ChunkQueue>,
            backlog: Arc::new(waiting),
            splits: Arc::clone(&world.splits) as Arc<dyn SplitQueue>,
            splits_backlog: Arc::new(NoBacklog),
            splitter: Arc::clone(&notifications) as Arc<dyn Splitter>,
            inventory: Arc::clone(&world.buckets) as Arc<dyn Inventory>,
            metrics: Metrics::new("simulation", std::io::sink()),
            patience: Patience {
                first: SignedDuration::ZERO,
                max_attempts,
                split_within: match max_attempts {
                    u32::MAX => SignedDuration::MAX,
                    _ => SignedDuration::ZERO,
                },
                max_object_age: SignedDuration::MAX,
            },
        };
        Self {
            context: Arc::new(context),
            notifications,
            in_progress,
        }
    }

    /// Returns the notifications that the janitor has sent since the last call.
    pub fn take_notifications(&self) -> Vec<Value> {
        std::mem::take(&mut *locked(&self.notifications.0))
    }

    /// Runs the janitor, or has it process a dead letter.
    pub fn call(&self, dead_letter: Option<String>) -> Task<Outcome> {
        let context = Arc::clone(&self.context);
        let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
        Box::pin(async move {
            let Some(body) = dead_letter else {
                let report = janitor::run(&context, deadline).await;
                let report = report.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(report.failed, 0, "{report:?}");
                return Ok(HashSet::new());
            };
            let mut message = SqsMessage::default();
            message.message_id = Some(body.clone());
            message.body = Some(body);
            let mut event = SqsEvent::default();
            event.records.push(message);
            let event = serde_json::to_value(event).unwrap();
            let response = janitor::handle(&context, event, deadline).await;
            let failed = response.unwrap_or_else(|error| panic!("{error}"));
            let failed = failed.unwrap().batch_item_failures.into_iter();
            Ok(failed.map(|failure| failure.item_identifier).collect())
        })
    }
}

/// Returns what Lambda sends to the dead-letter queue of the splitter.
pub fn failed_notification(event: &Value, error: &str) -> String {
    json!({
        "version": "1.0",
        "requestContext": { "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
        "requestPayload": event,
        "responsePayload": { "errorType": "SplitError", "errorMessage": error },
    })
    .to_string()
}

/// Returns what is in the dead-letter queue of the splitter after an event of S3 or of the split queue.
fn dead_letter(event: &Value) -> String {
    match event["Records"][0]["body"].as_str() {
        Some(body) => body.to_owned(),
        None => failed_notification(event, "died"),
    }
}

/// What has not been processed yet.
struct Pending {
    notifications: Vec<Value>,
    dead_letters: Vec<String>,
    /// The chunks whose messages became dead letters, although a worker could process them.
    condemned: HashSet<(JobId, u32)>,
}

impl Pending {
    /// Returns what to invoke next; `None` if that is lost, or if there is nothing.
    fn next(&mut self, world: &World, faults: bool, rng: &mut StdRng) -> Option<Event> {
        let is_lost = faults && rng.random_bool(0.1);
        let mut waiting = locked(&world.queue.waiting);
        let event = if !self.dead_letters.is_empty() && rng.random_bool(0.3) {
            return self.dead_letters.pop().map(Event::DeadLetter);
        } else if !self.notifications.is_empty() && (waiting.is_empty() || rng.random_bool(0.3)) {
            let event = self.notifications.pop()?;
            Event::Function(Cause::Notification(event))
        } else if waiting.is_empty() {
            return self.dead_letters.pop().map(Event::DeadLetter);
        } else {
            waiting.shuffle(rng);
            let body = waiting.pop()?;
            if !is_lost && rng.random_bool(0.05) {
                waiting.push(body.clone());
            }
            Event::Function(Cause::Messages(vec![(body, rng.random_range(1..3))]))
        };
        Some(event).filter(|_| !is_lost)
    }

    /// Handles the end of an invocation that failed or died.
    fn retry(&mut self, world: &World, event: Event, faults: bool, rng: &mut StdRng) {
        match event {
            Event::DeadLetter(body) => self.dead_letters.push(body),
            Event::Function(Cause::Notification(event)) => match rng.random_range(0..3) {
                0 if faults => {}
                1 => self.dead_letters.push(dead_letter(&event)),
                _ => self.notifications.push(event),
            },
            Event::Function(Cause::Messages(messages)) => {
                for (body, _) in messages {
                    if rng.random_bool(0.8) {
                        locked(&world.queue.waiting).push(body);
                        continue;
                    }
                    if let WorkMessage::Chunk(chunk) = WorkMessage::parse(&body).unwrap() {
                        self.condemned.insert((chunk.job, chunk.ordinal));
                    }
                    self.dead_letters.push(body);
                }
            }
            // The next run follows anyway.
            Event::Run
            | Event::Function(
                Cause::Confirmation(_) | Cause::Cancellation(_) | Cause::Redrive(_),
            ) => {}
        }
    }

    fn is_empty(&self, world: &World) -> bool {
        let waiting = locked(&world.queue.waiting);
        waiting.is_empty() && self.notifications.is_empty() && self.dead_letters.is_empty()
    }
}

pub async fn simulate(seed: u64) -> Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(*[1, 60, 200].choose(&mut rng).unwrap(), Kind::Plain);
    let files = files(&mut rng);
    let mut pending = Pending {
        notifications: Vec::new(),
        dead_letters: Vec::new(),
        condemned: HashSet::new(),
    };
    for file in &files {
        put(&world, file);
        pending.notifications.push(notification(file));
    }

    let janitor = Janitor::new(&world, u32::MAX);
    let faults_until = rng.random_range(0..3_000);
    let mut crashes = rng.random_range(0..8);
    let mut schedule = Schedule::new();
    let mut trace = Trace::new();
    for step in 0.. {
        assert!(step < faults_until + CLOSES_WITHIN, "the jobs do not close");
        let faults = step < faults_until;
        pending.notifications.extend(janitor.take_notifications());
        pending.notifications.append(&mut world.resumes(&mut rng));
        let idle = pending.is_empty(&world);
        if idle && schedule.len() == 0 && (!faults && are_closed(&world, &files).await) {
            break;
        }
        let may_start = schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2));
        if may_start {
            let event = if (idle && schedule.len() == 0) || rng.random_bool(0.1) {
                Some(Event::Run)
            } else {
                pending.next(&world, faults, &mut rng)
            };
            if let Some(event) = event {
                let task = match &event {
                    Event::Function(cause) => world.call(cause),
                    Event::Run => janitor.call(None),
                    Event::DeadLetter(body) => janitor.call(Some(body.clone())),
                };
                if let Event::Function(Cause::Messages(_)) = &event {
                    janitor.in_progress.fetch_add(1, Ordering::Relaxed);
                }
                schedule.start(&mut rng, event, task);
                continue;
            }
            if schedule.len() == 0 {
                continue;
            }
        }
        let dies = faults && crashes > 0 && rng.random_bool(0.02);
        crashes -= usize::from(dies);
        let (event, failed) = match schedule.step(&mut rng, dies).await {
            Step::Progress => continue,
            Step::Ended(event, outcome) => (event, outcome.map_or(true, |it| !it.is_empty())),
            Step::Died(event) => (event, true),
        };
        if let Event::Function(Cause::Messages(_)) = &event {
            janitor.in_progress.fetch_sub(1, Ordering::Relaxed);
        }
        trace.push((step, event.name(), dies));
        if failed {
            pending.retry(&world, event, faults, &mut rng);
        }
    }
    failing::check(&world, &files, &Cancellations::default()).await;
    for event in locked(&world.bus.events).iter() {
        for dead in &event.dead_chunks.first {
            assert!(
                pending.condemned.contains(&(event.job, dead.ordinal)),
                "{dead}"
            );
        }
    }
    trace
}

/// Puts a file into the inbox.
pub fn put(world: &World, file: &File) {
    let place = (file.key.clone(), file.version.clone());
    locked(&world.buckets.versions).insert(place, file.bytes.clone());
}

/// Returns whether every file has a job, and every job is closed and published.
async fn are_closed(world: &World, files: &[File]) -> bool {
    for file in files {
        let job = JobId::for_object("inbox", &file.key, &file.version);
        let head = world.table.0.head(job).await.unwrap();
        if head.is_none_or(|head| !head.published) {
            return false;
        }
    }
    true
}

/// Generates files with rows of keys of their own.
fn files(rng: &mut StdRng) -> Vec<File> {
    (0..rng.random_range(1..4))
        .map(|index| {
            let mut text = String::from("sku,name,description\n");
            let rows = rng.random_range(1..14);
            text.extend((0..rows).map(|row| format!("{index}.{row},sound,\n")));
            File {
                key: format!("products/{index}.csv"),
                version: "v1".to_owned(),
                bytes: text.into(),
                time_ms: 1_000 + index,
            }
        })
        .collect()
}
