//! Writes of single rows: clients of two instances of the api, whose clocks differ by a minute, repeat requests whose
//! replies are lost. Instances and workers die, messages are duplicated and reordered, stores are down, and the dataset
//! is paused.

mod check;
mod clients;
mod dead;
pub mod ports;

use std::collections::{BTreeMap, HashSet};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use jiff::SignedDuration;
use landfall_auth::Token;
use landfall_aws::WorkMessage;
use landfall_domain::{WriteId, WriteMessage};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tower::ServiceExt;

use crate::fakes::locked;
use crate::faults::Faults;
use crate::files::Kind;
use crate::instances::api_of;
use crate::schedule::{Schedule, Step, Task};
use crate::world::{self, Message, RUNNING, World};
use clients::Wish;

/// How much the clock of the second instance is ahead.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// In November 2026, in milliseconds since 1970.
const START: i64 = 1_795_000_000_000;
/// Longer than a request has its idempotency key for itself, whatever the clocks say.
const CLAIM_MS: i64 = 100_000;

enum Cause {
    /// A request of a client, by its index.
    Request(usize),
    Messages(Vec<Message>),
    /// A look at a write.
    Look(WriteId),
}

enum Outcome {
    Answer(StatusCode, Value),
    Failed(HashSet<String>),
}

/// The instances of the api, and their clients.
struct Clients {
    instances: Vec<Router>,
    token: Token,
    wishes: Vec<Wish>,
    /// The wishes that are to be requested, or requested again.
    pending: Vec<usize>,
    /// All messages that were sent.
    sent: BTreeMap<WriteId, WriteMessage>,
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let kind = *[Kind::Plain, Kind::Ordered, Kind::Merged]
        .choose(&mut rng)
        .unwrap();
    let world = World::new(100_000, kind);
    world.queue.time.pass(START);
    let mut clients = Clients::new(&world, kind, &mut rng);
    let faults = Faults::random(&mut rng, 500);
    let mut schedule = Schedule::new();
    for step in 0.. {
        assert!(step < 200_000, "the writes do not end");
        let time = &world.queue.time;
        time.pass(rng.random_range(0..20));
        faults.apply(&world, "products", step).await;
        let next = world.queue.deliver_due();
        clients.note_sent(&world);
        let waiting = locked(&world.queue.waiting).len();
        let idle = waiting == 0 && clients.pending.is_empty();
        if idle && schedule.len() == 0 {
            match next {
                Some(next) => time.pass((next - time.millis()).max(1)),
                None if faults.are_over(step) => break,
                None => {}
            }
            continue;
        }
        if schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2)) {
            if let Some((cause, task)) = clients.next(&world, step, &mut rng) {
                schedule.start(&mut rng, cause, task);
            }
            continue;
        }
        let dies = faults.may_kill(step) && rng.random_bool(0.02);
        match schedule.step(&mut rng, dies).await {
            Step::Progress | Step::Died(Cause::Look(_)) => {}
            Step::Ended(Cause::Request(index), Outcome::Answer(status, body)) => {
                let is_lost = faults.may_kill(step) && rng.random_bool(0.1);
                if status == StatusCode::CONFLICT {
                    // The first request may have died.
                    time.pass(rng.random_range(0..CLAIM_MS));
                }
                clients.answered(index, step, (status, &body), is_lost);
            }
            Step::Died(Cause::Request(index)) => clients.unanswered(index),
            Step::Ended(Cause::Look(write), Outcome::Answer(status, body)) => {
                assert_eq!(status, StatusCode::OK, "{body}");
                check::is_true(&world, &clients.sent[&write], &body);
            }
            Step::Ended(Cause::Messages(messages), Outcome::Failed(failed)) => {
                let again = messages.into_iter().map(|(body, _)| body);
                let again = again.filter(|body| failed.contains(body));
                locked(&world.queue.waiting).extend(again);
            }
            Step::Died(Cause::Messages(messages)) => {
                let again = messages.into_iter().map(|(body, _)| body);
                locked(&world.queue.waiting).extend(again);
            }
            Step::Ended(..) => unreachable!("an outcome of another cause"),
        }
    }
    check::check(&world, &clients, kind).await;
}

impl Clients {
    fn new(world: &World, kind: Kind, rng: &mut StdRng) -> Self {
        let token = Token::random();
        let instance = |ahead| api_of(world, &token, ahead);
        let wishes = Wish::some(kind, rng);
        let mut pending: Vec<usize> = (0..wishes.len()).rev().collect();
        // Some clients send a request twice at the same time.
        for (index, wish) in wishes.iter().enumerate() {
            if wish.is_repeated && rng.random_bool(0.2) {
                pending.push(index);
            }
        }
        Self {
            instances: [SignedDuration::ZERO, SKEW].map(instance).into(),
            token,
            wishes,
            pending,
            sent: BTreeMap::new(),
        }
    }

    /// Remembers the messages that wait for delivery.
    fn note_sent(&mut self, world: &World) {
        for body in &*locked(&world.queue.waiting) {
            let Ok(WorkMessage::Write(message)) = WorkMessage::parse(body) else {
                panic!("not a write: {body}");
            };
            let known = self
                .sent
                .entry(message.write)
                .or_insert_with(|| (*message).clone());
            assert_eq!(*known, *message, "two messages of a write differ");
        }
    }

    /// Returns what happens next.
    fn next(
        &mut self,
        world: &World,
        step: usize,
        rng: &mut StdRng,
    ) -> Option<(Cause, Task<Outcome>)> {
        if rng.random_bool(0.1) {
            let acknowledged = self.wishes.iter().filter_map(|wish| wish.acknowledged);
            let acknowledged: Vec<_> = acknowledged.collect();
            let (_, write) = *acknowledged.choose(rng)?;
            return Some((Cause::Look(write), self.look(write, rng)));
        }
        let waiting = locked(&world.queue.waiting).len();
        if waiting > 0 && (self.pending.is_empty() || rng.random_bool(0.6)) {
            // No attempt is the last one, however often a message waits.
            let messages = world::receive(world, rng).into_iter();
            let messages: Vec<Message> = messages.map(|(body, _)| (body, 1)).collect();
            let task = world.call(&world::Cause::Messages(messages.clone()));
            let task = async { Outcome::Failed(task.await.unwrap()) };
            return Some((Cause::Messages(messages), Box::pin(task)));
        }
        let index = self.pending.pop()?;
        self.wishes[index].began.get_or_insert(step);
        let wish = &self.wishes[index];
        let path = format!("/datasets/products/rows/{}{}", wish.key, wish.query);
        let mut request = Request::builder().method(wish.method).uri(path);
        if wish.is_repeated {
            request = request.header("idempotency-key", index.to_string());
        }
        let body = wish.body.as_ref().map(Value::to_string);
        let task = self.send(request, body.unwrap_or_default(), rng);
        Some((Cause::Request(index), task))
    }

    fn look(&self, write: WriteId, rng: &mut StdRng) -> Task<Outcome> {
        let request = Request::builder().uri(format!("/writes/{write}"));
        self.send(request, String::new(), rng)
    }

    fn send(
        &self,
        request: axum::http::request::Builder,
        body: String,
        rng: &mut StdRng,
    ) -> Task<Outcome> {
        let bearer = format!("Bearer {}", self.token.reveal());
        let request = request.header("authorization", bearer);
        let request = request.header("content-type", "application/json");
        let request = request.body(Body::from(body)).unwrap();
        let instance = self.instances.choose(rng).unwrap().clone();
        Box::pin(async move {
            let response = instance.oneshot(request).await.unwrap();
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            Outcome::Answer(status, serde_json::from_slice(&body).unwrap())
        })
    }

    fn answered(
        &mut self,
        index: usize,
        step: usize,
        (status, body): (StatusCode, &Value),
        is_lost: bool,
    ) {
        let wish = &mut self.wishes[index];
        if status == StatusCode::CONFLICT {
            assert!(wish.is_repeated, "{body}");
            return self.unanswered(index);
        }
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let write = body["write"].as_str().unwrap().parse().unwrap();
        if is_lost {
            return self.unanswered(index);
        }
        let (_, known) = *wish.acknowledged.get_or_insert((step, write));
        assert_eq!(known, write, "a repeated request got another write");
    }

    fn unanswered(&mut self, index: usize) {
        if self.wishes[index].is_repeated {
            self.pending.push(index);
        }
    }
}
