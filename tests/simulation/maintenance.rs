//! Maintenance: every missing index is created, whenever the function dies, while chunks go on without them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ::maintenance::{Context, handle};
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use landfall_aws::{Datasets, MaintenanceQueue, Objects};
use landfall_runtime::{Deadline, Visibility};
use landfall_stores::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fakes::locked;
use crate::files::{Kind, files};
use crate::schedule::{Schedule, Step};
use crate::world::{RUNNING, World};

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(200, Kind::Plain);
    for store in &world.stores {
        store
            .missing
            .store(rng.random_range(0..4), Ordering::Relaxed);
    }
    let is_missing = |world: &World| {
        let mut stores = world.stores.iter();
        stores.any(|store| store.missing.load(Ordering::Relaxed) > 0)
    };
    let was_missing = is_missing(&world);
    let files = files(&mut rng, Kind::Plain);
    world.ingest(&files, &mut rng).await;
    let is_requested = !locked(&world.queue.maintenance).is_empty();
    let has_rows = !locked(&world.stores[0].rows).is_empty();
    assert_eq!(is_requested, was_missing && has_rows);
    if !is_requested {
        return;
    }

    let objects = Arc::clone(&world.buckets) as Arc<dyn Objects>;
    let stores = world.stores.iter();
    let context = Arc::new(Context {
        datasets: Datasets::new(objects, "config"),
        stores: stores
            .map(|store| Arc::clone(store) as Arc<dyn Store>)
            .collect(),
        queue: Arc::clone(&world.queue) as Arc<dyn MaintenanceQueue>,
        visibility: Arc::clone(&world.queue) as Arc<dyn Visibility>,
    });
    let mut crashes = rng.random_range(0..8);
    let mut schedule = Schedule::new();
    loop {
        let waiting = locked(&world.queue.maintenance).len();
        if waiting == 0 && schedule.len() == 0 {
            break;
        }
        if waiting > 0 && schedule.len() < RUNNING && rng.random_bool(0.3) {
            let body = locked(&world.queue.maintenance).remove(0);
            if rng.random_bool(0.1) {
                // Delivered twice.
                locked(&world.queue.maintenance).push(body.clone());
            }
            let (context, event) = (Arc::clone(&context), event(&body));
            // Some have time for one step.
            let left = if rng.random_bool(0.5) { 50 } else { 3_600 };
            let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(left));
            let task = Box::pin(async move {
                let response = handle(&context, event, deadline).await;
                response.batch_item_failures.is_empty()
            });
            schedule.start(&mut rng, body, task);
            continue;
        }
        if schedule.len() == 0 {
            continue;
        }
        let dies = crashes > 0 && rng.random_bool(0.1);
        crashes -= usize::from(dies);
        match schedule.step(&mut rng, dies).await {
            Step::Progress | Step::Ended(_, true) => {}
            Step::Ended(body, false) | Step::Died(body) => {
                locked(&world.queue.maintenance).push(body);
            }
        }
    }
    assert!(!is_missing(&world), "an index is missing");
}

fn event(body: &str) -> SqsEvent {
    let mut message = SqsMessage::default();
    message.message_id = Some(body.to_owned());
    message.body = Some(body.to_owned());
    let mut event = SqsEvent::default();
    event.records.push(message);
    event
}
