//! Two services whose data changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::command::demo::faults::Faults;

/// The addresses in the definitions of the demo.
const SHOP_PORT: u16 = 8701;
const WAREHOUSE_PORT: u16 = 8702;
/// Entries of a page.
const PAGE: usize = 100;
const ORDERS: u64 = 450;
const ITEMS: usize = 320;
/// The time between two changes of the data.
const PACE: Duration = Duration::from_secs(1);
const STATES: [&str; 3] = ["placed", "paid", "sent"];

#[derive(Default)]
struct Data {
    /// The state, the amount in cents, and the last change of orders, by id.
    orders: BTreeMap<u64, (usize, u64, Timestamp)>,
    /// The quantities of items.
    items: Vec<u64>,
    /// How often a quantity has changed.
    changes: usize,
}

#[derive(Clone, Default)]
struct Service {
    data: Arc<Mutex<Data>>,
    faults: Faults,
}

/// Starts both services, which stop with this process.
pub(crate) async fn serve_both() -> Result<()> {
    let (shop, warehouse) = (Service::default(), Service::default());
    let long_ago = now() - SignedDuration::from_hours(24);
    for id in 1..=ORDERS {
        let order = (2, 500 + id * 37 % 9_000, long_ago);
        shop.data().orders.insert(id, order);
    }
    warehouse.data().items = (0..ITEMS as u64).map(|item| item * 7 % 50).collect();
    let orders = Router::new().route("/orders", get(orders));
    let stock = Router::new().route("/stock", get(stock));
    let orders = orders.with_state(shop.clone());
    let stock = stock.with_state(warehouse.clone());
    shop.faults.serve(SHOP_PORT, orders).await?;
    warehouse.faults.serve(WAREHOUSE_PORT, stock).await?;
    tokio::spawn(async move {
        loop {
            sleep(PACE).await;
            shop.data().change_orders();
            warehouse.data().change_stock();
        }
    });
    Ok(())
}

/// Returns the time in milliseconds, as most services do.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

impl Service {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Data {
    /// Adds an order, and moves the two oldest that are under way to their next states.
    fn change_orders(&mut self) {
        let now = now();
        let under_way = self.orders.values_mut().filter(|(state, ..)| *state < 2);
        for (state, _, changed) in under_way.take(2) {
            *state += 1;
            *changed = now;
        }
        let next = self.orders.len() as u64 + 1;
        let order = (0, 500 + next * 37 % 9_000, now);
        self.orders.insert(next, order);
    }

    /// Changes the quantity of an item.
    fn change_stock(&mut self) {
        self.changes = self.changes.wrapping_add(1);
        let at = self.changes.wrapping_mul(41) % ITEMS;
        if let Some(item) = self.items.get_mut(at) {
            *item = (*item + 13) % 50;
        }
    }
}

#[derive(Deserialize)]
struct OrdersQuery {
    after: Option<u64>,
    updated_since: Option<Timestamp>,
}

/// Returns a page of orders with the cursor of the next one. It has an `ETag`.
async fn orders(
    State(service): State<Service>,
    Query(query): Query<OrdersQuery>,
    headers: HeaderMap,
) -> Response {
    let process = || orders_page(&service.data(), &query, &headers);
    service.faults.answer(process).await
}

fn orders_page(data: &Data, query: &OrdersQuery, headers: &HeaderMap) -> Response {
    let after = data
        .orders
        .range(query.after.map_or(0, |after| after + 1)..);
    let mut found = after
        .filter(|(_, (_, _, changed))| query.updated_since.is_none_or(|since| *changed >= since));
    let page: Vec<_> = found.by_ref().take(PAGE).collect();
    let last = page.last().map(|(id, _)| id.to_string());
    let next = last.filter(|_| found.next().is_some());
    let orders: Vec<_> = page.into_iter().map(order).collect();
    let body = json!({ "orders": orders, "next": next }).to_string();
    let hash = blake3::hash(body.as_bytes()).to_hex();
    let etag = format!("\"{}\"", &hash[..16]);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [
        (header::ETAG, etag),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    (headers, body).into_response()
}

fn order((id, (state, cents, changed)): (&u64, &(usize, u64, Timestamp))) -> Value {
    json!({
        "id": id,
        "status": STATES[*state],
        "amount": format!("{}.{:02}", cents / 100, cents % 100),
        "updated_at": changed.to_string(),
    })
}

#[derive(Deserialize)]
struct StockQuery {
    #[serde(default = "one")]
    page: usize,
}

fn one() -> usize {
    1
}

/// Returns a page of the stock by its number, from 1.
async fn stock(State(service): State<Service>, Query(query): Query<StockQuery>) -> Response {
    let process = || stock_page(&service.data(), query.page);
    service.faults.answer(process).await
}

fn stock_page(data: &Data, page: usize) -> Response {
    let items = data.items.iter().enumerate();
    let items = items.skip(page.saturating_sub(1).saturating_mul(PAGE));
    let items = items.take(PAGE).map(
        |(number, quantity)| json!({ "sku": format!("sku-{number:04}"), "quantity": quantity }),
    );
    Json(json!({ "items": items.collect::<Vec<_>>() })).into_response()
}
