//! A stack, what is dropped into it, and what clients of one's own find in its databases.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use futures::TryStreamExt;
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::Secret;
use landfall_cli::seed::{Kind, write};
use landfall_domain::{CompletionEvent, JobId, Reject};
use landfall_local::{Silent, Sql, Stack, StackOptions};
use landfall_tests::Products;
use mongodb::bson::{Bson, Document, doc};
use sqlx::{Connection, PgConnection, Row};

/// A name and a description, by sku.
pub type Rows = BTreeMap<String, (String, Option<String>)>;

/// Longer than any scenario takes on a slow machine; a chunk that fails once comes back after 12 minutes.
const WITHIN: Duration = Duration::from_mins(5);

pub async fn start(sql: Sql, parameters: &[(&str, &str)]) -> Stack {
    start_with(sql, parameters, Vec::new()).await
}

pub async fn start_with(sql: Sql, parameters: &[(&str, &str)], datasets: Vec<PathBuf>) -> Stack {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = StackOptions {
        sql,
        datasets,
        parameters: parameters.iter().map(own).collect(),
        ..StackOptions::default()
    };
    Stack::start(options, &Silent).await.unwrap()
}

/// Adds a token to those that are there. A function that has started reads it within a minute.
pub async fn add_token(stack: &Stack, name: &str, scopes: &[Scope], datasets: Access) -> Token {
    let secret = Secret::new(stack.sdk_config(), &stack.outputs().tokens_secret);
    let mut list = TokenList::parse(&secret.read().await.unwrap()).unwrap();
    let token = Token::random();
    let scopes = scopes.iter().copied().collect();
    list.add(name, &token, scopes, datasets).unwrap();
    secret.write(&list.to_text().unwrap()).await.unwrap();
    token
}

/// A products file as the seeding command makes it.
pub fn products_file(rows: u64, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    write(Kind::Products, rows, seed, &mut file).unwrap();
    file
}

/// Fetches a pinned package of a registry, and puts some of its files into a directory.
pub fn fetch(stack: &Stack, package: &str, sha512: &str, directory: &Path, files: &[&str]) {
    let fetched = Command::new(stack.tools().join("python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/end_to_end/fetch.py"))
        .args([package, sha512])
        .arg(directory)
        .args(files)
        .status()
        .unwrap();
    assert!(fetched.success(), "{package} cannot be fetched");
}

/// Drops an object, and gives its job.
pub async fn drop_object(stack: &Stack, key: &str, body: impl Into<ByteStream>) -> JobId {
    let version = stack.put_object(key, body).await.unwrap();
    JobId::of(&stack.outputs().inbox_bucket, key, &version)
}

/// Waits for the completions of jobs. Those that come again must be the same.
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
        assert_eq!(*first, event.detail, "a job completed in two ways");
    }
    found
}

/// Drops an object, and waits for its completion.
pub async fn land(stack: &Stack, key: &str, body: impl Into<ByteStream>) -> CompletionEvent {
    let job = drop_object(stack, key, body).await;
    completions(stack, &[job]).await.remove(&job).unwrap()
}

/// Asserts that counts add up, in every store, and that they are the reference's.
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

/// The rejects that a completion tells of.
pub async fn rejects(stack: &Stack, event: &CompletionEvent) -> Vec<Reject> {
    let Some(place) = &event.rejects else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    let mut pages = stack
        .s3()
        .list_objects_v2()
        .bucket(&place.bucket)
        .prefix(&place.prefix)
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
            .bucket(&place.bucket)
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

/// Asserts that both databases hold these products, row by row, and nothing else.
pub async fn assert_products(stack: &Stack, expected: &Rows) {
    assert_rows("SQL", &products_in_sql(stack.sql_url()).await, expected);
    assert_rows(
        "MongoDB",
        &products_in_mongodb(stack.mongodb_uri()).await,
        expected,
    );
}

fn assert_rows(store: &str, found: &Rows, expected: &Rows) {
    // Half a million rows are no help in a message.
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
        "{store} holds products that no file has"
    );
}

async fn products_in_sql(url: &str) -> Rows {
    const SELECT: &str = "SELECT sku, name, description FROM products";
    if let Some(path) = url.strip_prefix("sqlite://") {
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut select = connection.prepare(SELECT).unwrap();
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .unwrap();
        return rows.map(Result::unwrap).collect();
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(SELECT).fetch(&mut connection);
    rows.map_ok(|row| (row.get(0), (row.get(1), row.get(2))))
        .try_collect()
        .await
        .unwrap()
}

async fn products_in_mongodb(uri: &str) -> Rows {
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

/// All documents of a collection.
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
