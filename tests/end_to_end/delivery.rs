//! Duplicated, delayed and reordered notifications and messages, and concurrent files.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use landfall_domain::{ChunkMessage, JobState};
use landfall_ledger::{DynamoTable, LedgerTable};
use landfall_local::{Sql, Stack};
use landfall_tests::Products;
use serde_json::json;

use crate::support::{
    assert_counts, assert_products, completions, land, products_file, start, upload,
};

/// Enables or disables the delivery of chunk messages to the workers.
pub async fn set_delivery(stack: &Stack, enabled: bool) {
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let mappings = lambda
        .list_event_source_mappings()
        .function_name(&stack.outputs().worker_function)
        .send()
        .await
        .unwrap();
    for mapping in mappings.event_source_mappings() {
        lambda
            .update_event_source_mapping()
            .uuid(mapping.uuid().unwrap())
            .enabled(enabled)
            .send()
            .await
            .unwrap();
    }
    // A poll in progress may still receive messages.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Invokes the splitter with the notification of an object, as S3 does when it sends one twice.
async fn notify(stack: &Stack, key: &str, version: &str, size: usize) {
    let inbox = &stack.outputs().inbox_bucket;
    let entity = json!({
        "key": key, "size": size, "eTag": "", "versionId": version, "sequencer": "00",
    });
    let event = landfall_tests::notification(&entity, inbox, "2026-11-20T08:30:00.000Z");
    let answer = aws_sdk_lambda::Client::new(stack.sdk_config())
        .invoke()
        .function_name(&stack.outputs().splitter_function)
        .payload(Blob::new(event.to_string()))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.function_error(), None);
}

/// Removes all messages from the chunk queue, and returns their bodies.
pub async fn drain(stack: &Stack) -> Vec<String> {
    let sqs = aws_sdk_sqs::Client::new(stack.sdk_config());
    let queue = &stack.outputs().chunk_queue_url;
    let mut bodies = Vec::new();
    loop {
        let received = sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .send()
            .await
            .unwrap();
        let messages = received.messages();
        if messages.is_empty() {
            return bodies;
        }
        for message in messages {
            bodies.push(message.body().unwrap().to_owned());
            let handle = message.receipt_handle().unwrap();
            sqs.delete_message()
                .queue_url(queue)
                .receipt_handle(handle)
                .send()
                .await
                .unwrap();
        }
    }
}

pub async fn wait_for_seal(stack: &Stack, job: landfall_domain::JobId) -> u32 {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    for _ in 0..600 {
        if let Some(chunks) = table.head(job).await.unwrap().and_then(|head| head.chunks) {
            return chunks;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the job was not sealed");
}

async fn duplicated_and_reversed(chunk_bytes: &str, rows: u64, at_least: u32) {
    let stack = start(Sql::Sqlite, &[("ChunkBytes", chunk_bytes)]).await;
    let file = products_file(rows, 5);
    let expected = Products::from_file(&file);
    let key = "products/again and again.csv";

    set_delivery(&stack, false).await;
    let version = stack.put_object(key, file.clone()).await.unwrap();
    let job = landfall_domain::JobId::for_object(&stack.outputs().inbox_bucket, key, &version);
    let chunks = wait_for_seal(&stack, job).await;
    assert!(chunks >= at_least, "{chunks}");
    // Two more notifications, at the same time.
    tokio::join!(
        notify(&stack, key, &version, file.len()),
        notify(&stack, key, &version, file.len())
    );

    let mut bodies = drain(&stack).await;
    let ordinals: HashSet<u32> = bodies
        .iter()
        .map(|body| serde_json::from_str::<ChunkMessage>(body).unwrap())
        .inspect(|message| assert_eq!(message.job, job, "one job per object version"))
        .map(|message| message.ordinal)
        .collect();
    assert_eq!(ordinals.len(), chunks as usize);
    bodies.sort();
    let sqs = aws_sdk_sqs::Client::new(stack.sdk_config());
    for (index, body) in bodies.iter().rev().chain(&bodies).enumerate() {
        sqs.send_message()
            .queue_url(&stack.outputs().chunk_queue_url)
            .message_body(body)
            .delay_seconds(i32::from(index % 5 == 0))
            .send()
            .await
            .unwrap();
    }
    set_delivery(&stack, true).await;

    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_eq!(event.chunks, chunks);
    assert_counts(&event, &expected);
    assert_products(&stack, &expected.rows).await;

    // Uploading the file again creates another version, with another job and completion.
    let second = land(&stack, key, file).await;
    assert_ne!(second.job, job);
    assert_ne!(second.id, event.id);
    assert_counts(&second, &expected);
    assert_products(&stack, &expected.rows).await;
    // Late duplicates of a completion are identical.
    while let Some(late) = stack.next_event(Duration::from_secs(3)).await.unwrap() {
        assert!([&event, &second].contains(&&late.detail));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_one_record_are_duplicated_and_reversed() {
    // A chunk of one byte or more contains one record. These chunks do not fit one shard of the ledger.
    duplicated_and_reversed("1", 300, 290).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_chunks_are_duplicated_and_reversed() {
    duplicated_and_reversed("4096", 5_000, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_chunk_is_duplicated() {
    duplicated_and_reversed("33554432", 2_000, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_of_two_concurrent_files_wins_everywhere() {
    let stack = start(Sql::Postgres, &[("ChunkBytes", "65536")]).await;
    // Both files have the same skus, most of them at different positions.
    let files = [products_file(20_000, 21), products_file(30_000, 22)];
    let keys = ["products/one.csv", "products/two.csv"];
    let (one, two) = tokio::join!(
        upload(&stack, keys[0], files[0].clone()),
        upload(&stack, keys[1], files[1].clone())
    );
    let events = completions(&stack, &[one, two]).await;

    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    let mut ordered = Vec::new();
    for (job, file) in [one, two].into_iter().zip(&files) {
        assert_eq!(events[&job].state, JobState::Succeeded);
        assert_counts(&events[&job], &Products::from_file(file));
        ordered.push((table.head(job).await.unwrap().unwrap().order, file));
    }
    ordered.sort_by_key(|(order, _)| *order);
    let mut expected = Products::default();
    for (_, file) in ordered {
        expected.read(file);
    }
    assert_products(&stack, &expected.rows).await;
}
