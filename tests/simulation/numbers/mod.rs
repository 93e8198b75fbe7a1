//! Numbered rows: instances of the api give out numbers and send rows, and die in between; replies are lost; messages
//! are duplicated, reordered, and sometimes hours late; rows are deleted; workers and the janitor die; a store is down,
//! or the dataset is paused. In the end, every number has a row, a deleted row or a void.

mod api_calls;
mod check;
mod reader;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use landfall_aws::{ChunkQueue, WorkMessage};
use landfall_domain::{
    DatasetRef, KeyDigest, ParentRow, Value, WriteId, WriteMessage, WriteOperation,
};
use landfall_ledger::{ListedStage, ParentTable, WriteTable};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::fakes::{Table, locked};
use crate::faults::Faults;
use crate::files::Kind;
use crate::queue::{Queue, SimulatedTime};
use crate::repair::Janitor;
use crate::schedule::{Schedule, Step, Task};
use crate::world::{self, Message, RUNNING, World};
use api_calls::Api;

const START: i64 = 1_795_000_000_000;
const MINUTE: i64 = 60_000;
const DATASET: &str = "messages";

enum Cause {
    /// A request of a client, by its index.
    Request(usize),
    /// A client deletes the row of a number.
    Delete(ParentRow, u64),
    Messages(Vec<Message>),
    Janitor,
}

enum Outcome {
    /// The number of a new row, or of a deleted one.
    Answered(u64),
    /// Another handler has the request, or its number is being checked.
    InFlight,
    /// The number of the idempotency key is a void.
    Void,
    Failed(HashSet<String>),
    Done,
}

/// What clients have sent, and which answers they have got.
#[derive(Default)]
struct Clients {
    parents: Vec<ParentRow>,
    /// The requests that are to be sent, or sent again.
    pending: Vec<usize>,
    /// The request of each number that was answered.
    answered: BTreeMap<(ParentRow, u64), usize>,
    /// How often a client has sent its request with another idempotency key.
    keys: BTreeMap<usize, u32>,
    deleted: BTreeSet<(ParentRow, u64)>,
    /// The numbers whose messages were hours late.
    late: BTreeSet<(ParentRow, u64)>,
}

impl Clients {
    fn new(rng: &mut StdRng) -> Self {
        let parent = |chat: usize| ParentRow {
            dataset: "chats".to_owned(),
            key: vec!["a1".to_owned(), (chat + 1).to_string()],
        };
        Self {
            parents: (0..rng.random_range(1..4)).map(parent).collect(),
            pending: (0..rng.random_range(5..60)).collect(),
            ..Self::default()
        }
    }

    fn parent(&self, request: usize) -> &ParentRow {
        &self.parents[request % self.parents.len()]
    }
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(100_000, Kind::Plain);
    world.queue.time.pass(START);
    let janitor = Janitor::new(&world, u32::MAX);
    let mut clients = Clients::new(&mut rng);
    let api = Api::new(&world, &clients.parents).await;
    let faults = Faults::random(&mut rng, 1_000);
    let (mut schedule, mut ran) = (Schedule::new(), START);
    for step in 0.. {
        assert!(step < 200_000, "the numbers are not checked");
        let time = &world.queue.time;
        time.pass(rng.random_range(0..20));
        faults.apply(&world, DATASET, step).await;
        let next = world.queue.deliver_due();
        let is_waiting = !locked(&world.queue.waiting).is_empty() || !clients.pending.is_empty();
        if !is_waiting && schedule.len() == 0 {
            if faults.are_over(step) && next.is_none() && are_checked(&world).await {
                break;
            }
            let minutes = rng.random_range(1..20) * MINUTE;
            time.pass(next.map_or(minutes, |next| (next - time.millis()).clamp(1, minutes)));
        }
        if time.millis() - ran >= MINUTE {
            ran = time.millis();
            schedule.start(&mut rng, Cause::Janitor, run(&janitor));
        }
        if schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2)) {
            if let Some((cause, task)) = clients.next((&world, &api), &faults, step, &mut rng) {
                schedule.start(&mut rng, cause, task);
            }
            continue;
        }
        let dies = faults.may_kill(step) && rng.random_bool(0.02);
        match schedule.step(&mut rng, dies).await {
            Step::Progress
            | Step::Died(Cause::Janitor | Cause::Delete(..))
            | Step::Ended(Cause::Janitor, _) => {}
            Step::Ended(Cause::Request(request), Outcome::Answered(number)) => {
                let place = (clients.parent(request).clone(), number);
                let first = *clients.answered.entry(place).or_insert(request);
                assert_eq!(first, request, "a number is given to two requests");
                // The answer may be lost.
                if faults.may_kill(step) && rng.random_bool(0.1) {
                    clients.pending.push(request);
                }
            }
            Step::Ended(Cause::Request(request), Outcome::InFlight) => {
                time.pass(rng.random_range(0..10 * MINUTE));
                clients.pending.push(request);
            }
            Step::Ended(Cause::Request(request), Outcome::Void) => {
                *clients.keys.entry(request).or_default() += 1;
                clients.pending.push(request);
            }
            Step::Died(Cause::Request(request)) => clients.pending.push(request),
            Step::Ended(Cause::Delete(parent, number), _) => {
                clients.deleted.insert((parent, number));
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
    check::check(&world, &clients).await;
}

/// Returns whether the janitor lists no parent any more.
async fn are_checked(world: &World) -> bool {
    let mut are_checked = true;
    for stage in [ListedStage::New, ListedStage::Seen] {
        let listed = world.table.0.listed_parents(stage, i64::MAX, 1).await;
        are_checked &= listed.unwrap().is_empty();
    }
    are_checked
}

fn run(janitor: &Janitor) -> Task<Outcome> {
    let run = janitor.call(None);
    Box::pin(async {
        run.await.unwrap();
        Outcome::Done
    })
}

impl Clients {
    /// Returns what happens next.
    fn next(
        &mut self,
        (world, api): (&World, &Api),
        faults: &Faults,
        step: usize,
        rng: &mut StdRng,
    ) -> Option<(Cause, Task<Outcome>)> {
        let waiting = locked(&world.queue.waiting).len();
        if waiting > 0 && (self.pending.is_empty() || rng.random_bool(0.6)) {
            let messages = world::receive(world, rng).into_iter();
            let (late, messages): (Vec<_>, Vec<_>) =
                messages.partition(|_| faults.may_kill(step) && rng.random_bool(0.02));
            self.delay(world, rng, late);
            let messages: Vec<Message> = messages.into_iter().map(|(body, _)| (body, 1)).collect();
            let task = world.call(&world::Cause::Messages(messages.clone()));
            let task = async { Outcome::Failed(task.await.unwrap()) };
            return Some((Cause::Messages(messages), Box::pin(task)));
        }
        if rng.random_bool(0.05) {
            let answered: Vec<_> = self.answered.keys().collect();
            let (parent, number) = (*answered.choose(rng)?).clone();
            let task = delete(world, parent.clone(), number);
            return Some((Cause::Delete(parent, number), task));
        }
        let request = self.pending.pop()?;
        let is_lost = faults.may_kill(step) && rng.random_bool(0.1);
        let key = self.keys.get(&request).copied().unwrap_or_default();
        let task = api.create(self.parent(request).clone(), (request, key), is_lost);
        Some((Cause::Request(request), task))
    }

    /// Has messages delivered hours later.
    fn delay(&mut self, world: &World, rng: &mut StdRng, messages: Vec<Message>) {
        for (body, _) in messages {
            if let WorkMessage::Write(message) = WorkMessage::parse(&body).unwrap() {
                let (number, parent) = message.key.split_last().unwrap();
                let parent = ParentRow {
                    dataset: "chats".to_owned(),
                    key: parent.to_vec(),
                };
                self.late.insert((parent, number.parse().unwrap()));
            }
            let at = world.queue.time.millis() + rng.random_range(10..600) * MINUTE;
            locked(&world.queue.later).push((at, body));
        }
    }
}

/// What deletes rows with one parent.
struct Numbered {
    queue: Arc<Queue>,
    table: Arc<Table>,
    time: SimulatedTime,
    parent: ParentRow,
}

impl Numbered {
    fn new(world: &World, parent: ParentRow) -> Self {
        Self {
            queue: Arc::clone(&world.queue),
            table: Arc::clone(&world.table),
            time: world.queue.time.clone(),
            parent,
        }
    }

    fn digest(&self, number: u64) -> KeyDigest {
        let mut key = vec![Value::Text(self.parent.key[0].as_str().into())];
        key.push(Value::Integer(self.parent.key[1].parse().unwrap()));
        key.push(Value::Integer(i64::try_from(number).unwrap()));
        KeyDigest::new(DATASET, &key)
    }

    async fn delete(&self, number: u64, write: WriteId) {
        let message = WriteMessage {
            write,
            dataset: DatasetRef {
                name: DATASET.to_owned(),
                version: None,
            },
            operation: WriteOperation::Delete,
            key: [&self.parent.key[..], &[number.to_string()]].concat(),
            order_value: None,
            row: None,
            created_at: None,
        };
        let message = WorkMessage::Write(Box::new(message));
        self.queue.send(&[message]).await.unwrap();
    }
}

fn delete(world: &World, parent: ParentRow, number: u64) -> Task<Outcome> {
    let row = Numbered::new(world, parent);
    Box::pin(async move {
        let digest = row.digest(number);
        let (clock, now) = (digest.clock(), row.time.millis());
        let (time, count) = row.table.tick(clock, now).await.unwrap();
        let write = digest.write_at(time, count).unwrap();
        row.delete(number, write).await;
        Outcome::Answered(number)
    })
}
