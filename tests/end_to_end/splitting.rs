//! Objects that one splitter does not read to their end: for lack of time, or because its process dies.

use std::fs;
use std::process::Command;
use std::time::Duration;

use landfall_aws::WorkMessage;
use landfall_domain::{ChunkMessage, JobId, JobState};
use landfall_ledger::{DynamoTable, Ledger, LedgerTable};
use landfall_local::{Sql, Stack};
use landfall_tests::Products;

use crate::delivery::{drain, send_back, set_delivery, wait_for_seal};
use crate::support::{assert_counts, assert_products, completions, products_file, start, upload};

fn ledger(stack: &Stack) -> (DynamoTable, Ledger) {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    (table.clone(), Ledger::new(std::sync::Arc::new(table)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_splitter_whose_time_is_short_is_continued_until_the_object_is_read() {
    let parameters = [("SplitSeconds", "0"), ("ChunkBytes", "100000")];
    let stack = start(Sql::Sqlite, &parameters).await;
    let file = products_file(160_000, 31);
    let segments = file.len().div_ceil(4 << 20);
    assert!(segments >= 3, "{segments}");

    set_delivery(&stack, false).await;
    let job = upload(&stack, "products/long.csv", file.clone()).await;
    let chunks = wait_for_seal(&stack, job).await;
    let bodies = drain(&stack).await;
    let sent = bodies
        .iter()
        .map(|body| match WorkMessage::parse(body).unwrap() {
            WorkMessage::Chunk(chunk) => *chunk,
            WorkMessage::Close { .. }
            | WorkMessage::Redrive { .. }
            | WorkMessage::Write(_)
            | WorkMessage::Check(_) => {
                panic!("no chunk is done")
            }
        });
    let mut sent: Vec<ChunkMessage> = sent.collect();
    sent.sort_by_key(|chunk| chunk.ordinal);
    let (table, ledger) = ledger(&stack);
    let head = table.head(job).await.unwrap().unwrap();
    let ordinals: Vec<u32> = (0..chunks).collect();
    // No message was sent twice, and each can be rebuilt.
    assert_eq!(ledger.planned_chunks(&head, &ordinals).await.unwrap(), sent);
    let recorded = ledger.checkpoint(job).await.unwrap().unwrap();
    // The last invocation has read the last segment.
    assert_eq!(
        recorded.checkpoint.scanned,
        (segments as u64 - 1) * (4 << 20)
    );

    send_back(&stack, &bodies).await;
    set_delivery(&stack, true).await;
    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_eq!(event.chunks, chunks);
    let expected = Products::from_file(&file);
    assert_counts(&event, &expected);
    assert_products(&stack, &expected.rows).await;
}

/// Kills the processes of a function of this stack, and returns their number.
fn kill(stack: &Stack, function: &str) -> usize {
    let name = format!("AWS_LAMBDA_FUNCTION_NAME={function}");
    let endpoint = format!("AWS_ENDPOINT_URL={}", stack.endpoint());
    let mut killed = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.file_name().to_string_lossy().into_owned();
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let has = |variable: &str| {
            environment
                .split(|byte| *byte == 0)
                .any(|found| found == variable.as_bytes())
        };
        if has(&name) && has(&endpoint) {
            let status = Command::new("kill").args(["-9", &process]).status();
            killed += usize::from(status.unwrap().success());
        }
    }
    killed
}

/// Kills the splitter once a shard of the job is planned. Returns whether the job was not sealed then.
async fn kill_at_shard(stack: &Stack, job: JobId, shard: u32) -> bool {
    let (table, _) = ledger(stack);
    for _ in 0..6_000 {
        if !table.plan(job, &[shard]).await.unwrap().is_empty() {
            let killed = kill(stack, &stack.outputs().splitter_function);
            let head = table.head(job).await.unwrap().unwrap();
            return killed > 0 && head.chunks.is_none();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the object was not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes_although_its_splitter_is_killed_while_it_sends() {
    let stack = start(Sql::Sqlite, &[("ChunkBytes", "4096")]).await;
    let file = products_file(70_000, 32);
    assert!(file.len() > 4 << 20, "it has several segments");
    let job = upload(&stack, "products/killed.csv", file.clone()).await;
    assert!(kill_at_shard(&stack, job, 2).await, "too late");

    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    let expected = Products::from_file(&file);
    assert_counts(&event, &expected);
    assert_products(&stack, &expected.rows).await;
}
