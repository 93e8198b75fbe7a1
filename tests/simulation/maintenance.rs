//! Maintenance beside ingestion: every row lands, every missing index is created, and the jobs show when it is
//! finished, whenever functions die. A store may have no room for rows before its maintenance, or none for writers
//! during it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ::maintenance::{Context, handle};
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use landfall_aws::{Datasets, MaintenanceMessage, MaintenanceQueue, Objects};
use landfall_domain::JobId;
use landfall_ledger::{Ledger, LedgerTable};
use landfall_runtime::{Deadline, Visibility};
use landfall_stores::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fakes::locked;
use crate::files::{File, Kind, files};
use crate::outcome::check;
use crate::schedule::{Schedule, Step, Task};
use crate::world::{Cause, Outcome, RUNNING, World, receive};

/// An invocation of the maintenance with a message, or of another function.
enum Call {
    Maintenance(String),
    Other(Cause),
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(200, Kind::Plain);
    for store in &world.stores {
        let missing = rng.random_range(0..4);
        store.missing.store(missing, Ordering::Relaxed);
        let is_blocked = rng.random_ratio(1, 4);
        store.is_blocked.store(is_blocked, Ordering::Relaxed);
        let locks_writers = rng.random_ratio(1, 4);
        store.locks_writers.store(locks_writers, Ordering::Relaxed);
    }
    let needs_maintenance = needs_maintenance(&world);
    let files = files(&mut rng, Kind::Plain);
    let jobs = run(&world, &files.iter().collect::<Vec<_>>(), &mut rng).await;
    check(&world, &files, &[], Kind::Plain).await;

    let has_rows = !locked(&world.stores[0].rows).is_empty();
    if !needs_maintenance || !has_rows {
        return;
    }
    assert!(!self::needs_maintenance(&world), "something is missing");
    let mut shown = 0;
    for job in jobs {
        let head = world.table.0.head(job).await.unwrap().unwrap();
        if let Some(maintenance) = head.maintenance {
            assert!(maintenance.finished_at.is_some(), "{maintenance:?}");
            assert_eq!((maintenance.step, maintenance.error), (None, None));
            shown += 1;
        }
    }
    assert!(shown > 0, "no job shows that indexes were created");
}

fn needs_maintenance(world: &World) -> bool {
    world.stores.iter().any(|store| store.needs_maintenance())
}

/// Ingests files until nothing is left to do. Returns the jobs that have requested maintenance.
async fn run(world: &World, files: &[&File], rng: &mut StdRng) -> BTreeSet<JobId> {
    let objects = Arc::clone(&world.buckets) as Arc<dyn Objects>;
    let stores = world.stores.iter();
    let context = Arc::new(Context {
        datasets: Datasets::new(objects, "config"),
        ledger: Ledger::new(Arc::clone(&world.table) as Arc<dyn LedgerTable>),
        stores: stores
            .map(|store| Arc::clone(store) as Arc<dyn Store>)
            .collect(),
        queue: Arc::clone(&world.queue) as Arc<dyn MaintenanceQueue>,
        visibility: Arc::clone(&world.queue) as Arc<dyn Visibility>,
    });
    let (queue, mut jobs) = (&world.queue, BTreeSet::new());
    let mut notifications = world.put(files, rng);
    let mut crashes = rng.random_range(0..12);
    let mut schedule = Schedule::new();
    loop {
        notifications.append(&mut world.resumes(rng));
        let next = queue.deliver_due();
        let requests = locked(&queue.maintenance).len();
        let chunks = locked(&queue.waiting).len();
        let is_idle = notifications.is_empty() && chunks + requests == 0;
        if schedule.len() == 0 && is_idle {
            let Some(next) = next else {
                return jobs;
            };
            queue.time.pass(next - queue.time.millis());
            continue;
        }
        let starts = schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2));
        if starts && !is_idle {
            let (call, task) = if requests > 0 && rng.random_bool(0.3) {
                let body = locked(&queue.maintenance).remove(0);
                jobs.insert(MaintenanceMessage::parse(&body).unwrap().job.unwrap());
                if rng.random_bool(0.1) {
                    // Delivered twice.
                    locked(&queue.maintenance).push(body.clone());
                }
                let task = maintain(&context, &body, rng);
                (Call::Maintenance(body), task)
            } else if !notifications.is_empty() && rng.random_bool(0.3) {
                let cause = Cause::Notification(notifications.pop().unwrap());
                let task = world.call(&cause);
                (Call::Other(cause), task)
            } else if chunks > 0 {
                let cause = Cause::Messages(receive(world, rng));
                let task = world.call(&cause);
                (Call::Other(cause), task)
            } else {
                continue;
            };
            schedule.start(rng, call, task);
            continue;
        }
        let dies = crashes > 0 && rng.random_bool(0.03);
        crashes -= usize::from(dies);
        let (call, outcome) = match schedule.step(rng, dies).await {
            Step::Progress => continue,
            Step::Ended(call, outcome) => (call, outcome),
            Step::Died(call) => (call, Err(())),
        };
        match call {
            Call::Maintenance(body) => {
                if outcome.is_err() {
                    locked(&queue.maintenance).push(body);
                }
            }
            Call::Other(Cause::Messages(bodies)) => {
                let again = bodies.into_iter().map(|(body, _)| body);
                let has_failed = |body: &String| match &outcome {
                    Ok(failed) => failed.contains(body),
                    Err(()) => true,
                };
                locked(&queue.waiting).extend(again.filter(has_failed));
            }
            Call::Other(Cause::Notification(event)) => {
                if outcome.is_err() {
                    notifications.push(event);
                }
            }
            Call::Other(_) => unreachable!("this schedule has no other calls"),
        }
    }
}

/// Invokes the maintenance. Some invocations have time for one step.
fn maintain(context: &Arc<Context>, body: &str, rng: &mut StdRng) -> Task<Outcome> {
    let mut message = SqsMessage::default();
    message.message_id = Some(body.to_owned());
    message.body = Some(body.to_owned());
    let mut event = SqsEvent::default();
    event.records.push(message);
    let left = if rng.random_bool(0.5) { 50 } else { 3_600 };
    let context = Arc::clone(context);
    Box::pin(async move {
        let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(left));
        let event = serde_json::to_value(event).unwrap();
        let response = handle(&context, event, deadline).await.unwrap();
        if response.unwrap().batch_item_failures.is_empty() {
            Ok(HashSet::new())
        } else {
            Err(())
        }
    })
}
