//! Dead chunks that another job processes, with another definition.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use landfall_aws::{ChunkQueue as _, Datasets, Lookup, Objects, WorkMessage};
use landfall_domain::{CompletionEvent, DatasetRef, JobId, JobState};
use landfall_ledger::{Ledger, LedgerTable};
use landfall_runtime::Deadline;

use crate::files::{File, Kind};
use crate::world::{Cause, World, notification};

const ROWS: u32 = 300;

/// Returns a file whose rows are chunks of their own. A store refuses every other one.
fn file() -> File {
    let mut text = String::from("sku,name,description\n");
    text.extend((0..ROWS).map(|row| {
        let name = if row % 2 == 0 { "refused" } else { "sound" };
        format!("{row:03},{name},\n")
    }));
    File {
        key: "products/a.csv".to_owned(),
        version: "v1".to_owned(),
        bytes: text.into(),
        time_ms: 1_000,
        codec: None,
    }
}

/// Delivers every message twice, until none is left.
pub async fn drain(world: &World) {
    loop {
        let Some(body) = world.queue.waiting.lock().unwrap().pop() else {
            return;
        };
        for receives in 1..3 {
            let cause = Cause::Messages(vec![(body.clone(), receives)]);
            let failed = world.call(&cause).await.unwrap();
            assert!(failed.is_empty(), "{failed:?}");
        }
    }
}

pub fn event(world: &World, job: JobId) -> CompletionEvent {
    let events = world.bus.events.lock().unwrap();
    let mut events = events.iter().filter(|event| event.job == job);
    events.next_back().expect("the job closes").clone()
}

#[tokio::test]
async fn a_derived_job_processes_exactly_the_dead_chunks() {
    let world = World::new(1, Kind::Plain);
    let file = file();
    let place = (file.key.clone(), file.version.clone());
    let bytes = file.bytes.clone();
    world.buckets.versions.lock().unwrap().insert(place, bytes);
    let deadline = Deadline::new(SystemTime::now() + Duration::from_mins(2));
    let split = splitter::handle(&world.splitter, notification(&file), deadline);
    split.await.unwrap();
    drain(&world).await;
    let job = JobId::for_object("inbox", &file.key, &file.version);
    assert_eq!(event(&world, job).dead, ROWS / 2);

    for store in &world.stores {
        store.is_repaired.store(true, Ordering::Relaxed);
    }
    let ledger = Ledger::new(Arc::clone(&world.table) as Arc<dyn LedgerTable>);
    let datasets = Datasets::new(Arc::clone(&world.buckets) as Arc<dyn Objects>, "config");
    let Lookup::Found(dataset, _) = datasets.latest("products").await.unwrap() else {
        panic!("the dataset is defined");
    };
    let origin = ledger.require_head(job).await.unwrap();
    let derived = job.for_redrive(1);
    let reference = DatasetRef {
        name: "products".to_owned(),
        version: None,
    };
    let recorded = ledger.record_derived(&origin, derived, "operator").await;
    assert_eq!(recorded.unwrap().last_derived(), Some(derived));
    let late = ledger.record_derived(&origin, job.for_redrive(2), "other");
    assert_eq!(late.await.unwrap().last_derived(), Some(derived));
    let head = origin.derive(derived, &dataset, reference);
    ledger.start(&head).await.unwrap();
    let message = WorkMessage::Redrive {
        job: derived,
        attempt: 1,
        shard: 0,
    };
    world.queue.send(&[message]).await.unwrap();
    drain(&world).await;

    let second = event(&world, derived);
    assert_eq!(second.state, JobState::Succeeded, "{:?}", second.problem);
    assert_eq!((second.chunks, second.dead), (ROWS / 2, 0));
    assert_eq!(second.counts.rows, u64::from(ROWS / 2));
    assert_eq!(event(&world, job).attempt, 1);
    for store in &world.stores {
        assert_eq!(store.rows.lock().unwrap().len(), ROWS as usize);
    }
}
