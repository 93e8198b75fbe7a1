//! Messages and notifications that are lost: the janitor finds out, and the jobs close.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::types::NotificationConfiguration;
use landfall_domain::JobState;
use landfall_local::Sql;
use landfall_tests::Products;
use tokio::time::sleep;

use crate::http::Api;
use crate::support::{
    assert_counts, assert_products, completions, products_file, start, tick, upload,
};

#[tokio::test(flavor = "multi_thread")]
async fn lost_messages_and_notifications_are_repeated() {
    let stack = Arc::new(start(Sql::Sqlite, &[("ChunkBytes", "4096")]).await);
    let s3 = aws_sdk_s3::Client::new(stack.sdk_config());
    let sqs = aws_sdk_sqs::Client::new(stack.sdk_config());
    let outputs = stack.outputs();

    let file = products_file(5_000, 1);
    let mut expected = Products::from_file(&file);
    let alone = expected.clone();
    let job = upload(&stack, "products/purged.csv", file).await;
    // Once the job is sealed, all its messages are sent, and most of them wait.
    let api = Api::new(&stack);
    let started = Instant::now();
    loop {
        let found = api.get(&format!("jobs/{job}")).send().await.unwrap();
        if found.status().is_success() {
            let found: serde_json::Value = found.json().await.unwrap();
            if found["chunks"]["planned"].is_u64() {
                assert!(found["chunks"]["remaining"].as_u64() > Some(10), "{found}");
                break;
            }
        }
        assert!(started.elapsed() < Duration::from_mins(1), "not sealed");
        sleep(Duration::from_millis(20)).await;
    }
    let queue = &outputs.chunk_queue_url;
    sqs.purge_queue().queue_url(queue).send().await.unwrap();
    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_counts(&event, &alone);

    // Objects of which nobody is notified.
    let inbox = &outputs.inbox_bucket;
    let none = NotificationConfiguration::builder().build();
    let configure = s3.put_bucket_notification_configuration().bucket(inbox);
    let configure = configure.notification_configuration(none);
    configure.send().await.unwrap();
    let file = products_file(100, 2);
    let alone = Products::from_file(&file);
    expected.read(&file);
    let job = upload(&stack, "products/some folder/é+&.csv", file).await;
    // The schedule has led to the first job. From here on, the janitor need not wait for it.
    let ticks = tokio::spawn(tick(Arc::clone(&stack), outputs.janitor_function.clone()));
    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    ticks.abort();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_counts(&event, &alone);
    assert_products(&stack, &expected.rows).await;
}
