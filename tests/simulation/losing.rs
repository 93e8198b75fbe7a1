//! Messages and notifications that are lost, functions that die and are not invoked again, and the janitor, which runs
//! at random moments, may die itself, and gets every job closed all the same.

use std::collections::HashSet;

use landfall_aws::WorkMessage;
use landfall_domain::{DeadCode, JobId};
use landfall_ledger::LedgerTable;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::failing::{self, Cancellations};
use crate::fakes::locked;
use crate::files::{File, Kind, codec};
use crate::repair::Janitor;
use crate::schedule::{Schedule, Step};
use crate::world::{Cause, RUNNING, World, notification};

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
    // Before that step, an earlier release runs, without a janitor and without an index of open jobs.
    let upgraded_at = rng.random_range(0..200);
    let faults_until = rng.random_range(0..3_000);
    let mut crashes = rng.random_range(0..8);
    let mut redrives = rng.random_range(0..4);
    let mut schedule = Schedule::new();
    let mut trace = Trace::new();
    for step in 0.. {
        assert!(step < faults_until + CLOSES_WITHIN, "the jobs do not close");
        let faults = step < faults_until;
        if step == upgraded_at {
            for job in files.iter().map(job_of) {
                if world.table.0.head(job).await.unwrap().is_some() {
                    world.table.0.unlist(job);
                }
            }
        }
        pending.notifications.extend(janitor.take_notifications());
        pending.notifications.append(&mut world.resumes(&mut rng));
        let idle = pending.is_empty(&world);
        if idle && schedule.len() == 0 && (!faults && are_closed(&world, &files).await) {
            break;
        }
        let may_start = schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2));
        if may_start {
            let redriven = dead_job(&world, &files, &mut rng).await;
            if let Some(job) = redriven.filter(|_| faults && redrives > 0) {
                redrives -= 1;
                let cause = Cause::Redrive(job);
                let task = world.call(&cause);
                schedule.start(&mut rng, Event::Function(cause), task);
                continue;
            }
            let is_run = (idle && schedule.len() == 0) || rng.random_bool(0.1);
            let event = if is_run && step > upgraded_at {
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
                    janitor.received();
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
            janitor.processed();
        }
        trace.push((step, event.name(), dies));
        if failed {
            pending.retry(&world, event, faults, &mut rng);
        }
    }
    failing::check(&world, &files, &Cancellations::default()).await;
    for event in locked(&world.bus.events).iter() {
        for dead in &event.dead_chunks.first {
            let is_condemned = pending.condemned.contains(&(event.job, dead.ordinal));
            assert!(
                is_condemned || dead.code == DeadCode::StoreRefused,
                "{dead}"
            );
        }
    }
    trace
}

/// Returns a job that closed with dead chunks, at some moments.
async fn dead_job(world: &World, files: &[File], rng: &mut StdRng) -> Option<JobId> {
    let job = job_of(files.choose(rng)?);
    let is_due = rng.random_bool(0.1);
    let head = world.table.0.head(job).await.unwrap();
    let head = head.filter(|head| is_due && head.published && head.dead > 0);
    head.map(|head| head.job)
}

/// Puts a file into the inbox.
pub fn put(world: &World, file: &File) {
    let place = (file.key.clone(), file.version.clone());
    locked(&world.buckets.versions).insert(place, file.object());
}

pub fn job_of(file: &File) -> JobId {
    JobId::for_object("inbox", &file.key, &file.version)
}

/// Returns whether every file has a job, and every job is closed and published.
async fn are_closed(world: &World, files: &[File]) -> bool {
    for file in files {
        let head = world.table.0.head(job_of(file)).await.unwrap();
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
            text.extend((0..rows).map(|row| {
                let is_refused = rng.random_ratio(1, 20);
                let name = if is_refused { "refused" } else { "sound" };
                format!("{index}.{row},{name},\n")
            }));
            File {
                key: format!("products/{index}.csv"),
                version: "v1".to_owned(),
                bytes: text.into(),
                time_ms: 1_000 + index,
                codec: codec(rng),
            }
        })
        .collect()
}
