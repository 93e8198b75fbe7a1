//! Workers that are killed, and work that reaches two of them.

use std::time::Duration;

use landfall_aws::{Earlier, Work};
use landfall_domain::{CompletionEvent, DeadCode, JobId, JobState, StoreKind};
use landfall_tests::Products;
use sqlx::Connection;
use tokio::time::sleep;

use super::{Faults, SILENCE, products, wait_until};
use crate::delivery::{drain, set_delivery, wait_for_seal};
use crate::support::{assert_products, documents, land, set_variable, upload};

const STOCK: &str = r#"
name = "stock"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }, { name = "pieces", type = "integer" }]
"#;

/// Fewer than a chunk has at most, and too few for two lanes.
const ROWS: u32 = 500;
/// Enough for several chunks.
const MANY: u32 = 20_000;

/// Sends work to the workers.
async fn send(faults: &Faults, work: &Work) {
    aws_sdk_sqs::Client::new(faults.stack.sdk_config())
        .send_message()
        .queue_url(&faults.stack.outputs().chunk_queue_url)
        .message_body(serde_json::to_string(work).unwrap())
        .send()
        .await
        .unwrap();
}

/// Uploads a file of one chunk, and takes its message from the queue.
async fn take_message(faults: &Faults, key: &str, file: Vec<u8>) -> (JobId, Work) {
    set_delivery(&faults.stack, false).await;
    let job = upload(&faults.stack, key, file).await;
    assert_eq!(wait_for_seal(&faults.stack, job).await, 1);
    let [body] = &*drain(&faults.stack).await else {
        panic!("one chunk has one message");
    };
    (job, Work::parse(body).unwrap())
}

/// A chunk that two workers process at the same time counts once.
async fn one_message_to_two_workers(faults: &Faults) -> CompletionEvent {
    let (job, work) = take_message(faults, "products/two.csv", products("two", ROWS)).await;
    let mut lock = faults.hold("LOCK TABLE products IN EXCLUSIVE MODE").await;
    for _ in 0..2 {
        send(faults, &work).await;
    }
    set_delivery(&faults.stack, true).await;
    faults.wait_for_blocked(2).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    faults.close(&[job]).await.remove(&job).unwrap()
}

/// A worker dies before its transaction commits.
async fn killed_before_the_commit(faults: &Faults) -> JobId {
    let lock = faults.hold("LOCK TABLE products IN EXCLUSIVE MODE").await;
    let job = upload(
        &faults.stack,
        "products/before.csv",
        products("before", ROWS),
    )
    .await;
    faults.wait_for_blocked(1).await;
    assert!(faults.kill_workers() > 0);
    lock.close().await.unwrap();
    job
}

/// A worker dies once the rows are committed, and before the mark.
async fn killed_after_the_commit(faults: &Faults) -> JobId {
    // A new worker would wait for MongoDB before it reads the chunk, so all of them process a chunk first.
    sleep(Duration::from_secs(3)).await;
    let warm = land(&faults.stack, "products/warm.csv", products("warm", MANY)).await;
    assert_eq!(warm.state, JobState::Succeeded, "{:?}", warm.problem);
    faults.mongodb.pause().unwrap();
    let job = upload(&faults.stack, "products/after.csv", products("after", ROWS)).await;
    let query = "SELECT count(*) FROM products WHERE sku LIKE 'after%'";
    wait_until("PostgreSQL has the rows", async || {
        faults.count(query).await == i64::from(ROWS)
    })
    .await;
    assert!(faults.kill_workers() > 0);
    faults.mongodb.resume().unwrap();
    let head = faults.head(job).await.unwrap();
    assert_eq!(faults.progress(&head).await.processed(), 0, "no mark");
    job
}

/// The worker that marked the last chunk dies before it closes the job: here while it prunes.
async fn killed_after_the_last_mark(faults: &Faults) -> JobId {
    faults.stack.put_dataset("stock", STOCK).await.unwrap();
    let stock = |rows: u32| {
        let lines = (0..rows).map(|row| format!("s{row},{row}\n"));
        format!("sku,pieces\n{}", lines.collect::<String>()).into_bytes()
    };
    let full = land(&faults.stack, "stock/full.csv", stock(20)).await;
    assert_eq!(full.state, JobState::Succeeded, "{:?}", full.problem);
    // The prune waits for this row; nothing before it does.
    let lock = faults
        .hold("SELECT * FROM stock WHERE sku = 's19' FOR UPDATE")
        .await;
    let job = upload(&faults.stack, "stock/cut.csv", stock(19)).await;
    faults.wait_for_blocked(1).await;
    let head = faults.head(job).await.unwrap();
    assert_eq!(head.state, JobState::Open);
    assert_eq!(faults.progress(&head).await.done, 1, "marked");
    assert!(faults.kill_workers() > 0);
    lock.close().await.unwrap();
    job
}

/// A chunk whose workers die. It has been received as often as allowed, but once.
async fn poison(faults: &Faults) -> JobId {
    let (job, mut work) =
        take_message(faults, "products/poison.csv", products("poison", ROWS)).await;
    work.earlier = Earlier {
        receives: 30,
        ..Earlier::default()
    };
    let lock = faults.hold("LOCK TABLE products IN EXCLUSIVE MODE").await;
    send(faults, &work).await;
    set_delivery(&faults.stack, true).await;
    faults.wait_for_blocked(1).await;
    assert!(faults.kill_workers() > 0);
    lock.close().await.unwrap();
    job
}

/// The object is deleted while its first chunks are processed. The others are dead.
async fn object_deleted(faults: &Faults) -> (JobId, u32) {
    let mut lock = faults.hold("LOCK TABLE products IN EXCLUSIVE MODE").await;
    let key = "products/gone.csv";
    let version = faults
        .stack
        .put_object(key, products("gone", MANY))
        .await
        .unwrap();
    let inbox = &faults.stack.outputs().inbox_bucket;
    let job = JobId::for_object(inbox, key, &version);
    let chunks = wait_for_seal(&faults.stack, job).await;
    faults.wait_for_blocked(1).await;
    let deleted = faults.stack.s3().delete_object();
    let deleted = deleted.bucket(inbox).key(key).version_id(version);
    deleted.send().await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    (job, chunks)
}

/// Runs every scenario, and checks each rule. Returns the products in the databases.
pub(super) async fn check(faults: &Faults) -> Products {
    // As on AWS. With the shorter pauses of the local stack, the janitor sends a message again before the one of a
    // killed worker returns.
    let janitor = &faults.stack.outputs().janitor_function;
    let pause = Some("120");
    set_variable(
        &faults.stack,
        janitor,
        "LANDFALL_FIRST_PAUSE_SECONDS",
        pause,
    )
    .await;
    let first = products("first", 10);
    land(&faults.stack, "products/first.csv", first.clone()).await;

    // Before workers are killed, whose messages return some time later.
    let twice = one_message_to_two_workers(faults).await;
    let poisoned = poison(faults).await;
    let before = killed_before_the_commit(faults).await;
    let after = killed_after_the_commit(faults).await;
    let pruned = killed_after_the_last_mark(faults).await;
    let (gone, chunks) = object_deleted(faults).await;

    let events = faults.close(&[poisoned, before, after, pruned, gone]).await;
    for event in [&twice, &events[&before], &events[&after]] {
        assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
        assert_eq!(
            (event.dead, event.counts.rows),
            (0, u64::from(ROWS)),
            "{event:?}"
        );
        for counts in event.counts.stores.values() {
            assert_eq!(counts.total(), u64::from(ROWS), "{event:?}");
        }
    }
    let repeated = &events[&after].counts.stores[&StoreKind::Postgres];
    assert_eq!(repeated.unchanged, u64::from(ROWS), "all was committed");

    let event = &events[&pruned];
    assert_eq!((event.state, event.dead), (JobState::Succeeded, 0));
    assert_eq!(event.counts.rows, 19);
    assert_eq!(faults.count("SELECT count(*) FROM stock").await, 19);
    assert_eq!(documents(faults.mongodb.url(), "stock").await.len(), 19);

    let event = &events[&poisoned];
    assert_eq!((event.state, event.dead), (JobState::Partial, 1));
    assert_eq!(event.dead_chunks.first[0].code, DeadCode::WorkerDied);

    let event = &events[&gone];
    assert_eq!((event.state, event.chunks), (JobState::Partial, chunks));
    assert!(
        0 < event.dead && event.dead < chunks,
        "{} of {chunks}",
        event.dead
    );
    assert_eq!(event.dead_chunks.by_code[&DeadCode::ObjectGone], event.dead);
    let rows = faults
        .count("SELECT count(*) FROM products WHERE sku LIKE 'gone%'")
        .await;
    assert_eq!(u64::try_from(rows).unwrap(), event.counts.rows);

    // Nothing but the rows of the last two may be missing.
    let last = land(
        &faults.stack,
        "products/poison.csv",
        products("poison", ROWS),
    )
    .await;
    assert_eq!(
        last.state,
        JobState::Succeeded,
        "uploading it again repairs it"
    );
    let last = land(&faults.stack, "products/gone.csv", products("gone", MANY)).await;
    assert_eq!(
        last.state,
        JobState::Succeeded,
        "uploading it again repairs it"
    );
    let mut expected = Products::from_file(&first);
    for prefix in ["two", "before", "after", "poison"] {
        expected.read(&products(prefix, ROWS));
    }
    expected.read(&products("warm", MANY));
    expected.read(&products("gone", MANY));
    assert_products(&faults.stack, &expected.rows).await;
    let known: Vec<_> = [&twice].into_iter().chain(events.values()).collect();
    faults.assert_no_other_completion(&known, SILENCE).await;
    expected
}
