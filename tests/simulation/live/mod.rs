//! Subscribers of changing jobs: what the socket pushes to them, and what must have arrived in the end.

mod check;
mod clients;
mod fakes;
mod jobs;
mod limits;

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_auth::Tokens;
use landfall_domain::JobId;
use landfall_ledger::{JobIndex, MemoryTable};
use landfall_runtime::{Deadline, Limiter};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use self::clients::{Action, Client, Credentials};
use self::fakes::{Clients, Clock, ConnectionMap, Network, Pushes, Queued};
use self::jobs::{Job, Ledger};
use crate::schedule::{Schedule, Step, Task};

/// Invocations that run concurrently.
const RUNNING: usize = 6;

/// What an invocation was started for.
pub enum Cause {
    /// A job is ingested by the other functions.
    Job(Rc<Job>),
    /// A client connects, sends a message or disconnects.
    Route { client: usize, action: Action },
    /// The stream delivered records of these items.
    Stream(Vec<String>),
    /// The push queue delivered these messages.
    Pushes(Vec<Queued>),
}

/// What an invocation returned.
type Outcome = Result<Value, ()>;

/// The socket, and the services and clients around it.
pub struct World {
    clock: Arc<Clock>,
    ledger: Rc<Ledger>,
    connections: Arc<ConnectionMap>,
    gateway: Arc<Clients>,
    pushes: Arc<Pushes>,
    socket: Rc<socket::Context>,
    jobs: Vec<Rc<Job>>,
    clients: Vec<Client>,
    /// Whether nothing fails, so that no completion may arrive twice.
    is_calm: bool,
}

fn limiter(per_second: u32) -> Limiter {
    let permits = Arc::new(MemoryTable::default());
    Limiter::new(permits, per_second.try_into().unwrap())
}

impl World {
    fn new(rng: &mut StdRng) -> Self {
        let is_calm = rng.random_bool(0.25);
        let failures = if is_calm { 0 } else { rng.random_range(0..20) };
        let rate = *[0.02, 0.2].choose(rng).unwrap();
        let network = Arc::new(Network::new(rng.random(), rate, failures));
        let clock = Arc::new(Clock::new(*[2, 20, 60].choose(rng).unwrap()));
        let ledger = Rc::new(Ledger::new(Arc::clone(&clock)));
        let connections = Arc::new(ConnectionMap::new(Arc::clone(&network)));
        let gateway = Arc::new(Clients::new(Arc::clone(&network), Arc::clone(&clock)));
        // Often down on its own: whatever is not sent again is never pushed.
        let rate = *[0.02, 0.5].choose(rng).unwrap();
        let to_queue = Arc::new(Network::new(rng.random(), rate, failures));
        let pushes = Arc::new(Pushes::new(to_queue, Arc::clone(&clock)));
        let (credentials, tokens) = Credentials::all();
        let socket = socket::Context {
            tokens: Tokens::fixed(tokens),
            // More than the clients send.
            limiter: limiter(1_000_000),
            connections: socket::Connections::new(
                Arc::clone(&connections) as Arc<dyn socket::ConnectionTable>
            ),
            ledger: Arc::clone(&ledger.table) as Arc<dyn JobIndex>,
            gateway: Arc::clone(&gateway) as Arc<dyn socket::Gateway>,
            queue: Arc::clone(&pushes) as Arc<dyn socket::PushQueue>,
            token_in_query: false,
        };
        let jobs: Vec<_> = (0..rng.random_range(1..5))
            .map(|index| Rc::new(Job::random(rng, index)))
            .collect();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id()).collect();
        let clients = (0..rng.random_range(1..6))
            .map(|_| Client::random(rng, &credentials, &ids))
            .collect();
        Self {
            clock,
            ledger,
            connections,
            gateway,
            pushes,
            socket: Rc::new(socket),
            jobs,
            clients,
            is_calm,
        }
    }

    fn invoke(&self, event: Value) -> Task<Outcome> {
        let context = Rc::clone(&self.socket);
        let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
        Box::pin(async move {
            let handled = socket::handle(&context, event, deadline).await;
            handled.map_err(drop)
        })
    }

    fn start(&mut self, cause: &Cause) -> Task<Outcome> {
        match cause {
            Cause::Job(job) => {
                let (job, ledger) = (Rc::clone(job), Rc::clone(&self.ledger));
                Box::pin(async move {
                    job.run(&ledger).await;
                    Ok(Value::Null)
                })
            }
            Cause::Route { client, action } => {
                let event = self.clients[*client].start(action, &self.gateway);
                self.invoke(event)
            }
            Cause::Stream(items) => self.invoke(stream_event(items)),
            Cause::Pushes(messages) => self.invoke(queue_event(messages)),
        }
    }

    /// Handles the end of an invocation. `outcome` is an error where it failed or died.
    fn end(&mut self, cause: Cause, outcome: Outcome, waiting: &mut Vec<Rc<Job>>) {
        match cause {
            Cause::Job(job) => {
                if outcome.is_err() {
                    waiting.push(job);
                }
            }
            Cause::Route { client, action } => {
                if let Ok(response) = &outcome {
                    assert_eq!(response["statusCode"], 200);
                }
                self.clients[client].end(action, outcome.is_ok(), self.clock.now(), &self.gateway);
            }
            Cause::Stream(items) => {
                if outcome.is_err() {
                    let mut stream = self.ledger.stream.lock().unwrap();
                    stream.splice(0..0, items);
                }
            }
            Cause::Pushes(messages) => {
                let failed: Option<HashSet<String>> = outcome.ok().map(|response| {
                    let failures = response["batchItemFailures"].as_array().unwrap();
                    let ids = failures.iter().map(|one| one["itemIdentifier"].as_str());
                    ids.map(|id| id.unwrap().to_owned()).collect()
                });
                let again = messages.into_iter().enumerate().filter(|(index, _)| {
                    let failed = failed.as_ref();
                    failed.is_none_or(|failed| failed.contains(&index.to_string()))
                });
                let again = again.map(|(_, message)| Queued {
                    visible_at: self.clock.now() + self.clock.second,
                    ..message
                });
                self.pushes.waiting.lock().unwrap().splice(0..0, again);
            }
        }
    }

    /// Takes some records from the stream. In a storm they come in any order, and some come again.
    fn read_stream(&self, rng: &mut StdRng) -> Option<Cause> {
        let mut stream = self.ledger.stream.lock().unwrap();
        if stream.is_empty() {
            return None;
        }
        if !self.is_calm {
            stream.shuffle(rng);
        }
        let count = rng.random_range(1..=stream.len().min(5));
        let items: Vec<String> = stream.drain(..count).collect();
        if !self.is_calm && rng.random_bool(0.1) {
            stream.extend(items.iter().cloned());
        }
        Some(Cause::Stream(items))
    }

    /// Receives some messages of jobs that are not in flight. In a storm they come in any order, and some come again
    /// while the first delivery is still being processed.
    fn receive(&self, rng: &mut StdRng, in_flight: &mut BTreeSet<JobId>) -> Option<Cause> {
        let mut waiting = self.pushes.waiting.lock().unwrap();
        if !self.is_calm {
            waiting.shuffle(rng);
        }
        let count = rng.random_range(1..5);
        let mut held_back = in_flight.clone();
        let (mut received, mut kept) = (Vec::new(), Vec::new());
        for message in waiting.drain(..) {
            let job = message.message.job;
            let is_visible = message.visible_at <= self.clock.now();
            if received.len() < count && is_visible && !held_back.contains(&job) {
                if !self.is_calm && rng.random_bool(0.1) {
                    kept.push(message.clone());
                } else {
                    in_flight.insert(job);
                }
                received.push(Queued {
                    receives: message.receives + 1,
                    ..message
                });
            } else {
                // Later messages of a job wait for its first.
                held_back.insert(job);
                kept.push(message);
            }
        }
        *waiting = kept;
        (!received.is_empty()).then_some(Cause::Pushes(received))
    }
}

fn stream_event(items: &[String]) -> Value {
    let sample = include_str!("../../../events/ledger-stream.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let records = items.iter().map(|item| {
        let mut record = sample["Records"][0].clone();
        record["dynamodb"]["Keys"]["pk"]["S"] = json!(item);
        record
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

fn queue_event(messages: &[Queued]) -> Value {
    let sample = include_str!("../../../events/sqs-pushes.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let records = messages.iter().enumerate().map(|(index, queued)| {
        let mut record = sample["Records"][0].clone();
        record["messageId"] = json!(index.to_string());
        record["body"] = json!(serde_json::to_string(&queued.message).unwrap());
        record["attributes"]["ApproximateReceiveCount"] = json!(queued.receives.to_string());
        record["attributes"]["MessageGroupId"] = json!(queued.message.job);
        record
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// Simulates jobs and their subscribers until nothing is left to do.
pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(&mut rng);
    let mut crashes = if world.is_calm {
        0
    } else {
        rng.random_range(0..12)
    };
    let mut waiting = world.jobs.clone();
    let mut in_flight = BTreeSet::new();
    let mut schedule = Schedule::new();
    loop {
        world.clock.advance();
        if schedule.len() < RUNNING && rng.random_bool(0.5) {
            let cause = match rng.random_range(0..8) {
                0 => waiting.pop().map(Cause::Job),
                1 => clients::next(&mut world.clients, &mut rng),
                2..5 => world.read_stream(&mut rng),
                _ => world.receive(&mut rng, &mut in_flight),
            };
            if let Some(cause) = cause {
                let task = world.start(&cause);
                schedule.start(&mut rng, cause, task);
            }
        }
        if schedule.len() == 0 {
            let is_over = waiting.is_empty()
                && world.clients.iter().all(Client::is_done)
                && world.ledger.stream.lock().unwrap().is_empty()
                && world.pushes.waiting.lock().unwrap().is_empty();
            if is_over {
                break;
            }
            continue;
        }
        let dies = crashes > 0 && rng.random_bool(0.02);
        crashes -= usize::from(dies);
        let (cause, outcome) = match schedule.step(&mut rng, dies).await {
            Step::Progress => continue,
            Step::Ended(cause, outcome) => (cause, outcome),
            Step::Died(cause) => (cause, Err(())),
        };
        if let Cause::Pushes(messages) = &cause {
            for queued in messages {
                in_flight.remove(&queued.message.job);
            }
        }
        world.end(cause, outcome, &mut waiting);
    }
    check::check(&world).await;
}
