//! A server that can be killed.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

const PAGE: usize = 50;
/// One of so many requests fails.
const FAILING: u64 = 17;

/// A server whose rows outlive it, as in a database.
pub struct Server {
    address: SocketAddr,
    url: String,
    rows: Rows,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<u64>,
    is_held: Mutex<bool>,
    reached: Notify,
}

/// The name and the time of each row, by id.
#[derive(Clone, Default)]
pub struct Rows(Arc<Mutex<BTreeMap<i64, (String, Timestamp)>>>);

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self {
            address,
            url: format!("http://{address}/rows"),
            rows: Rows::default(),
            shared: Arc::default(),
            runtime: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let router = Router::new()
            .route("/rows", get(page))
            .with_state((self.rows.clone(), Arc::clone(&self.shared)));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        self.runtime = Some(runtime);
    }

    /// Drops the listener and all connections in the middle of what they do.
    pub fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    pub fn restart(&mut self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn rows(&self) -> Rows {
        self.rows.clone()
    }

    pub fn put(&self, ids: RangeInclusive<i64>, name: &str) {
        let rows = ids.map(|id| (id, (name.to_owned(), Timestamp::now())));
        self.rows.0.lock().unwrap().extend(rows);
    }

    /// Waits until a walk requests its second page, which is answered two seconds later.
    pub async fn hold_a_second_page(&self) {
        *self.shared.is_held.lock().unwrap() = true;
        let reached = timeout(super::WITHIN, self.shared.reached.notified()).await;
        reached.expect("a walk has a second page");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Rows {
    pub fn names(&self) -> BTreeMap<i64, String> {
        let rows = self.0.lock().unwrap();
        rows.iter()
            .map(|(id, (name, _))| (*id, name.clone()))
            .collect()
    }

    /// Inserts, changes or deletes a few rows. Some are committed late. Returns their number.
    pub fn change(&self, deletes: bool) -> u64 {
        let mut rng = rand::rng();
        let mut rows = self.0.lock().unwrap();
        let changes = rng.random_range(0..4);
        for change in 0..changes {
            let id = rng.random_range(1..=super::ROWS + 100);
            if deletes && rng.random_bool(0.4) {
                rows.remove(&id);
                continue;
            }
            let now = Timestamp::now();
            let late = Duration::from_secs_f64(rng.random_range(0.0..2.0));
            let name = format!("{now} {change}");
            rows.insert(id, (name, now - late));
        }
        changes
    }
}

/// Returns a page. Some requests fail.
async fn page(
    State((rows, shared)): State<(Rows, Arc<Shared>)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    let number = {
        let mut requests = shared.requests.lock().unwrap();
        *requests += 1;
        *requests
    };
    let is_held =
        query.contains_key("after") && std::mem::take(&mut *shared.is_held.lock().unwrap());
    if is_held {
        shared.reached.notify_one();
        sleep(Duration::from_secs(2)).await;
    }
    if number.is_multiple_of(FAILING) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let after: i64 = query.get("after").map_or(0, |after| after.parse().unwrap());
    let since: Option<Timestamp> = query.get("since").map(|since| since.parse().unwrap());
    let rows = rows.0.lock().unwrap();
    let rows = rows.range(after + 1..);
    let rows = rows.filter(|(_, (_, at))| since.is_none_or(|since| *at >= since));
    let page: Vec<_> = rows.take(PAGE).collect();
    let next = (page.len() == PAGE).then(|| page[PAGE - 1].0.to_string());
    let rows: Vec<Value> = page
        .iter()
        .map(|(id, (name, at))| json!({"id": id, "name": name, "at": at.to_string()}))
        .collect();
    Ok(Json(json!({ "rows": rows, "next": next })))
}
