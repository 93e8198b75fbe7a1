//! Starts stacks, uploads files, and reads their databases with clients that are not part of Landfall.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::Environment;
use aws_sdk_s3::primitives::ByteStream;
use futures::TryStreamExt;
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::Secret;
use landfall_cli::seed::{Kind, write};
use landfall_domain::{CompletionEvent, JobId, Reject};
use landfall_local::{Silent, Sql, Stack, StackOptions};
use landfall_tests::Products;
use mongodb::bson::{Bson, Document, doc};
use sqlx::{Connection, MySqlConnection, PgConnection, Row};
use tokio::time::{sleep, timeout};

/// Names and descriptions by sku.
pub type Rows = BTreeMap<String, (String, Option<String>)>;

/// Longer than any scenario takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(5);
/// The time between two invocations of a function whose schedule is every minute.
const TICK: Duration = Duration::from_millis(500);

pub async fn start(sql: Sql, parameters: &[(&str, &str)]) -> Stack {
    start_with(sql, parameters, Vec::new()).await
}

pub async fn start_with(sql: Sql, parameters: &[(&str, &str)], datasets: Vec<PathBuf>) -> Stack {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = StackOptions {
        sql,
        datasets,
        parameters: parameters.iter().map(owned).collect(),
        ..StackOptions::default()
    };
    Stack::start(options, &Silent).await.unwrap()
}

/// Adds a token to the existing ones. A running function reads it within a minute.
pub async fn add_token(stack: &Stack, name: &str, scopes: &[Scope], datasets: Access) -> Token {
    let secret = Secret::new(stack.sdk_config(), &stack.outputs().tokens_secret);
    let (text, version) = secret.read_version().await.unwrap();
    let mut list = TokenList::parse(&text).unwrap();
    let token = Token::random();
    let scopes = scopes.iter().copied().collect();
    list.add(name, &token, scopes, datasets).unwrap();
    let replaced = secret.replace(&version, &list.to_text().unwrap()).await;
    assert!(replaced.unwrap());
    token
}

/// Sets or removes a variable in the environment of a function, which gets new processes for that.
pub async fn set_variable(stack: &Stack, function: &str, name: &str, value: Option<&str>) {
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let found = lambda.get_function_configuration().function_name(function);
    let environment = found.send().await.unwrap().environment.unwrap();
    let mut variables = environment.variables.unwrap();
    match value {
        Some(value) => variables.insert(name.to_owned(), value.to_owned()),
        None => variables.remove(name),
    };
    let environment = Environment::builder().set_variables(Some(variables));
    let update = lambda.update_function_configuration();
    let update = update.function_name(function);
    let update = update.environment(environment.build());
    update.send().await.unwrap();
    let updated = lambda.wait_until_function_updated_v2();
    let updated = updated.function_name(function);
    updated.wait(Duration::from_mins(1)).await.unwrap();
}

/// Sets the timeout of a function in seconds.
pub async fn set_timeout(stack: &Stack, function: &str, seconds: i32) {
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let update = lambda.update_function_configuration();
    let update = update.function_name(function).timeout(seconds);
    update.send().await.unwrap();
    let updated = lambda.wait_until_function_updated_v2();
    let updated = updated.function_name(function);
    updated.wait(Duration::from_mins(1)).await.unwrap();
}

/// Invokes a function again and again, as its schedule does every minute.
pub async fn tick(stack: Arc<Stack>, function: String) {
    loop {
        // One that is killed has no answer. One that takes long goes on beside the next one.
        let _ = timeout(5 * TICK, invoke(&stack, &function)).await;
        sleep(TICK).await;
    }
}

/// Invokes a function that needs no event, and returns whether it succeeded.
pub async fn invoke(stack: &Stack, function: &str) -> bool {
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let invoked = lambda.invoke().function_name(function);
    let invoked = invoked.payload(Blob::new("{}")).send().await;
    invoked.is_ok_and(|invoked| invoked.function_error.is_none())
}

/// Kills the processes of a function. Returns their number.
pub fn kill(stack: &Stack, function: &str) -> usize {
    let processes = stack.processes_of(function);
    let killed = processes.iter().filter(|process| process.kill().unwrap());
    killed.count()
}

/// Ends the processes of the functions that cache definitions for a minute, while they are idle.
pub fn forget_definitions(stack: &Stack) {
    let outputs = stack.outputs();
    for function in [
        &outputs.splitter_function,
        &outputs.worker_function,
        &outputs.maintenance_function,
        &outputs.api_function,
    ] {
        kill(stack, function);
    }
}

/// Opens the database of a stack with SQLite.
pub fn sqlite(stack: &Stack) -> rusqlite::Connection {
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    rusqlite::Connection::open(path).unwrap()
}

/// Returns a products file as generated by the seed command.
pub fn products_file(rows: u64, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    write(Kind::Products, rows, seed, &mut file).unwrap();
    file
}

/// Downloads a pinned package from a registry, and extracts some of its files into a directory.
pub fn fetch(stack: &Stack, package: &str, sha512: &str, directory: &Path, files: &[&str]) {
    let status = Command::new(stack.tools().join("python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/end_to_end/fetch.py"))
        .args([package, sha512])
        .arg(directory)
        .args(files)
        .status()
        .unwrap();
    assert!(status.success(), "cannot download {package}");
}

/// Uploads an object, and returns its job.
pub async fn upload(stack: &Stack, key: &str, body: impl Into<ByteStream>) -> JobId {
    let version = stack.put_object(key, body).await.unwrap();
    JobId::for_object(&stack.outputs().inbox_bucket, key, &version)
}

/// Waits for the completions of jobs. Duplicates must be identical.
pub async fn completions(stack: &Stack, jobs: &[JobId]) -> HashMap<JobId, CompletionEvent> {
    let mut found: HashMap<JobId, CompletionEvent> = HashMap::new();
    while !jobs.iter().all(|job| found.contains_key(job)) {
        let Some(event) = stack.next_event(WITHIN).await.unwrap() else {
            panic!(
                "a job did not close:\n{}",
                stack.function_logs(40).await.unwrap()
            );
        };
        let first = found
            .entry(event.detail.job)
            .or_insert_with(|| event.detail.clone());
        assert_eq!(*first, event.detail, "two different completions of a job");
    }
    found
}

/// Uploads an object, and waits for its completion.
pub async fn land(stack: &Stack, key: &str, body: impl Into<ByteStream>) -> CompletionEvent {
    let job = upload(stack, key, body).await;
    completions(stack, &[job]).await.remove(&job).unwrap()
}

/// Asserts that the counts of every store add up, and that they match the reference.
pub fn assert_counts(event: &CompletionEvent, file: &Products) {
    assert_eq!(event.counts.rows, file.records);
    assert_eq!(event.counts.rejected, file.rejected);
    assert_eq!(event.counts.stores.len(), 2);
    for (store, counts) in &event.counts.stores {
        assert_eq!(
            event.counts.rows,
            counts.total() + event.counts.rejected,
            "{store}"
        );
    }
}

/// Reads the rejects of a completed job.
pub async fn rejects(stack: &Stack, event: &CompletionEvent) -> Vec<Reject> {
    let Some(location) = &event.rejects else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    let mut pages = stack
        .s3()
        .list_objects_v2()
        .bucket(&location.bucket)
        .prefix(&location.prefix)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        keys.extend(
            page.unwrap()
                .contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
    }
    let mut rejects = Vec::new();
    for key in keys {
        let object = stack
            .s3()
            .get_object()
            .bucket(&location.bucket)
            .key(key)
            .send()
            .await
            .unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            rejects.push(serde_json::from_slice(line).unwrap());
        }
    }
    rejects
}

/// Asserts that both databases contain exactly these products.
pub async fn assert_products(stack: &Stack, expected: &Rows) {
    assert_rows("SQL", &products_in_sql(stack.sql_url()).await, expected);
    assert_rows(
        "MongoDB",
        &products_in_mongodb(stack.mongodb_uri()).await,
        expected,
    );
}

fn assert_rows(store: &str, found: &Rows, expected: &Rows) {
    // Half a million rows would make the message unreadable.
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(sku, row)| found.get(*sku) != Some(row))
        .take(3)
        .map(|(sku, row)| (sku, row, found.get(sku)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{store} differs (sku, expected, found): {wrong:#?}"
    );
    assert_eq!(
        found.len(),
        expected.len(),
        "{store} contains products that are in no file"
    );
}

pub async fn products_in_sql(url: &str) -> Rows {
    const SELECT: &str = "SELECT sku, name, description FROM products";
    if let Some(path) = url.strip_prefix("sqlite://") {
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut select = connection.prepare(SELECT).unwrap();
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .unwrap();
        return rows.map(Result::unwrap).collect();
    }
    if url.starts_with("mysql://") {
        let mut connection = MySqlConnection::connect(url).await.unwrap();
        let rows = sqlx::query(SELECT).fetch(&mut connection);
        let rows = rows.map_ok(|row| (row.get(0), (row.get(1), row.get(2))));
        return rows.try_collect().await.unwrap();
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(SELECT).fetch(&mut connection);
    rows.map_ok(|row| (row.get(0), (row.get(1), row.get(2))))
        .try_collect()
        .await
        .unwrap()
}

pub async fn products_in_mongodb(uri: &str) -> Rows {
    documents(uri, "products")
        .await
        .into_iter()
        .map(|document| {
            let sku = document.get_str("_id").unwrap().to_owned();
            let name = document.get_str("name").unwrap().to_owned();
            let description = match document.get("description") {
                Some(Bson::String(text)) => Some(text.clone()),
                None | Some(Bson::Null) => None,
                Some(other) => panic!("description is {other:?}"),
            };
            (sku, (name, description))
        })
        .collect()
}

/// Reads all documents of a collection.
pub async fn documents(uri: &str, collection: &str) -> Vec<Document> {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let database = client.default_database().unwrap();
    let found = database
        .collection::<Document>(collection)
        .find(doc! {})
        .await
        .unwrap();
    found.try_collect().await.unwrap()
}
