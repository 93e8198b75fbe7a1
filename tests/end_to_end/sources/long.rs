//! A walk that takes longer than the function: later invocations continue it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use landfall_ledger::SourceTable;
use landfall_local::Stack;
use landfall_sources::{Outcome, Phase, RunEntry};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::{WITHIN, in_sql, ledger, runs};
use crate::support::documents;

/// The timeout of the function in seconds. All but three are reserved for the end of an invocation.
pub const TIMEOUT: i32 = 33;
const NAME: &str = "wide";
const PAGES: u64 = 36;
const PAGE: u64 = 16;
const TEXT_BYTES: usize = 32 << 10;
/// How long the server takes for a page. All of them take nine seconds, and have two parts and a rest.
const DELAY: Duration = Duration::from_millis(250);

const DATASET: &str = "name = \"wide\"\nkey = [\"id\"]\nfields = [\n\
    { name = \"id\", type = \"integer\" },\n\
    { name = \"name\", type = \"text\" },\n]\n";

/// The pages that were requested, one after the other.
type Requested = Arc<Mutex<Vec<u64>>>;

/// Checks a walk that needs several invocations.
pub async fn check(stack: &Stack) {
    let requested = Requested::default();
    let url = serve(Arc::clone(&requested)).await;
    stack.put_dataset(NAME, DATASET).await.unwrap();
    let definition = format!(
        "dataset = \"{NAME}\"\nurl = \"{url}\"\nevery = \"1 day\"\nrecords = \"rows\"\n\
         paging = {{ kind = \"cursor\", parameter = \"page\", cursor = \"next\" }}\n\
         limits = {{ requests_per_second = 100 }}\n"
    );
    stack.put_source(NAME, &definition).await.unwrap();

    let (asides, uploads, run) = watch(stack).await;
    assert_eq!(
        (run.outcome, run.walks, run.progress.records),
        (Outcome::Succeeded, 1, PAGES * PAGE),
        "{run:?}"
    );
    // The records that are too few for a part are kept aside at the end of each invocation but the last.
    assert!(asides.len() >= 2, "{asides:?}");
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    check_requests(&requested.lock().unwrap(), asides.len());
    let expected: BTreeMap<i64, String> = (0..PAGES * PAGE).map(row).collect();
    assert_eq!(
        ids_of_object(stack, &run).await,
        expected.keys().copied().collect::<Vec<_>>()
    );
    assert_eq!(in_sql(stack, NAME), expected);
    assert_eq!(
        documents(stack.mongodb_uri(), NAME).await.len(),
        expected.len()
    );
}

/// Waits until the run is over. Returns the keys of what was kept aside and the ids of uploads, as they were recorded
/// meanwhile, and the run.
async fn watch(stack: &Stack) -> (BTreeSet<String>, BTreeSet<String>, RunEntry) {
    let (mut asides, mut uploads) = (BTreeSet::new(), BTreeSet::new());
    let (table, stop_at) = (ledger(stack), Instant::now() + WITHIN);
    loop {
        match table
            .source(NAME)
            .await
            .unwrap()
            .record
            .run
            .map(|run| run.phase)
        {
            Some(Phase::Walking(Some(checkpoint))) => {
                asides.extend(checkpoint.aside);
                uploads.extend(checkpoint.upload.map(|upload| upload.id));
            }
            Some(Phase::Completing { upload, .. }) => uploads.extend(upload.map(|it| it.id)),
            _ => {}
        }
        if let Some(run) = runs(stack, NAME).await.into_iter().next() {
            return (asides, uploads, run);
        }
        if Instant::now() >= stop_at {
            let logs = stack.function_logs(60).await.unwrap();
            panic!("the run is not over: {asides:?}, {uploads:?}\n{logs}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Checks that no page was left out, and that only those were requested twice that were cut off by the end of an
/// invocation.
fn check_requests(requested: &[u64], continued: usize) {
    let pages: BTreeSet<u64> = requested.iter().copied().collect();
    assert_eq!(pages, (0..PAGES).collect());
    assert!(
        requested.is_sorted(),
        "a walk was started again: {requested:?}"
    );
    let repeated = requested.len() - pages.len();
    assert!(repeated <= continued, "{requested:?}");
}

/// Returns the ids in the object of a run.
async fn ids_of_object(stack: &Stack, run: &RunEntry) -> Vec<i64> {
    let object = stack
        .s3()
        .get_object()
        .bucket(&stack.outputs().inbox_bucket);
    let object = object
        .key(run.object.as_deref().unwrap())
        .send()
        .await
        .unwrap();
    let body = object.body.collect().await.unwrap().into_bytes();
    let lines = str::from_utf8(&body).unwrap().lines();
    let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .map(|record| record["id"].as_i64().unwrap())
        .collect()
}

fn row(id: u64) -> (i64, String) {
    let text = format!("{id:08}").repeat(TEXT_BYTES / 8);
    (id.try_into().unwrap(), text)
}

/// Starts the server, which stops with the test.
async fn serve(requested: Requested) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/wide", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/wide", get(page))
        .with_state(requested);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn page(
    State(requested): State<Requested>,
    Query(query): Query<BTreeMap<String, u64>>,
) -> Json<Value> {
    let page = query.get("page").copied().unwrap_or_default();
    requested.lock().unwrap().push(page);
    sleep(DELAY).await;
    let ids = page * PAGE..(page + 1) * PAGE;
    let rows: Vec<Value> = ids
        .map(row)
        .map(|(id, name)| json!({ "id": id, "name": name }))
        .collect();
    let next = (page + 1 < PAGES).then_some(page + 1);
    Json(json!({ "rows": rows, "next": next }))
}
