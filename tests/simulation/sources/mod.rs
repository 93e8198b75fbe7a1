//! Sources: APIs whose rows change while they are walked, one of them with requests for each row of another, and a
//! puller that dies at any point, runs twice at a time, and gets no reply. The state of a source is never ahead of what
//! is stored. Once nothing fails any more, the stored rows are those of the APIs.

mod fakes;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use landfall_aws::{Datasets, Objects, Sources};
use landfall_domain::JobId;
use landfall_ledger::{Ledger, LedgerTable, SourceTable};
use landfall_sources::Outcome;
use puller::{Context, PullerError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::fakes::{Buckets, Table, locked};
use crate::schedule::{Schedule, Task};
use fakes::{Api, Inbox, Stored};
use world::World;

/// How late a row can be committed, with a time that has passed.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// The time that an invocation has.
const INVOCATION: Duration = Duration::from_mins(2);
const PAGE: usize = 3;

const SOURCES: [&str; 3] = ["changes", "stock", "items"];

const DEFINITIONS: [(&str, &str); 6] = [
    (
        "sources/changes.toml",
        "dataset = \"changes\"\nurl = \"http://api.example/changes\"\nevery = \"1 minute\"\nrecords = \"rows\"\n\
         paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n\
         [incremental]\nfield = \"at\"\ntype = \"timestamp\"\nparameter = \"since\"\noverlap = \"2 minutes\"\n",
    ),
    (
        "sources/stock.toml",
        "dataset = \"stock\"\nurl = \"http://api.example/stock\"\nevery = \"2 minutes\"\nrecords = \"rows\"\n\
         complete = true\n\
         paging = { kind = \"keyset\", parameter = \"after\", field = \"id\", type = \"integer\" }\n",
    ),
    (
        "sources/items.toml",
        "dataset = \"items\"\nurl = \"http://api.example/stock/{id}/items\"\nevery = \"2 minutes\"\n\
         records = \"rows\"\ncomplete = true\n\
         children = { of = \"stock\", fields = { stock_id = \"id\" } }\n\
         paging = { kind = \"keyset\", parameter = \"after\", field = \"id\", type = \"integer\" }\n",
    ),
    (
        "datasets/items.toml",
        "name = \"items\"\nmode = \"snapshot\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"integer\" }]\n",
    ),
    (
        "datasets/changes.toml",
        "name = \"changes\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"integer\" }]\n",
    ),
    (
        "datasets/stock.toml",
        "name = \"stock\"\nmode = \"snapshot\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"integer\" }]\n",
    ),
];

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let table = Arc::new(Table::default());
    let world = Arc::new(World {
        clock: 1_800_000_000_000.into(),
        rng: StdRng::seed_from_u64(seed ^ 1).into(),
        fails: true.into(),
        served: Mutex::default(),
        stored: Mutex::default(),
        objects: Mutex::default(),
        uploads: Mutex::default(),
        table: Arc::clone(&table),
        ingested: Mutex::default(),
    });
    let context = Arc::new(context(&world, rng.random_range(1..400)));
    let mut schedule: Schedule<(), Result<(), PullerError>> = Schedule::new();
    let mut oldest = world.now();
    // Minutes in which everything fails now and then, and what it takes to repair all of that.
    let (failing, end) = (
        world.now() + Duration::from_mins(20),
        world.now() + Duration::from_mins(45),
    );
    while world.now() < end {
        let is_failing = world.now() < failing;
        *locked(&world.fails) = is_failing;
        if schedule.len() == 0 || (is_failing && schedule.len() < 3 && rng.random_bool(0.02)) {
            if schedule.len() == 0 {
                world.pass(rng.random_range(10..90));
                oldest = world.now();
            }
            schedule.start(&mut rng, (), invocation(&context));
        }
        if is_failing && rng.random_bool(0.1) {
            world.change("changes");
            world.change("stock");
        }
        if rng.random_bool(0.01) {
            world.pass(5);
        }
        // The time of an invocation ends before its lease.
        let is_over =
            world.now().duration_since(oldest) > SignedDuration::try_from(INVOCATION).unwrap();
        if is_over {
            schedule = Schedule::new();
        } else {
            schedule
                .step(&mut rng, is_failing && self::dies(&world))
                .await;
        }
        if rng.random_bool(0.05) || !is_failing {
            world
                .ingest(&Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>))
                .await;
            world.check_state().await;
        }
    }
    world.check_stored();
    check_runs(&world).await;
}

fn dies(world: &World) -> bool {
    world.goes_wrong(0.005)
}

fn context(world: &Arc<World>, part_bytes: usize) -> Context {
    let buckets = Arc::new(Buckets::default());
    for (key, text) in DEFINITIONS {
        let place = ("config".to_owned(), key.to_owned());
        locked(&buckets.latest).insert(place, Bytes::from_static(text.as_bytes()));
    }
    let objects = buckets as Arc<dyn Objects>;
    let clock = Arc::clone(world);
    Context {
        sources: Arc::clone(&world.table) as Arc<dyn SourceTable>,
        ledger: Ledger::new(Arc::clone(&world.table) as Arc<dyn LedgerTable>),
        datasets: Datasets::new(Arc::clone(&objects), "config"),
        definitions: Sources::new(Arc::clone(&objects), "config"),
        objects,
        aside_bucket: "rejects".to_owned(),
        target: Arc::new(Inbox(Arc::clone(world))),
        fetcher: Arc::new(Api(Arc::clone(world))),
        parents: Arc::new(Stored(Arc::clone(world))),
        now: Box::new(move || clock.now()),
        part_bytes,
        minute: SignedDuration::from_mins(1),
    }
}

fn invocation(context: &Arc<Context>) -> Task<Result<(), PullerError>> {
    let context = Arc::clone(context);
    Box::pin(async move { puller::run(&context, Instant::now() + INVOCATION).await })
}

/// Checks that each run that created an object is recorded with what became of it.
async fn check_runs(world: &World) {
    for name in SOURCES {
        let record = world.table.0.source(name).await.unwrap().record;
        let runs = world
            .table
            .0
            .source_runs(name, 1, record.runs)
            .await
            .unwrap();
        assert!(runs.len() >= 5, "{name} ran only {} times", runs.len());
        for run in &runs {
            let job = run
                .object
                .as_ref()
                .map(|key| JobId::for_object("inbox", key, "1"));
            assert_eq!(run.job, job, "{run:?}");
            let has_object = matches!(run.outcome, Outcome::Succeeded | Outcome::JobFailed);
            assert_eq!(job.is_some(), has_object, "{run:?}");
            assert_eq!(
                run.reason.is_some(),
                matches!(run.outcome, Outcome::JobFailed | Outcome::Failed),
                "{run:?}"
            );
        }
    }
}
