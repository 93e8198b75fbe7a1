//! Jobs that nothing gets on: the janitor gives up, and they close with a problem.

use std::collections::BTreeMap;

use landfall_domain::{CompletionEvent, DeadCode, JobId, JobState, ProblemCode};
use landfall_ledger::LedgerTable;
use serde_json::Value;

use crate::fakes::locked;
use crate::files::{File, Kind};
use crate::losing::{failed_notification, put};
use crate::repair::Janitor;
use crate::world::{Cause, World, notification};

const ERROR: &str = "the configuration bucket is unavailable";

/// A world with one file of three chunks, and the notification of the file.
fn world() -> (World, File, Value) {
    let world = World::new(1, Kind::Plain);
    let file = File {
        key: "products/a.csv".to_owned(),
        version: "v1".to_owned(),
        bytes: "sku,name,description\na,sound,\nb,sound,\nc,sound,\n".into(),
        time_ms: 1_000,
        codec: None,
    };
    put(&world, &file);
    let event = notification(&file);
    (world, file, event)
}

impl World {
    /// Has workers process all messages, and returns the completion event.
    async fn finish(&self) -> CompletionEvent {
        self.work().await;
        let events = locked(&self.bus.events);
        events.first().cloned().expect("the job closes")
    }

    async fn work(&self) {
        loop {
            let body = locked(&self.queue.waiting).pop();
            let Some(body) = body else {
                return;
            };
            let failed = self.call(&Cause::Messages(vec![(body, 1)])).await.unwrap();
            assert_eq!(failed.len(), 0);
        }
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_split_fails_with_the_error_of_the_splitter() {
    let (world, _, event) = world();
    let janitor = Janitor::new(&world, 0);
    let letter = failed_notification(&event, ERROR);
    // Repeated, as every message may be.
    for _ in 0..2 {
        janitor.call(Some(letter.clone())).await.unwrap();
    }
    let event = world.finish().await;
    assert_eq!(event.state, JobState::Failed);
    let problem = event.problem.unwrap();
    assert_eq!(problem.code, ProblemCode::SplitFailed);
    assert!(problem.message.contains(ERROR), "{}", problem.message);
    assert_eq!((event.chunks, event.dead), (0, 0));
}

#[tokio::test]
async fn a_job_that_cannot_be_sealed_fails_with_the_chunks_that_are_planned() {
    let (world, file, event) = world();
    let job = JobId::for_object("inbox", &file.key, &file.version);
    // The splitter dies after it has sent everything.
    let mut split = world.call(&Cause::Notification(event.clone()));
    while locked(&world.queue.waiting).len() < 3 {
        let polled = futures::poll!(&mut split);
        assert!(polled.is_pending(), "the splitter sends three messages");
    }
    drop(split);
    let head = world.table.0.head(job).await.unwrap().unwrap();
    assert_eq!(head.chunks, None);

    let janitor = Janitor::new(&world, 0);
    let letter = failed_notification(&event, ERROR);
    janitor.call(Some(letter)).await.unwrap();
    janitor.call(None).await.unwrap();
    let event = world.finish().await;
    assert_eq!(event.state, JobState::Failed);
    let problem = event.problem.unwrap();
    assert_eq!(problem.code, ProblemCode::SplitFailed);
    assert!(problem.message.contains(ERROR), "{}", problem.message);
    assert_eq!((event.chunks, event.dead, event.counts.rows), (3, 0, 3));
}

#[tokio::test]
async fn chunks_that_are_lost_again_and_again_are_dead() {
    let (world, _, event) = world();
    world.call(&Cause::Notification(event)).await.unwrap();
    let attempts = 3;
    let janitor = Janitor::new(&world, attempts);
    for _ in 0..attempts {
        let lost = std::mem::take(&mut *locked(&world.queue.waiting));
        assert_eq!(lost.len(), 3, "all messages are sent again");
        janitor.call(None).await.unwrap();
    }
    locked(&world.queue.waiting).clear();
    janitor.call(None).await.unwrap();
    let event = world.finish().await;
    assert_eq!(event.state, JobState::Partial);
    let codes = event.dead_chunks.by_code;
    assert_eq!(codes, BTreeMap::from([(DeadCode::Lost, 3)]));
}

#[tokio::test]
async fn the_messages_of_a_job_in_a_long_queue_are_not_multiplied() {
    let (world, _, event) = world();
    world.call(&Cause::Notification(event)).await.unwrap();
    let janitor = Janitor::new(&world, 6);
    // The first message waits, and the others are lost.
    locked(&world.queue.waiting).truncate(1);
    for runs in 1..20 {
        janitor.call(None).await.unwrap();
        let waiting = locked(&world.queue.waiting).clone();
        let last = waiting
            .iter()
            .filter(|body| body.contains(r#""ordinal":2"#));
        assert_eq!(last.count(), runs, "the last chunk is sent again");
        assert_eq!(waiting.len(), 1 + runs, "no other chunk is");
    }
    // Once the last chunk is marked, the others are sent, and the job closes.
    world.work().await;
    janitor.call(None).await.unwrap();
    assert_eq!(world.finish().await.state, JobState::Succeeded);
}
