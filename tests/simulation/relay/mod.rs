//! The relay: two instances whose clocks differ, which die at any point, and services that fail, are slow, lose replies
//! and are down. Bells are lost and repeated, and operators pause, redrive and synchronise. A service never has two
//! calls for a key at once (but after a time-out), nor an older row after a newer one, nor more calls in any second
//! than allowed, nor calls while it is paused. Once nothing fails any more, it has exactly the last row of each key,
//! and bells alone lead to those that change.

mod bells;
mod ledger;
mod notify;
mod service;
mod store;
mod world;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::relay::{Context, RelayError, Scope};
use bytes::Bytes;
use jiff::SignedDuration;
use landfall_aws::{Datasets, Destinations, Objects, RelayMessage, Webhooks};
use landfall_domain::Dataset;
use landfall_ledger::{DestinationTable, NotificationTable, PaceTable, TaskRequest, TaskSelection};
use landfall_requests::{Policy, Secrets};
use landfall_runtime::{Clock, Slots};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fakes::{Buckets, locked};
use crate::schedule::{Schedule, Step, Task};
use bells::Bells;
use ledger::PausedTable;
use service::Services;
use store::Changes;
use world::{InstanceClock, World};

/// The time that an invocation has.
const INVOCATION: Duration = Duration::from_mins(1);
/// The number of keys.
const KEYS: i64 = 12;
/// What is allowed, see the definitions.
const PER_SECOND: usize = 10;

/// The dataset that destinations follow, and one that has no definition any more.
const ORDERS: &str = "orders";
const GONE: &str = "gone";
/// Keys that do not change: a synchronisation sends them.
const UNCHANGED: i64 = 4;
const FIELDS: &str = "key = [\"number\"]\nfields = [{ name = \"number\", type = \"integer\" }, \
                       { name = \"status\", type = \"text\" }, { name = \"seq\", type = \"integer\" }]\n";
const REST: &str =
    "when = \"status != draft\"\n[limits]\nper_second = 10\nconcurrency = 4\ntimeout_seconds = 5\n";
/// The operations of each destination, which has the host of its name.
const DESTINATIONS: [(&str, &str); 5] = [
    (
        "by_key",
        "on_refused = \"skip\"\nupdate = { path = \"/o/{{ number }}\" }\ndelete = { path = \"/o/{{ number }}\" }\n",
    ),
    (
        "by_id",
        "id_from = \"id\"\nlookup = { path = \"/o?number={{ number }}\" }\ncreate = { path = \"/o\" }\n\
         update = { path = \"/o/{{ remote_id }}\" }\ndelete = { path = \"/o/{{ remote_id }}\" }\n",
    ),
    (
        "idempotent",
        "on_refused = \"skip\"\nid_from = \"id\"\nidempotency_header = \"Idempotency-Key\"\n\
         create = { path = \"/o\" }\n\
         update = { path = \"/o/{{ remote_id }}\" }\ndelete = { path = \"/o?number={{ number }}\" }\n",
    ),
    (
        "unique",
        "create = { path = \"/o\", conflict = \"update\" }\n\
         update = { path = \"/o/{{ number }}\", not_found = \"create\" }\ndelete = { path = \"/o/{{ number }}\" }\n",
    ),
    (
        "bulk",
        "on_refused = \"skip\"\nbatch = { size = 3 }\nupdate = { path = \"/o\", method = \"POST\" }\n\
         delete = { path = \"/o\" }\n",
    ),
];

pub use notify::simulate as simulate_notifications;

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Slots allow for clocks that differ by 50 milliseconds, and leases for two minutes.
    let checks_rate = seed.is_multiple_of(2);
    let skew = if checks_rate { 25_000 } else { 30_000_000 };
    let world = Arc::new(World::new(seed, checks_rate));
    let contexts = [-skew, skew].map(|skew| Arc::new(context(&world, skew)));
    let mut schedule: Schedule<(), Result<(), RelayError>> = Schedule::new();
    let failing = world.now() + Duration::from_mins(4);
    while world.now() < failing {
        if schedule.len() < 3 && rng.random_bool(0.02) {
            let context = &contexts[rng.random_range(0..2)];
            schedule.start(&mut rng, (), invocation(context, Scope::All));
        }
        if schedule.len() < 3 && world.next_bell().is_some_and(|at| at <= world.micros()) {
            let context = &contexts[rng.random_range(0..2)];
            let scope = Scope::rung(world.rung());
            schedule.start(&mut rng, (), invocation(context, scope));
        }
        if rng.random_bool(0.02) {
            let status = ["open", "paid", "draft", "bad"][rng.random_range(0..4)];
            let key = rng.random_range(0..KEYS - UNCHANGED);
            world.write(key, rng.random_bool(0.8).then_some(status));
        }
        if rng.random_bool(0.000_5) {
            world.turn_down(
                DESTINATIONS[rng.random_range(0..DESTINATIONS.len())].0,
                rng.random_bool(0.5),
            );
        }
        if rng.random_bool(0.001) {
            operate(&world, &mut rng).await;
        }
        world.pass(rng.random_range(0..20_000));
        if schedule.len() > 0 {
            let dies = rng.random_bool(0.001);
            schedule.step(&mut rng, dies).await;
        }
    }
    *locked(&world.fails) = false;
    for key in 0..KEYS - UNCHANGED {
        let status = ["open", "paid", "draft"][rng.random_range(0..3)];
        world.write(key, rng.random_bool(0.7).then_some(status));
    }
    let end = world.now() + Duration::from_hours(2);
    // What runs still is not alone with those that follow.
    drop(schedule);
    for (name, _) in DESTINATIONS {
        world.pause(name, false).await;
    }
    // What was requested before may have been for fewer keys.
    let (mut is_redriven, mut is_synchronised) = (false, false);
    loop {
        if !world.has_tasks().await {
            if is_redriven && is_synchronised && !world.is_waiting() {
                break;
            }
            for (name, _) in DESTINATIONS {
                world.redrive(name).await;
                if !is_synchronised {
                    world.request(name, &TaskRequest::Sync).await;
                }
            }
            (is_redriven, is_synchronised) = (true, true);
        }
        assert!(
            world.now() < end,
            "not everything is sent: {}",
            world.describe()
        );
        let context = &contexts[rng.random_range(0..2)];
        alone(&world, &mut rng, context, Scope::All).await;
        world.pass(30_000_000);
    }
    world.check();
    follow_bells(&world, &mut rng, &contexts).await;
}

/// Changes all rows. Bells alone must lead to all of them.
async fn follow_bells(world: &Arc<World>, rng: &mut StdRng, contexts: &[Arc<Context>; 2]) {
    for context in contexts {
        let leases = || world.leases.load(Ordering::Relaxed);
        let before = leases();
        let others = Scope::rung([RelayMessage::Dataset("products".to_owned())]);
        alone(world, rng, context, others).await;
        assert_eq!(leases(), before, "a bell of another dataset");
    }
    // What is recorded of relays that died is over, whatever their clocks are.
    world.pass(120_000_000);
    locked(&world.bells).clear();
    for key in 0..KEYS {
        world.write(key, rng.random_bool(0.7).then_some("paid"));
    }
    while let Some(at) = world.next_bell() {
        world.pass((at - world.micros()).max(0));
        let context = &contexts[rng.random_range(0..2)];
        alone(world, rng, context, Scope::rung(world.rung())).await;
    }
    assert!(!world.is_waiting(), "{}", world.describe());
    world.check();
}

/// Runs an invocation with nothing beside it.
async fn alone(world: &Arc<World>, rng: &mut StdRng, context: &Arc<Context>, scope: Scope) {
    let mut schedule = Schedule::<(), _>::new();
    schedule.start(rng, (), invocation(context, scope));
    while schedule.len() > 0 {
        world.pass(rng.random_range(0..20_000));
        if let Step::Ended((), ended) = schedule.step(rng, false).await {
            ended.unwrap();
        }
    }
}

/// Does what an operator may do at any time.
async fn operate(world: &World, rng: &mut StdRng) {
    let (name, _) = DESTINATIONS[rng.random_range(0..DESTINATIONS.len())];
    match rng.random_range(0..6) {
        0 => world.pause(name, true).await,
        1 | 2 => world.pause(name, false).await,
        3 => world.redrive(name).await,
        4 => world.request(name, &TaskRequest::Sync).await,
        _ => {
            let key = rng.random_range(0..KEYS);
            let selection = TaskSelection::Keys(vec![vec![key.to_string()]]);
            let redrive = TaskRequest::Redrive { selection, most: 1 };
            world.request(name, &redrive).await;
        }
    }
}

/// Returns the definition of a dataset.
fn dataset(name: &str) -> Dataset {
    Dataset::from_toml("test.toml", &format!("name = \"{name}\"\n{FIELDS}")).unwrap()
}

fn context(world: &Arc<World>, skew: i64) -> Context {
    let buckets = Buckets::default();
    let place = |key: String| ("config".to_owned(), key);
    let orders = format!("name = \"{ORDERS}\"\n{FIELDS}");
    locked(&buckets.latest).insert(place(format!("datasets/{ORDERS}.toml")), orders.into());
    for (name, operations) in DESTINATIONS {
        let text =
            format!("dataset = \"orders\"\nurl = \"http://{name}.example\"\n{operations}{REST}");
        let key = place(format!("destinations/{name}.toml"));
        locked(&buckets.latest).insert(key, Bytes::from(text));
    }
    let objects = Arc::new(buckets) as Arc<dyn Objects>;
    let clock: Arc<dyn Clock> = Arc::new(InstanceClock {
        world: Arc::clone(world),
        skew,
    });
    let table = Arc::new(PausedTable(Arc::clone(world)));
    let random = Arc::clone(world);
    Context {
        store: Arc::new(Changes(Arc::clone(world))),
        definitions: Destinations::new(Arc::clone(&objects), "config"),
        datasets: Datasets::new(Arc::clone(&objects), "config"),
        destinations_table: Arc::clone(&table) as Arc<dyn DestinationTable>,
        bell: Arc::new(Bells(Arc::clone(world))),
        webhooks: Webhooks::new(objects, "config"),
        notifications: Arc::clone(&table) as Arc<dyn NotificationTable>,
        slots: Slots::new(table as Arc<dyn PaceTable>, Arc::clone(&clock)),
        transport: Arc::new(Services(Arc::clone(world))),
        policy: Policy::new("*", false).unwrap(),
        secrets: Secrets::default(),
        clock,
        random: Box::new(move || locked(&random.rng).random()),
    }
}

fn invocation(context: &Arc<Context>, scope: Scope) -> Task<Result<(), RelayError>> {
    let context = Arc::clone(context);
    Box::pin(async move {
        let stop_at = context.clock.now() + SignedDuration::try_from(INVOCATION).unwrap();
        ::relay::run(&context, &scope, stop_at).await
    })
}

/// What is shared by everything that is simulated.
type Shared<T> = Mutex<T>;
