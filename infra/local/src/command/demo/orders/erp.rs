//! The routes of the service.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::held::{Action, Held, Order, Shown, error};
use crate::command::demo::faults::Faults;

/// The port in the definition of the demo.
const PORT: u16 = 8703;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A service that stores the orders it is sent, under ids that it gives.
#[derive(Clone, Default)]
pub(crate) struct Erp {
    held: Arc<Mutex<Held>>,
    faults: Faults,
}

/// A call in progress that is the only one for its order. One that the caller gives up is dropped.
struct Call<'a>(&'a Erp, i64);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.lock().end(self.1);
    }
}

impl Erp {
    /// Starts the service, which stops with this process.
    pub(crate) async fn serve() -> Result<Self> {
        let erp = Self::default();
        let routes = Router::new()
            .route("/", get(page))
            .route("/status", get(status))
            .route("/orders", get(list).post(create))
            .route("/orders/{id}", get(one).put(update).delete(delete))
            .with_state(erp.clone());
        erp.faults.serve(PORT, routes).await?;
        Ok(erp)
    }

    /// Returns the address of the page.
    pub(crate) fn url() -> String {
        format!("http://127.0.0.1:{PORT}/")
    }

    /// Returns the number of orders.
    pub(super) fn held(&self) -> usize {
        self.lock().len()
    }

    /// Returns the number of calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.lock().calls()
    }

    /// Returns the number of calls in the last second.
    pub(super) fn calls_per_second(&self) -> usize {
        self.lock().calls_per_second()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes a call for an order, unless it is to fail.
    async fn call(&self, number: Option<i64>, action: Action) -> Response {
        let is_only = self.lock().begin(number);
        let _call = number.filter(|_| is_only).map(|number| Call(self, number));
        let process = || self.lock().process(number, action);
        self.faults.answer(process).await
    }
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn status(State(erp): State<Erp>) -> Json<Shown> {
    let failing = erp.faults.waiting();
    Json(erp.lock().status(failing))
}

#[derive(Deserialize)]
struct ListQuery {
    order_id: Option<i64>,
    #[serde(default)]
    from: i64,
}

/// Looks up an order by its number, or returns a page of orders.
async fn list(State(erp): State<Erp>, Query(query): Query<ListQuery>) -> Response {
    if let Some(number) = query.order_id {
        return erp.call(Some(number), Action::LookUp).await;
    }
    let page = erp.lock().page(query.from);
    Json(page).into_response()
}

async fn create(State(erp): State<Erp>, headers: HeaderMap, Json(order): Json<Order>) -> Response {
    let Some(number) = order.get("order_id").and_then(Value::as_i64) else {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "order_id is missing");
    };
    let key = headers.get(IDEMPOTENCY_KEY);
    let key = key.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    erp.call(Some(number), Action::Create(order, key)).await
}

async fn one(State(erp): State<Erp>, Path(id): Path<String>) -> Response {
    let number = erp.lock().number_of(&id);
    erp.call(number, Action::LookUp).await
}

async fn update(
    State(erp): State<Erp>,
    Path(id): Path<String>,
    Json(order): Json<Order>,
) -> Response {
    let number = erp.lock().number_of(&id);
    erp.call(number, Action::Update(id, order)).await
}

async fn delete(State(erp): State<Erp>, Path(id): Path<String>) -> Response {
    let number = erp.lock().number_of(&id);
    erp.call(number, Action::Delete(id)).await
}
