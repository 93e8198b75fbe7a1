//! Lists of jobs, also of jobs that an earlier release created.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::primitives::Blob;
use landfall_domain::JobId;
use landfall_ledger::{DynamoTable, JobIndex};
use landfall_local::{Sql, Stack};

use crate::delivery::set_delivery;
use crate::http::Api;
use crate::support::{completions, start, upload};

const JOBS: usize = 40;

/// Returns the keys of the objects of all jobs that a query lists, from all its pages.
async fn list(api: &Api, query: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.json(&format!("jobs?limit=7{query}{cursor}")).await;
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 7);
        let key = |job: &serde_json::Value| job["object"]["key"].as_str().unwrap().to_owned();
        keys.extend(jobs.iter().map(key));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return keys,
        }
    }
}

/// Gives the head of a job the attributes that an earlier release would have given it.
async fn move_to_earlier_release(stack: &Stack, job: JobId) {
    aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .update_item()
        .table_name(&stack.outputs().ledger_table)
        .key("pk", AttributeValue::S(format!("job/{job}")))
        .update_expression("SET kind = :kind, dataset_name = :dataset REMOVE open_shard")
        .expression_attribute_values(":kind", AttributeValue::S("job".to_owned()))
        .expression_attribute_values(":dataset", AttributeValue::S("products".to_owned()))
        .send()
        .await
        .unwrap();
}

/// Runs the janitor as after an upgrade from that release.
async fn run_upgraded_janitor(stack: &Stack) {
    aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .delete_item()
        .table_name(&stack.outputs().ledger_table)
        .key("pk", AttributeValue::S("cursor#unlisted_jobs".to_owned()))
        .send()
        .await
        .unwrap();
    let answer = aws_sdk_lambda::Client::new(stack.sdk_config())
        .invoke()
        .function_name(&stack.outputs().janitor_function)
        .payload(Blob::new("{}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.function_error, None);
}

/// Returns the number of entries in the index of open jobs.
async fn index_of_open_jobs(stack: &Stack) -> usize {
    let scan = aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .scan()
        .table_name(&stack.outputs().ledger_table)
        .index_name("open_jobs");
    scan.send().await.unwrap().items().len()
}

/// Returns the open jobs, oldest first.
async fn open_jobs(table: &DynamoTable) -> Vec<JobId> {
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let page = table.open_jobs(after.as_ref(), 7).await.unwrap();
        jobs.extend(page.heads.iter().map(|head| head.job));
        match page.next {
            Some(next) => after = Some(next),
            None => return jobs,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_has_each_job_once_from_new_to_old() {
    let stack = start(Sql::Sqlite, &[("TokenRequestsPerSecond", "100000")]).await;
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    set_delivery(&stack, false).await;
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let key = format!("products/{number}.csv");
        jobs.push(upload(&stack, &key, b"sku,name\na,b\n".to_vec()).await);
    }
    let mut waiting = open_jobs(&table).await;
    for _ in 0..600 {
        if waiting.len() == JOBS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiting = open_jobs(&table).await;
    }
    let started: HashSet<JobId> = waiting.iter().copied().collect();
    assert_eq!(
        started,
        jobs.iter().copied().collect(),
        "one entry per open job"
    );
    for job in &waiting[20..30] {
        move_to_earlier_release(&stack, *job).await;
    }
    assert_eq!(open_jobs(&table).await.len(), JOBS - 10, "no entries");
    run_upgraded_janitor(&stack).await;
    assert_eq!(open_jobs(&table).await, waiting, "the entries are added");

    set_delivery(&stack, true).await;
    completions(&stack, &jobs).await;
    for _ in 0..100 {
        if open_jobs(&table).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Nor does the janitor add jobs that are closed.
    run_upgraded_janitor(&stack).await;
    assert_eq!(index_of_open_jobs(&stack).await, 0, "no job is open");
    for job in &waiting[10..20] {
        move_to_earlier_release(&stack, *job).await;
    }

    let mut expected = Vec::new();
    for job in waiting.iter().rev() {
        let view = Api::new(&stack).json(&format!("jobs/{job}")).await;
        expected.push(view["object"]["key"].as_str().unwrap().to_owned());
    }
    let api = Api::new(&stack);
    for query in ["", "&dataset=products", "&state=succeeded"] {
        assert_eq!(list(&api, query).await, expected, "{query}");
    }
    assert!(list(&api, "&state=open").await.is_empty());
    assert!(list(&api, "&dataset=orders").await.is_empty());
}
