//! What the service holds, and how it was called.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The number before the first id.
const BEFORE_FIRST: u64 = 1_000;
/// The number of calls with an idempotency key whose answers are kept.
const KEYS: usize = 20_000;
/// The number of calls that the page lists.
const LATEST: usize = 20;
/// The number of orders in a page.
const PAGE: usize = 100;

/// An order, without its id.
pub(super) type Order = Map<String, Value>;

/// What a call does.
pub(super) enum Action {
    /// Creates an order, unless a call with this idempotency key did it.
    Create(Order, Option<String>),
    /// Replaces the order with an id.
    Update(String, Order),
    /// Deletes the order with an id.
    Delete(String),
    /// Returns the order with a number, if there is one.
    LookUp,
}

/// The orders of a service, by their numbers, which are their keys at Landfall.
#[derive(Default)]
pub(super) struct Held {
    orders: BTreeMap<i64, (String, Order)>,
    /// The numbers by the service's own ids, which are not used again.
    numbers: HashMap<String, i64>,
    created: u64,
    answers: Answers,
    /// Orders that a call is in progress for.
    called: HashSet<i64>,
    calls: Calls,
    latest: VecDeque<Latest>,
}

/// The answers to calls with idempotency keys.
#[derive(Default)]
struct Answers {
    by_key: HashMap<String, String>,
    /// The keys, oldest first.
    keys: VecDeque<String>,
}

/// How the service was called.
#[derive(Default)]
struct Calls {
    number: u64,
    /// The times of the calls in the last second.
    last_second: VecDeque<Instant>,
    most_per_second: usize,
    /// How often an order was called for while another call for it was in progress.
    overlapping: u64,
}

/// A call that changed something.
#[derive(Clone, Serialize)]
struct Latest {
    at: Timestamp,
    did: &'static str,
    order_id: i64,
    id: String,
    status: Option<Value>,
}

/// What the page shows.
#[derive(Serialize)]
pub(super) struct Shown {
    orders: usize,
    by_status: BTreeMap<String, u64>,
    calls: u64,
    calls_per_second: usize,
    most_calls_per_second: usize,
    /// Calls for an order while another call for it was in progress.
    overlapping_calls: u64,
    /// Requests that will fail.
    failing: usize,
    latest: Vec<Latest>,
}

impl Calls {
    fn add(&mut self, now: Instant) {
        self.number += 1;
        self.last_second.push_back(now);
        let per_second = self.per_second(now);
        self.most_per_second = self.most_per_second.max(per_second);
    }

    fn per_second(&mut self, now: Instant) -> usize {
        let is_older = |at: &Instant| now.duration_since(*at) >= Duration::from_secs(1);
        while self.last_second.front().is_some_and(is_older) {
            self.last_second.pop_front();
        }
        self.last_second.len()
    }
}

impl Answers {
    fn add(&mut self, key: String, id: String) {
        if self.keys.len() == KEYS
            && let Some(oldest) = self.keys.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.keys.push_back(key.clone());
        self.by_key.insert(key, id);
    }
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.number
    }

    pub(super) fn calls_per_second(&mut self) -> usize {
        self.calls.per_second(Instant::now())
    }

    /// Returns the number of the order with an id, if there is one.
    pub(super) fn number_of(&self, id: &str) -> Option<i64> {
        self.numbers.get(id).copied()
    }

    /// Records that a call for an order begins. Returns whether no other one is in progress for it.
    pub(super) fn begin(&mut self, number: Option<i64>) -> bool {
        self.calls.add(Instant::now());
        let is_only = number.is_none_or(|number| self.called.insert(number));
        self.calls.overlapping += u64::from(!is_only);
        is_only
    }

    /// Records that a call ends that was the only one for its order.
    pub(super) fn end(&mut self, number: i64) {
        self.called.remove(&number);
    }

    /// Does what a call for an order says. Without a number, there is no such order.
    pub(super) fn process(&mut self, number: Option<i64>, action: Action) -> Response {
        match (number, action) {
            (Some(number), Action::Create(order, key)) => self.create(number, order, key),
            (Some(number), Action::Update(id, order)) if self.numbers.contains_key(&id) => {
                self.note("updated", number, &id, order.get("status"));
                let answer = answer(&id, &order);
                self.orders.insert(number, (id, order));
                Json(answer).into_response()
            }
            (Some(number), Action::Delete(id)) if self.numbers.contains_key(&id) => {
                self.note("deleted", number, &id, None);
                self.orders.remove(&number);
                self.numbers.remove(&id);
                StatusCode::NO_CONTENT.into_response()
            }
            (Some(number), Action::LookUp) => {
                let found = self.orders.get(&number);
                let found: Vec<_> = found.iter().map(|(id, order)| answer(id, order)).collect();
                Json(json!({ "orders": found })).into_response()
            }
            _ => error(StatusCode::NOT_FOUND, "there is no such order"),
        }
    }

    fn create(&mut self, number: i64, order: Order, key: Option<String>) -> Response {
        let earlier = key.as_ref().and_then(|key| self.answers.by_key.get(key));
        if let Some(id) = earlier {
            return (StatusCode::CREATED, Json(json!({ "id": id }))).into_response();
        }
        if self.orders.contains_key(&number) {
            return error(StatusCode::CONFLICT, "there is an order with this number");
        }
        self.created += 1;
        let id = format!("S{}", BEFORE_FIRST + self.created);
        if let Some(key) = key {
            self.answers.add(key, id.clone());
        }
        self.note("created", number, &id, order.get("status"));
        let answer = answer(&id, &order);
        self.numbers.insert(id.clone(), number);
        self.orders.insert(number, (id, order));
        (StatusCode::CREATED, Json(answer)).into_response()
    }

    fn note(&mut self, did: &'static str, order_id: i64, id: &str, status: Option<&Value>) {
        self.latest.truncate(LATEST - 1);
        self.latest.push_front(Latest {
            at: Timestamp::now(),
            did,
            order_id,
            id: id.to_owned(),
            status: status.cloned(),
        });
    }

    /// Returns the orders from a number on.
    pub(super) fn page(&self, from: i64) -> Value {
        let orders = self.orders.range(from..).take(PAGE);
        let orders: Vec<_> = orders.map(|(_, (id, order))| answer(id, order)).collect();
        json!({ "orders": orders })
    }

    pub(super) fn status(&mut self, failing: usize) -> Shown {
        let mut by_status = BTreeMap::new();
        for (_, order) in self.orders.values() {
            let status = order.get("status").and_then(Value::as_str);
            *by_status
                .entry(status.unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        Shown {
            orders: self.orders.len(),
            by_status,
            calls: self.calls.number,
            calls_per_second: self.calls_per_second(),
            most_calls_per_second: self.calls.most_per_second,
            overlapping_calls: self.calls.overlapping,
            failing,
            latest: self.latest.iter().cloned().collect(),
        }
    }
}

/// Returns an order as it is answered, with its id.
fn answer(id: &str, order: &Order) -> Value {
    let mut answer = order.clone();
    answer.insert("id".to_owned(), json!(id));
    Value::Object(answer)
}

pub(super) fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(held: &mut Held, number: i64, key: &str) -> StatusCode {
        let action = Action::Create(Order::new(), Some(key.to_owned()));
        held.process(Some(number), action).status()
    }

    #[test]
    fn a_create_with_the_same_key_creates_nothing_again() {
        let mut held = Held::default();
        assert_eq!(create(&mut held, 7, "a"), StatusCode::CREATED);
        assert_eq!(create(&mut held, 7, "a"), StatusCode::CREATED);
        assert_eq!(create(&mut held, 7, "b"), StatusCode::CONFLICT);
        assert_eq!(held.len(), 1);
        assert_eq!(held.number_of("S1001"), Some(7));
    }

    #[test]
    fn a_deleted_order_is_not_found() {
        let mut held = Held::default();
        create(&mut held, 7, "a");
        let id = || "S1001".to_owned();
        let deleted = held.process(Some(7), Action::Delete(id()));
        assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
        let number = held.number_of("S1001");
        let updated = held.process(number, Action::Update(id(), Order::new()));
        assert_eq!((updated.status(), held.len()), (StatusCode::NOT_FOUND, 0));
    }

    #[test]
    fn calls_of_one_order_at_once_are_counted() {
        let mut held = Held::default();
        assert!(held.begin(Some(7)));
        assert!(held.begin(Some(8)));
        assert!(!held.begin(Some(7)));
        held.end(7);
        assert!(held.begin(Some(7)));
        assert_eq!(held.status(0).overlapping_calls, 1);
    }
}
