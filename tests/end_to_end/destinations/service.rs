//! A service that fails in many ways, and checks who calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

pub struct Service {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    token: String,
    /// Whether calls fail now and then.
    fails: bool,
    state: Mutex<Held>,
}

/// How a service answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Usual,
    /// So slowly that some calls are always in progress.
    Slow,
    /// With 503.
    Down,
    /// With a redirect to this port of the machine.
    Moved(u16),
}

#[derive(Default)]
struct Held {
    /// The rows by their own id.
    orders: BTreeMap<i64, Value>,
    /// The ids of the orders by the service's own ids, which are not used again.
    ids: BTreeMap<u64, i64>,
    /// The greatest revision that was received of each order.
    revisions: BTreeMap<i64, i64>,
    /// Orders that a call is in progress for.
    called: BTreeSet<i64>,
    mode: Mode,
    /// When calls arrived, and for which orders.
    arrivals: Vec<(Instant, i64)>,
    /// How often each kind of fault occurred.
    faults: BTreeMap<&'static str, u32>,
    /// What callers did wrong.
    wrong: Vec<String>,
}

/// What a call does.
enum Action {
    Create(Value),
    Update(u64, Value),
    Delete(u64),
    LookUp,
}

/// A call in progress. One that the caller gives up is dropped.
struct Call<'a>(&'a Shared, i64);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.state().called.remove(&self.1);
    }
}

impl Service {
    /// Starts a service that fails now and then.
    pub fn start(token: &str) -> Self {
        Self::new(token, true)
    }

    /// Starts a service that does not fail by itself.
    pub fn reliable(token: &str) -> Self {
        Self::new(token, false)
    }

    fn new(token: &str, fails: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            token: format!("Bearer {token}"),
            fails,
            state: Mutex::default(),
        });
        Self {
            address,
            url: format!("http://{address}"),
            runtime: Some(serve(listener, Arc::clone(&shared))),
            shared,
        }
    }

    /// Ends all connections, and starts again with what it holds.
    pub async fn restart(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        loop {
            if let Ok(listener) = std::net::TcpListener::bind(self.address) {
                self.runtime = Some(serve(listener, Arc::clone(&self.shared)));
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn set_mode(&self, mode: Mode) {
        self.shared.state().mode = mode;
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of calls that have arrived.
    pub fn calls(&self) -> usize {
        self.shared.state().arrivals.len()
    }

    /// Returns the orders of the calls that have arrived after so many.
    pub fn called_after(&self, calls: usize) -> Vec<i64> {
        let state = self.shared.state();
        state.arrivals[calls..]
            .iter()
            .map(|(_, order)| *order)
            .collect()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn orders(&self) -> BTreeMap<i64, Value> {
        self.shared.state().orders.clone()
    }

    /// Waits until so many calls have arrived.
    pub async fn begins(&self, calls: usize) {
        self.wait(|held| held.arrivals.len() >= calls).await;
    }

    /// Waits until a call is in progress.
    pub async fn is_called(&self) {
        self.wait(|held| !held.called.is_empty()).await;
    }

    /// Waits until no call is in progress.
    pub async fn is_idle(&self) {
        self.wait(|held| held.called.is_empty()).await;
    }

    async fn wait(&self, is_met: impl Fn(&Held) -> bool) {
        let stop_at = Instant::now() + super::WITHIN;
        while !is_met(&self.shared.state()) {
            assert!(Instant::now() < stop_at, "the calls are not as expected");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Checks that callers kept order and pace, and that each kind of fault occurred.
    pub fn check(&self, per_second: usize) {
        let held = self.shared.state();
        assert!(held.wrong.is_empty(), "{:#?}", held.wrong);
        for calls in held.arrivals.windows(per_second + 2) {
            // One more for what the machine delays between sending and arrival.
            let within = calls[per_second + 1].0.duration_since(calls[0].0);
            assert!(within >= Duration::from_secs(1), "{within:?}");
        }
        let faults = if self.shared.fails { 6 } else { 0 };
        assert_eq!(held.faults.len(), faults, "{:?}", held.faults);
    }
}

/// Serves calls in separate threads, so that the test does not slow them down.
fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) -> Runtime {
    listener.set_nonblocking(true).unwrap();
    let router = Router::new()
        .route("/orders", get(look_up).post(create))
        .route("/orders/{id}", put(update).delete(delete))
        .with_state(shared);
    let runtime = Runtime::new().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await
    });
    runtime
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap()
    }

    /// Processes a call of an order, unless a fault prevents that.
    async fn call(&self, headers: &HeaderMap, order: i64, action: Action) -> Response {
        let (_call, number, mode) = {
            let mut held = self.state();
            held.arrivals.push((Instant::now(), order));
            let number = held.arrivals.len();
            let token = headers.get(AUTHORIZATION);
            if token.is_none_or(|token| token.as_bytes() != self.token.as_bytes()) {
                held.wrong.push("a call without token".to_owned());
            }
            if !held.called.insert(order) {
                held.wrong.push(format!("two calls of order {order}"));
            }
            (Call(self, order), number, held.mode)
        };
        let note = |fault| *self.state().faults.entry(fault).or_default() += 1;
        match mode {
            Mode::Usual => {}
            Mode::Slow => sleep(Duration::from_millis(500)).await,
            Mode::Down => {
                return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "2")]).into_response();
            }
            Mode::Moved(port) => {
                let place = format!("http://127.0.0.1:{port}/orders");
                return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, place)]).into_response();
            }
        }
        // Never several faults in a row, which would open the circuit.
        let fault = number * 37 % 100;
        match fault {
            _ if !self.fails || mode != Mode::Usual => {}
            0 => {
                note("no answer");
                sleep(Duration::from_secs(30)).await;
            }
            1..10 => {
                note("slow");
                sleep(Duration::from_millis(200)).await;
            }
            10..13 => {
                note("429");
                return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response();
            }
            13..16 => {
                note("500");
                // Some calls are processed all the same.
                if fault == 14 {
                    self.state().process(order, action);
                }
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            16..18 => {
                note("dropped");
                return dropped();
            }
            18..20 => {
                note("dropped after processing");
                self.state().process(order, action);
                return dropped();
            }
            _ => {}
        }
        // So that calls overlap.
        sleep(Duration::from_millis(10)).await;
        self.state().process(order, action)
    }

    /// Returns the order that the service gave this id to, or 0.
    fn order_of(&self, id: u64) -> i64 {
        self.state().ids.get(&id).copied().unwrap_or_default()
    }
}

impl Held {
    fn process(&mut self, order: i64, action: Action) -> Response {
        let is_current = |held: &Self, id: u64| {
            let latest = held.ids.iter().rfind(|(_, found)| **found == order);
            held.orders.contains_key(&order) && latest.is_some_and(|(latest, _)| *latest == id)
        };
        match action {
            Action::Create(row) => {
                self.receive(order, &row);
                if self.orders.insert(order, row).is_some() {
                    self.wrong.push(format!("order {order} was created twice"));
                }
                let id = self.ids.len() as u64 + 1;
                self.ids.insert(id, order);
                (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
            }
            Action::Update(id, row) if is_current(self, id) => {
                self.receive(order, &row);
                self.orders.insert(order, row);
                Json(json!({ "id": id })).into_response()
            }
            Action::Delete(id) if is_current(self, id) => {
                self.orders.remove(&order);
                StatusCode::NO_CONTENT.into_response()
            }
            // The reply to an earlier delete was lost.
            Action::Update(..) | Action::Delete(_) => StatusCode::NOT_FOUND.into_response(),
            Action::LookUp => {
                let latest = self.ids.iter().rfind(|(_, found)| **found == order);
                let latest = latest.filter(|_| self.orders.contains_key(&order));
                let items: Vec<Value> = latest
                    .map(|(id, _)| json!({ "id": id }))
                    .into_iter()
                    .collect();
                Json(json!({ "items": items })).into_response()
            }
        }
    }

    /// Checks that a row is not older than one that was received before.
    fn receive(&mut self, order: i64, row: &Value) {
        let revision = row["revision"].as_i64().unwrap();
        let before = self.revisions.insert(order, revision);
        if before.is_some_and(|before| before > revision) {
            let wrong = format!("revision {revision} of order {order} came after {before:?}");
            self.wrong.push(wrong);
        }
    }
}

/// Returns an answer whose connection ends before its body.
fn dropped() -> Response {
    let broken = stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("dropped")) });
    Body::from_stream(broken).into_response()
}

async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(row): Json<Value>,
) -> Response {
    let order = row["id"].as_i64().unwrap();
    shared.call(&headers, order, Action::Create(row)).await
}

async fn update(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
    Json(row): Json<Value>,
) -> Response {
    let order = shared.order_of(id);
    shared.call(&headers, order, Action::Update(id, row)).await
}

async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let order = shared.order_of(id);
    shared.call(&headers, order, Action::Delete(id)).await
}

async fn look_up(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, i64>>,
    headers: HeaderMap,
) -> Response {
    shared.call(&headers, query["id"], Action::LookUp).await
}
