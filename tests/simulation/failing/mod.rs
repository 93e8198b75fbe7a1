//! Chunks that cannot be processed: rows that a store refuses, panics, stores that are down for a while or for good,
//! and jobs that are cancelled at any moment. Each kills its chunk with a reason, and the job closes with everything
//! else. Jobs are redriven at any moment, before or after the cause is removed, and the dataset is paused for a while.

mod check;
mod control;

use std::collections::HashMap;

use landfall_domain::{DeadChunk, DeadCode, JobId};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

pub use self::check::check;
pub use self::control::Cancellations;
use self::control::{Pause, Redrives};
use crate::files::{File, Kind, codec};
use crate::outages::Outages;
use crate::planned;
use crate::schedule::{Schedule, Step};
use crate::world::{Cause, MAX_RECEIVES, Message, RUNNING, STORE_WAIT, World, notification};

/// Milliseconds within which every job closes once stores are up and functions do not die any more.
const CLOSES_WITHIN: i64 = 180_000;

/// What happened: for each step that ended an invocation, its number, whether the invocation died, and its messages.
type Trace = Vec<(u32, bool, Vec<Message>)>;

/// The chunk queue: what was received how often, and its dead-letter queue.
#[derive(Default)]
struct Deliveries {
    receives: HashMap<String, u32>,
    dead_letters: Vec<String>,
}

impl Deliveries {
    fn receive(&mut self, world: &World, rng: &mut StdRng) -> Vec<Message> {
        let mut waiting = world.queue.waiting.lock().unwrap();
        waiting.shuffle(rng);
        let body = waiting.pop().unwrap();
        if rng.random_bool(0.05) {
            waiting.push(body.clone());
        }
        let receives = self.receives.entry(body.clone()).or_default();
        *receives += 1;
        vec![(body, *receives)]
    }

    fn put_back(&mut self, world: &World, messages: Vec<Message>) {
        for (body, receives) in messages {
            // The copies of a message share their count, which starts again once one is done.
            let counted = self.receives.get(&body).copied().unwrap_or_default();
            if receives.min(counted) < MAX_RECEIVES {
                world.queue.waiting.lock().unwrap().push(body);
            } else {
                self.dead_letters.push(body);
            }
        }
    }

    /// Returns whether a function may die without its message going to the dead-letter queue.
    fn may_die(&self) -> bool {
        self.receives.values().all(|count| *count < MAX_RECEIVES)
    }
}

/// Simulates files with bad rows, crashes, and stores that are down for a while.
pub async fn simulate(seed: u64) -> Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let outages = Outages::random(&mut rng);
    let (trace, dead) = run(&outages, &mut rng).await;
    assert!(
        dead.iter().all(|chunk| chunk.code != DeadCode::StoreDown),
        "a chunk did not wait for its store"
    );
    trace
}

/// Simulates a store that does not return.
pub async fn simulate_endless_outage(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let outages = Outages::endless(&mut rng);
    run(&outages, &mut rng).await;
}

async fn run(outages: &Outages, rng: &mut StdRng) -> (Trace, Vec<DeadChunk>) {
    let chunk_bytes = *[1, 60, 200, 100_000].choose(rng).unwrap();
    let world = World::new(chunk_bytes, Kind::Plain);
    let files = files(rng);
    let mut notifications = Vec::new();
    for file in &files {
        let place = (file.key.clone(), file.version.clone());
        let mut versions = world.buckets.versions.lock().unwrap();
        versions.insert(place, file.object());
        notifications.push(notification(file));
    }

    let faults_until = rng.random_range(0..2_000);
    let mut crashes = rng.random_range(0..6);
    let mut cancellations = Cancellations::of(&files, rng);
    let mut redrives = Redrives::of(&files, rng);
    let mut pause = Pause::random(rng);
    let mut deliveries = Deliveries::default();
    let mut schedule = Schedule::new();
    let mut trace = Trace::new();
    let store_wait = i64::try_from(STORE_WAIT.as_millis()).unwrap();
    let mut calm_at = outages.end(store_wait).max(pause.end());
    for step in 0.. {
        let time = &world.queue.time;
        time.pass(rng.random_range(1..10));
        outages.apply(&world);
        pause.apply(&world, &cancellations).await;
        let now = time.millis();
        assert!(now < calm_at + CLOSES_WITHIN, "the jobs do not close");
        notifications.append(&mut world.resumes(rng));
        let next = world.queue.deliver_due();
        let waiting = world.queue.waiting.lock().unwrap().len();
        if notifications.is_empty() && waiting == 0 && schedule.len() == 0 {
            if let Some(next) = next {
                time.pass(next - now);
                continue;
            }
            if redrives.left == 0 {
                break;
            }
            redrives.is_due = true;
        }
        let cancelled = cancellations.next(&world, step).await;
        let redriven = redrives.next(&world, rng).await;
        if redriven.is_some() {
            calm_at = calm_at.max(now);
        }
        let cause = cancelled.map(Cause::Cancellation);
        if let Some(cause) = cause.or(redriven.map(Cause::Redrive)) {
            let task = world.call(&cause);
            schedule.start(rng, cause, task);
            continue;
        }
        let may_start = schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2));
        if may_start && (waiting > 0 || !notifications.is_empty()) {
            let cause = match notifications.pop_if(|_| waiting == 0 || rng.random_bool(0.3)) {
                Some(event) => Cause::Notification(event),
                None => Cause::Messages(deliveries.receive(&world, rng)),
            };
            if let Cause::Messages(messages) = &cause {
                cancellations.received(messages);
            }
            let task = world.call(&cause);
            schedule.start(rng, cause, task);
            continue;
        }
        if schedule.len() == 0 {
            continue;
        }
        let may_die = step < faults_until && crashes > 0 && deliveries.may_die();
        let dies = may_die && rng.random_bool(0.02);
        let (cause, outcome) = match schedule.step(rng, dies).await {
            Step::Progress => continue,
            Step::Ended(cause, outcome) => (cause, outcome),
            Step::Died(cause) => {
                crashes -= 1;
                calm_at = calm_at.max(now);
                (cause, Err(()))
            }
        };
        match (cause, outcome) {
            (Cause::Notification(event), Err(())) => notifications.push(event),
            (Cause::Messages(messages), outcome) => {
                trace.push((step, dies, messages.clone()));
                let failed = |body: &String| outcome.as_ref().map_or(true, |it| it.contains(body));
                let (failed, done): (Vec<_>, Vec<_>) =
                    messages.into_iter().partition(|(body, _)| failed(body));
                // A message that waits may be sent again with the same body. It is another message.
                deliveries
                    .receives
                    .retain(|body, _| done.iter().all(|(done, _)| done != body));
                deliveries.put_back(&world, failed);
            }
            (Cause::Cancellation(job), Ok(_)) => cancellations.ended(&world, job).await,
            (Cause::Cancellation(job), Err(())) => cancellations.planned.push((step, job)),
            (Cause::Redrive(job), Err(())) => {
                redrives.again.push(job);
                redrives.left += 1;
            }
            (Cause::Notification(_) | Cause::Confirmation(_) | Cause::Redrive(_), _) => {}
        }
    }
    assert_eq!(deliveries.dead_letters, [""; 0]);
    planned::check(&world, &Kind::Plain.definition()).await;
    (trace, check(&world, &files, &cancellations).await)
}

/// Returns the job of a file.
fn job_of(file: &File) -> JobId {
    JobId::for_object("inbox", &file.key, &file.version)
}

/// Generates files with rows of keys of their own, a few of which no store accepts.
fn files(rng: &mut StdRng) -> Vec<File> {
    (0..rng.random_range(1..3))
        .map(|index| {
            let mut text = String::from("sku,name,description\n");
            text.extend((0..rng.random_range(1..14)).map(|row| {
                let name = match rng.random_range(0..40) {
                    0 => "refused",
                    1 => "panics",
                    2 => "unavailable",
                    _ => "sound",
                };
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
