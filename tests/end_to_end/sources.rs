//! Sources: two APIs on this machine whose rows change, and that the tables follow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use landfall_local::{Sql, Stack};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::support::{documents, start};

/// Longer than two runs take.
const WITHIN: Duration = Duration::from_mins(4);

const DATASETS: [(&str, &str); 2] = [
    (
        "stock",
        "name = \"stock\"\nmode = \"snapshot\"\nmax_delete_share = 1.0\nkey = [\"id\"]\n\
         fields = [{ name = \"id\", type = \"integer\" }, { name = \"name\", type = \"text\" }]\n",
    ),
    (
        "events",
        "name = \"events\"\nkey = [\"id\"]\nfields = [\n\
         { name = \"id\", type = \"integer\" },\n\
         { name = \"name\", type = \"text\" },\n\
         { name = \"at\", type = \"timestamp\" },\n]\n",
    ),
];

fn sources(url: &str) -> [(&'static str, String); 2] {
    let stock = format!(
        "dataset = \"stock\"\nurl = \"{url}/stock\"\nevery = \"1 minute\"\nrecords = \"rows\"\ncomplete = true\n\
         paging = {{ kind = \"keyset\", parameter = \"after\", field = \"id\", type = \"integer\" }}\n\
         limits = {{ requests_per_second = 100 }}\n"
    );
    let events = format!(
        "dataset = \"events\"\nurl = \"{url}/events\"\nevery = \"1 minute\"\nrecords = \"rows\"\n\
         paging = {{ kind = \"cursor\", parameter = \"after\", cursor = \"next\" }}\n\
         incremental = {{ field = \"at\", type = \"timestamp\", parameter = \"since\" }}\n\
         limits = {{ requests_per_second = 100 }}\n"
    );
    [("stock", stock), ("events", events)]
}

/// The name and the time of rows, by id.
type Rows = BTreeMap<i64, (String, Timestamp)>;

/// The rows of the two APIs.
#[derive(Clone, Default)]
struct Api {
    rows: Arc<Mutex<BTreeMap<&'static str, Rows>>>,
    requests: Arc<Mutex<u64>>,
}

impl Api {
    async fn start() -> (Self, String) {
        let api = Self::default();
        let router = Router::new()
            .route("/stock", get(async |api, query| page("stock", api, query)))
            .route(
                "/events",
                get(async |api, query| page("events", api, query)),
            )
            .with_state(api.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, url)
    }

    fn put(&self, api: &'static str, ids: impl Iterator<Item = i64>, name: &str) {
        let mut rows = self.rows.lock().unwrap();
        let rows = rows.entry(api).or_default();
        rows.extend(ids.map(|id| (id, (name.to_owned(), Timestamp::now()))));
    }

    fn names(&self, api: &str) -> BTreeMap<i64, String> {
        let rows = self.rows.lock().unwrap();
        let rows = rows.get(api).into_iter().flatten();
        rows.map(|(id, (name, _))| (*id, name.clone())).collect()
    }
}

/// Returns a page of 100 rows. Every seventh request fails.
fn page(
    name: &'static str,
    State(api): State<Api>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    let number = {
        let mut requests = api.requests.lock().unwrap();
        *requests += 1;
        *requests
    };
    if number % 7 == 0 {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let after: i64 = query.get("after").map_or(0, |after| after.parse().unwrap());
    let since: Option<Timestamp> = query.get("since").map(|since| since.parse().unwrap());
    let rows = api.rows.lock().unwrap();
    let rows = rows.get(name).into_iter().flatten();
    let rows = rows.filter(|(id, (_, at))| **id > after && since.is_none_or(|since| *at >= since));
    let page: Vec<_> = rows.take(100).collect();
    let next = (page.len() == 100).then(|| page[99].0.to_string());
    let rows: Vec<Value> = page
        .iter()
        .map(|(id, (name, at))| json!({"id": id, "name": name, "at": at.to_string()}))
        .collect();
    Ok(Json(json!({ "rows": rows, "next": next })))
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_follow_two_apis() {
    let (api, url) = Api::start().await;
    api.put("stock", 1..=250, "first");
    api.put("events", 1..=250, "first");
    let stack = start(Sql::Sqlite, &[]).await;
    for (name, definition) in DATASETS {
        stack.put_dataset(name, definition).await.unwrap();
    }
    for (name, definition) in sources(&url) {
        stack.put_source(name, &definition).await.unwrap();
    }
    follow(&stack, &api).await;

    // One half is renamed, some rows are new, and those of the complete source are deleted.
    api.put("stock", 100..=300, "second");
    api.put("events", 100..=300, "second");
    let is_kept = |id: &i64, _: &mut (String, Timestamp)| id % 10 != 0;
    api.rows
        .lock()
        .unwrap()
        .get_mut("stock")
        .unwrap()
        .retain(is_kept);
    follow(&stack, &api).await;
}

/// Waits until both databases have the rows of both APIs.
async fn follow(stack: &Stack, api: &Api) {
    let stop_at = Instant::now() + WITHIN;
    loop {
        let mut differs = Vec::new();
        for name in ["stock", "events"] {
            let expected = api.names(name);
            if in_sql(stack, name) != expected || in_mongodb(stack, name).await != expected {
                differs.push(name);
            }
        }
        if differs.is_empty() {
            return;
        }
        if Instant::now() >= stop_at {
            let logs = stack.function_logs(60).await.unwrap();
            panic!("{differs:?} were not followed:\n{logs}");
        }
        sleep(Duration::from_secs(2)).await;
    }
}

fn in_sql(stack: &Stack, table: &str) -> BTreeMap<i64, String> {
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    // There is no table before the first rows.
    let Ok(mut select) = connection.prepare(&format!("SELECT id, name FROM {table}")) else {
        return BTreeMap::new();
    };
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

async fn in_mongodb(stack: &Stack, collection: &str) -> BTreeMap<i64, String> {
    let found = documents(stack.mongodb_uri(), collection).await;
    let rows = found
        .iter()
        .filter(|document| document.contains_key("name"));
    let rows = rows.map(|document| {
        (
            document.get_i64("_id").unwrap(),
            document.get_str("name").unwrap().to_owned(),
        )
    });
    rows.collect()
}
