//! Requests for each row of another dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::routing::get;
use axum::{Json, Router};
use landfall_domain::JobState;
use landfall_local::Stack;
use landfall_sources::Outcome;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::{WITHIN, runs};
use crate::support::{documents, land, sqlite};

/// Keys that mean something in URLs.
const SHELVES: [&str; 6] = ["a", "b/c", "d?e=f#g", "..h", "\u{e9} i", "%2e"];
/// Books of a shelf, of which a page has two.
const BOOKS: u64 = 3;

const DATASETS: [(&str, &str); 2] = [
    (
        "shelves",
        "name = \"shelves\"\nkey = [\"shelf\"]\nfields = [\n\
         { name = \"shelf\", type = \"text\" }, { name = \"floor\", type = \"integer\" },\n]\n",
    ),
    (
        "books",
        "name = \"books\"\nmode = \"snapshot\"\nkey = [\"shelf\", \"number\"]\nfields = [\n\
         { name = \"shelf\", type = \"text\" },\n\
         { name = \"number\", type = \"integer\" },\n\
         { name = \"at_floor\", type = \"integer\" },\n]\nunknown_columns = \"reject\"\n",
    ),
];

/// A shelf, the number of a book on it, and its floor.
type Book = (String, i64, i64);

/// Checks that the books on all shelves are fetched.
pub async fn check(stack: &Stack) {
    for (name, definition) in DATASETS {
        stack.put_dataset(name, definition).await.unwrap();
    }
    let lines = SHELVES.iter().zip(0..);
    let lines = lines.map(|(shelf, floor)| json!({ "shelf": shelf, "floor": floor }).to_string());
    let file = lines.collect::<Vec<_>>().join("\n");
    let event = land(stack, "shelves/all.ndjson", file.into_bytes()).await;
    assert_eq!(event.state, JobState::Succeeded);
    let url = serve().await;
    let definition = format!(
        "dataset = \"books\"\nurl = \"{url}\"\nevery = \"1 day\"\nrecords = \"books\"\ncomplete = true\n\
         consistent = true\n\
         paging = {{ kind = \"cursor\", parameter = \"after\", cursor = \"next\" }}\n\
         limits = {{ requests_per_second = 100 }}\n\
         [children]\nof = \"shelves\"\nfields = {{ shelf = \"shelf\", at_floor = \"floor\" }}\n"
    );
    stack.put_source("books", &definition).await.unwrap();

    let stop_at = Instant::now() + WITHIN;
    let run = loop {
        if let Some(run) = runs(stack, "books").await.into_iter().next() {
            break run;
        }
        assert!(Instant::now() < stop_at, "the run is not over");
        sleep(Duration::from_millis(500)).await;
    };
    let shelves = SHELVES.len() as u64;
    assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
    assert_eq!(run.progress.records, shelves * BOOKS, "{run:?}");
    assert!(run.requests >= shelves * 2, "{run:?}");
    let books = SHELVES.iter().zip(0..).flat_map(|(shelf, floor)| {
        let numbers = 1..=i64::try_from(BOOKS).unwrap();
        numbers.map(move |number| ((*shelf).to_owned(), number, floor))
    });
    let books: BTreeSet<Book> = books.collect();
    assert_eq!(in_sql(stack), books);
    assert_eq!(
        documents(stack.mongodb_uri(), "books").await.len(),
        books.len()
    );
}

fn in_sql(stack: &Stack) -> BTreeSet<Book> {
    let connection = sqlite(stack);
    let mut select = connection
        .prepare("SELECT shelf, number, at_floor FROM books")
        .unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Starts the server, which stops with the test. Returns the URL of the books on a shelf.
async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/shelves/{{shelf}}/books",
        listener.local_addr().unwrap()
    );
    let router = Router::new().route("/shelves/{shelf}/books", get(page));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn page(
    Path(shelf): Path<String>,
    Query(query): Query<BTreeMap<String, u64>>,
) -> Json<Value> {
    if !SHELVES.contains(&shelf.as_str()) {
        return Json(json!({ "error": shelf }));
    }
    let after = query.get("after").copied().unwrap_or_default();
    let numbers = after + 1..=(after + 2).min(BOOKS);
    let next = Some(after + 2).filter(|last| *last < BOOKS);
    let books: Vec<Value> = numbers.map(|number| json!({ "number": number })).collect();
    Json(json!({ "books": books, "next": next }))
}
