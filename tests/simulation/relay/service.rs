//! Services that check what they get.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, StatusCode};
use landfall_fetch::{Chunks, Received, Transport, TransportError};
use landfall_requests::Revealed;
use rand::Rng;
use serde_json::{Value, json};

use super::PER_SECOND;
use super::store::State;
use super::world::World;
use crate::fakes::locked;
use crate::schedule::pause;

const SECOND: i64 = 1_000_000;

/// What a service has.
#[derive(Default)]
pub(super) struct Service {
    /// Key and number of the change, by id.
    rows: BTreeMap<String, (i64, i64)>,
    /// The keys of all ids that it has ever given.
    given: BTreeMap<String, i64>,
    /// Answers by idempotency key.
    answers: BTreeMap<String, (u16, Value)>,
    /// Keys with a call whose caller waits.
    active: Vec<i64>,
    /// The greatest change of each key that has arrived.
    seen: BTreeMap<i64, i64>,
    /// The times of the calls of the last second.
    recent: VecDeque<i64>,
    calls: u64,
}

impl Service {
    /// Returns the changes that it has of a key.
    pub(super) fn seqs_of(&self, key: i64) -> Vec<i64> {
        let rows = self.rows.values();
        rows.filter(|(number, _)| *number == key)
            .map(|(_, seq)| *seq)
            .collect()
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the keys of a call, each with the number of its change.
    fn keys_of(&self, request: &Revealed, body: Option<&Value>) -> Vec<(i64, Option<i64>)> {
        if let Some(Value::Array(rows)) = body {
            let rows = rows.iter();
            return rows
                .map(|row| (row["number"].as_i64().unwrap(), row["seq"].as_i64()))
                .collect();
        }
        let seq = body.and_then(|body| body["seq"].as_i64());
        vec![(self.key_of(request, body), seq)]
    }

    fn key_of(&self, request: &Revealed, body: Option<&Value>) -> i64 {
        let named = request.url.query_pairs().find(|(name, _)| name == "number");
        let number = named.map(|(_, number)| number.parse().unwrap());
        let number = number.or_else(|| body?["number"].as_i64());
        number.unwrap_or_else(|| {
            let id = request.url.path().trim_start_matches("/o/");
            self.given
                .get(id)
                .copied()
                .unwrap_or_else(|| id.parse().unwrap())
        })
    }

    /// Checks order, concurrency and rate when a call arrives.
    fn arrive(&mut self, name: &str, keys: &[(i64, Option<i64>)], now: i64, checks_rate: bool) {
        self.calls += 1;
        for &(key, seq) in keys {
            assert!(
                !self.active.contains(&key),
                "{name} has two calls for {key} at once"
            );
            self.active.push(key);
            if let Some(seq) = seq {
                let seen = self.seen.entry(key).or_default();
                assert!(seq >= *seen, "{name} got {seq} of {key} after {seen}");
                *seen = seq;
            }
        }
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| *at <= now - SECOND) {
            self.recent.pop_front();
        }
        let calls = self.recent.len();
        assert!(
            !checks_rate || calls <= PER_SECOND,
            "{name} had {calls} calls in a second"
        );
    }

    fn process(
        &mut self,
        name: &str,
        request: &Revealed,
        key: i64,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let idempotency = request.headers.get("idempotency-key");
        let idempotency = idempotency.map(|key| key.to_str().unwrap().to_owned());
        if let Some(answer) = idempotency.as_ref().and_then(|key| self.answers.get(key)) {
            return answer.clone();
        }
        let answer = self.act(name, request, key, body);
        if let Some(idempotency) = idempotency.filter(|_| answer.0 < 300) {
            self.answers.insert(idempotency, answer.clone());
        }
        answer
    }

    /// Stores or deletes several rows, or none of them.
    fn act_on_all(&mut self, method: &Method, rows: &[Value]) -> (u16, Value) {
        if rows.iter().any(|row| row["status"] == "bad") {
            return (422, json!("bad"));
        }
        let is_upsert = method == Method::POST;
        assert!(is_upsert || method == Method::DELETE);
        for row in rows {
            let number = row["number"].as_i64().unwrap();
            if is_upsert {
                let seq = row["seq"].as_i64().unwrap();
                self.rows.insert(number.to_string(), (number, seq));
            } else if self.rows.remove(&number.to_string()).is_none() && rows.len() > 1 {
                return (404, Value::Null);
            }
        }
        (200, Value::Null)
    }

    fn act(
        &mut self,
        name: &str,
        request: &Revealed,
        key: i64,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let id = request.url.path().strip_prefix("/o/").map(str::to_owned);
        let seq = body.and_then(|body| body["seq"].as_i64());
        if body.is_some_and(|body| body["status"] == "bad") {
            return (422, json!("bad"));
        }
        let stored = self.rows.iter().find(|(_, (number, _))| *number == key);
        let stored = stored.map(|(id, _)| id.clone());
        match (&request.method, id) {
            (&Method::GET, _) => match stored {
                Some(id) => (200, json!({ "id": id })),
                None => (404, Value::Null),
            },
            (&Method::POST, _) if name == "unique" && stored.is_some() => (409, Value::Null),
            (&Method::POST, _) => {
                assert_eq!(stored, None, "{name} gets {key} twice");
                let id = if name == "unique" {
                    key.to_string()
                } else {
                    format!("id{}", self.given.len())
                };
                self.given.insert(id.clone(), key);
                self.rows.insert(id.clone(), (key, seq.unwrap()));
                (201, json!({ "id": id }))
            }
            (&Method::PUT, Some(id)) if name == "by_key" || self.rows.contains_key(&id) => {
                self.rows.insert(id, (key, seq.unwrap()));
                (200, Value::Null)
            }
            (&Method::PUT, Some(_)) => (404, Value::Null),
            (&Method::DELETE, id) => {
                let removed = id.or(stored).and_then(|id| self.rows.remove(&id));
                (if removed.is_some() { 204 } else { 404 }, Value::Null)
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) struct Services(pub(super) Arc<World>);

/// A call whose caller waits for the answer.
struct Active<'a> {
    world: &'a World,
    name: String,
    keys: Vec<(i64, Option<i64>)>,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let mut services = locked(&self.world.services);
        services
            .get_mut(&self.name)
            .unwrap()
            .active
            .retain(|active| self.keys.iter().all(|(key, _)| key != active));
    }
}

impl Services {
    async fn sleep(&self, micros: i64) {
        let end = self.0.micros() + micros;
        while self.0.micros() < end {
            pause().await;
        }
    }

    fn random(&self, most: i64) -> i64 {
        locked(&self.0.rng).random_range(0..most)
    }
}

#[async_trait]
impl Transport for Services {
    async fn send(&self, request: &Revealed) -> Result<Received, TransportError> {
        let world = &*self.0;
        let host = request.url.host_str().unwrap();
        let name = host.strip_suffix(".example").unwrap().to_owned();
        let body: Option<Value> = request
            .body
            .as_ref()
            .map(|body| serde_json::from_slice(body).unwrap());
        let keys = locked(&world.services)[&name].keys_of(request, body.as_ref());
        for (key, _) in &keys {
            let is_waiting = locked(&world.changes)[&name][key].state == State::Waiting;
            assert!(is_waiting, "{name}: {key} is set aside, and overtaken");
        }
        assert!(!world.is_paused(&name), "{name} is paused");
        {
            let mut services = locked(&world.services);
            let service = services.get_mut(&name).unwrap();
            service.arrive(&name, &keys, world.micros(), world.checks_rate);
        }
        let _active = Active {
            world,
            name: name.clone(),
            keys: keys.clone(),
        };
        if world.is_down(&name) {
            return Err(TransportError::Unreached("down".to_owned()));
        }
        let none = HeaderMap::new();
        if world.goes_wrong(0.1) {
            let asked = HeaderMap::from_iter([(RETRY_AFTER, "2".parse().unwrap())]);
            match self.random(4) {
                0 => return Ok(received(429, asked, &Value::Null)),
                1 => return Ok(received(503, none, &Value::Null)),
                2 => return Err(TransportError::Unreached("refused".to_owned())),
                _ => {}
            }
        }
        let (status, answer) = {
            let mut services = locked(&world.services);
            let service = services.get_mut(&name).unwrap();
            match &body {
                Some(Value::Array(rows)) => service.act_on_all(&request.method, rows),
                body => service.process(&name, request, keys[0].0, body.as_ref()),
            }
        };
        if world.goes_wrong(0.15) {
            match self.random(3) {
                0 => return Ok(received(500, none, &Value::Null)),
                1 => return Err(TransportError::Failed("closed".to_owned())),
                _ => self.sleep(self.random(10 * SECOND)).await,
            }
        }
        self.sleep(self.random(SECOND / 5)).await;
        Ok(received(status, none, &answer))
    }
}

pub(super) fn received(status: u16, headers: HeaderMap, body: &Value) -> Received {
    Received {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Box::new(Whole(Some(body.to_string().into()))),
    }
}

struct Whole(Option<Bytes>);

#[async_trait]
impl Chunks for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.take())
    }
}
