//! Chunks that arrive when the stores may have forgotten deletes that are newer.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use landfall_aws::WorkMessage;
use landfall_domain::{
    CompletionEvent, DatasetRef, DeadCode, JobState, KeyDigest, Value, WriteMessage, WriteOperation,
};
use landfall_runtime::Deadline;

use crate::fakes::locked;
use crate::files::{File, Kind};
use crate::world::{Cause, World, notification};

/// Splits a file, and processes its chunk when it has this age in days. Returns how the job closes.
///
/// The latest definition is that of `kind`, and the one that the chunk was planned with that of `planned`.
async fn ingest(world: &World, planned: Kind, days: i64) -> CompletionEvent {
    let file = File {
        key: "products/a.csv".to_owned(),
        version: "v1".to_owned(),
        bytes: "sku,name,description\na,Lamp,\n".into(),
        time_ms: 1_000,
        codec: None,
    };
    let place = (file.key.clone(), file.version.clone());
    locked(&world.buckets.versions).insert(place, file.bytes.clone());
    let deadline = Deadline::new(SystemTime::now() + Duration::from_mins(2));
    let split = splitter::handle(&world.splitter, notification(&file), deadline);
    split.await.unwrap();
    let place = (
        "config".to_owned(),
        "datasets/products.toml?older".to_owned(),
    );
    locked(&world.buckets.latest).insert(place, planned.definition().into());
    let mut bodies = std::mem::take(&mut *locked(&world.queue.waiting));
    let Ok(WorkMessage::Chunk(mut chunk)) = WorkMessage::parse(&bodies.remove(0)) else {
        panic!("the file has a chunk");
    };
    chunk.dataset = DatasetRef {
        name: "products".to_owned(),
        version: Some("older".to_owned()),
    };
    let created: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
    let now = created + SignedDuration::from_hours(24 * days);
    let time = &world.queue.time;
    time.pass(now.as_millisecond() - time.millis());
    let body = serde_json::to_string(&WorkMessage::Chunk(chunk)).unwrap();
    let failed = world.call(&Cause::Messages(vec![(body, 1)])).await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let events = locked(&world.bus.events);
    let [event] = &events[..] else {
        panic!("one completion: {events:?}");
    };
    event.clone()
}

#[tokio::test]
async fn a_chunk_is_dead_if_deletes_of_its_rows_may_be_forgotten() {
    use Kind::{Plain, WithDeletes};
    for (latest, planned, days, is_dead) in [
        (WithDeletes, WithDeletes, 27, false),
        (WithDeletes, WithDeletes, 29, true),
        // Deletes that came with a later definition, or are not possible any more.
        (WithDeletes, Plain, 29, true),
        (Plain, WithDeletes, 29, true),
        (Plain, Plain, 80, false),
    ] {
        let world = World::new(100_000, latest);
        let event = ingest(&world, planned, days).await;
        let rows = usize::from(!is_dead);
        for store in &world.stores {
            assert_eq!(locked(&store.rows).len(), rows, "after {days} days");
        }
        if is_dead {
            assert_eq!(event.state, JobState::Partial);
            assert_eq!(event.dead_chunks.first[0].code, DeadCode::TooOld);
        } else {
            assert_eq!(event.state, JobState::Succeeded, "{:?}", event.dead_chunks);
        }
    }
}

#[tokio::test]
async fn a_chunk_is_dead_if_the_api_may_have_deleted_its_rows() {
    let world = World::new(100_000, Kind::Plain);
    let created: Timestamp = "2026-11-20T08:30:01Z".parse().unwrap();
    let key = KeyDigest::new("products", &[Value::Text("a".into())]);
    let delete = WorkMessage::Write(Box::new(WriteMessage {
        write: key.write_at(created.as_millisecond(), 0).unwrap(),
        dataset: DatasetRef {
            name: "products".to_owned(),
            version: None,
        },
        operation: WriteOperation::Delete,
        key: vec!["a".to_owned()],
        order_value: None,
        created_at: None,
        row: None,
    }));
    let body = serde_json::to_string(&delete).unwrap();
    let failed = world.call(&Cause::Messages(vec![(body, 1)])).await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let event = ingest(&world, Kind::Plain, 29).await;
    assert_eq!(event.state, JobState::Partial);
    assert_eq!(event.dead_chunks.first[0].code, DeadCode::TooOld);
}
