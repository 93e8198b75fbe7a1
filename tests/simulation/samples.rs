//! The functions accept the sample events in `events/`, which are part of the documentation.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::SqsEvent;
use bytes::Bytes;
use landfall_runtime::Deadline;
use serde_json::Value;

use crate::files::Kind;
use crate::world::World;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../events")
        .join(name)
}

fn event(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap()
}

#[tokio::test]
async fn sample_events_are_accepted() {
    let world = World::new(1_000_000, Kind::Plain);
    let deadline = Deadline::new(SystemTime::now() + Duration::from_mins(2));
    splitter::handle(&world.splitter, event("s3-test-event.json"), deadline)
        .await
        .unwrap();
    assert!(world.queue.waiting.lock().unwrap().is_empty());

    let created = event("s3-object-created.json");
    let object = &created["Records"][0]["s3"]["object"];
    let bytes = Bytes::from(std::fs::read(file("products.csv")).unwrap());
    assert_eq!(object["size"], bytes.len());
    let version = (
        "products/some products.csv".to_owned(),
        object["eTag"].as_str().unwrap().to_owned(),
    );
    world
        .buckets
        .versions
        .lock()
        .unwrap()
        .insert(version, bytes);
    splitter::handle(&world.splitter, created, deadline)
        .await
        .unwrap();
    let sent: Value = serde_json::from_str(&world.queue.waiting.lock().unwrap()[0]).unwrap();

    let chunks = event("sqs-chunks.json");
    let body: Value = serde_json::from_str(chunks["Records"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        body, sent,
        "events/sqs-chunks.json must equal the message that the splitter sends: {sent}"
    );
    let chunks: SqsEvent = serde_json::from_value(chunks).unwrap();
    let response = worker::handle(&world.workers[0], chunks, deadline).await;
    assert!(response.batch_item_failures.is_empty());

    // The whole object is read, so there is nothing to continue.
    let resumed = splitter::handle(&world.splitter, event("sqs-resume.json"), deadline).await;
    assert!(resumed.unwrap().batch_item_failures.is_empty());
    assert_eq!(world.queue.waiting.lock().unwrap().len(), 1);

    let rows = world.stores[0].rows.lock().unwrap();
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["A-1", "A-2"]);
    let events = world.bus.events.lock().unwrap();
    assert_eq!((events[0].counts.rows, events[0].counts.rejected), (4, 1));
}
