//! Random changes beside random leases and results, against a service that keeps what it receives.

use std::collections::BTreeMap;

use jiff::Timestamp;
use landfall_domain::{Row, RowVersion, Value};
use landfall_stores::{ChangeOutcome, ChangeSummary, DueChange, Lease};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::changes_again::all;
use crate::databases::{Database, dataset};
use crate::follower::Follower;
use crate::random::{Repeat, seed};
use crate::rows::{PAIRS, deleted_pair, pair};
use crate::worker::Worker;

const SNAPSHOTS: &str = r#"
key = ["id"]
mode = "snapshot"
fields = [{ name = "id", type = "text" }, { name = "note", type = "text" }]
"#;
const MERGED: &str = r#"
key = ["id"]
mode = "merge"
fields = [{ name = "id", type = "text" }, { name = "note", type = "text" }]
"#;

/// What a service has of each key: the note, and the version that it came with.
type Held = BTreeMap<String, (String, RowVersion)>;

/// A service, and what it may be sent.
#[derive(Default)]
struct Service {
    held: Held,
    /// The greatest version that each key was sent with.
    newest: BTreeMap<String, RowVersion>,
    /// Keys that are leased, with the end of the lease.
    leased: BTreeMap<String, Timestamp>,
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn key_of(change: &DueChange) -> String {
    text_of(&change.key.values[0])
}

impl Service {
    /// Checks what was leased against what the service has seen.
    fn lease(&mut self, lease: &Lease, due: &[DueChange]) {
        for change in due {
            let key = key_of(change);
            let other = self.leased.insert(key.clone(), lease.until);
            assert!(
                other.is_none_or(|until| until <= lease.now),
                "{key} is leased twice"
            );
            let newest = self.newest.get(&key);
            assert!(
                change.sent.is_none() || newest <= Some(&change.version),
                "an older state of {key} follows a newer one"
            );
            if !change.is_uncertain {
                let sent = change.sent.as_ref().map(|sent| sent.version);
                let held = self.held.get(&key).map(|(_, version)| *version);
                assert_eq!(sent, held, "what {key} was sent as");
            }
        }
    }

    /// Processes a change.
    fn receive(&mut self, change: &DueChange) {
        let key = key_of(change);
        self.newest.insert(key.clone(), change.version);
        match &change.row {
            Some(row) => {
                let note = text_of(&row.values[1]);
                self.held.insert(key, (note, change.version));
            }
            None => drop(self.held.remove(&key)),
        }
    }

    /// Returns a random outcome of a change, which the service may have processed.
    fn outcome(
        &mut self,
        change: &DueChange,
        now: Timestamp,
        random: &mut StdRng,
    ) -> ChangeOutcome {
        let answer = "503".to_owned();
        let holds = random.random_bool(0.5);
        match random.random_range(0..10) {
            0 => ChangeOutcome::Retry {
                at: now,
                answer,
                counts_as_attempt: true,
                uncertain: false,
            },
            1 => {
                if random.random_bool(0.5) {
                    self.receive(change);
                }
                ChangeOutcome::Retry {
                    at: now,
                    answer,
                    counts_as_attempt: true,
                    uncertain: true,
                }
            }
            2 => ChangeOutcome::SetAside { answer, holds },
            3 => {
                if random.random_bool(0.5) {
                    self.receive(change);
                }
                ChangeOutcome::Unknown { answer, holds }
            }
            4 => ChangeOutcome::Released,
            _ => {
                self.receive(change);
                ChangeOutcome::Sent {
                    exists: change.row.is_some(),
                    id: None,
                }
            }
        }
    }
}

fn random_rows(random: &mut StdRng) -> Vec<Row> {
    let mut keys: Vec<u32> = (0..12).collect();
    keys.shuffle(random);
    keys.truncate(random.random_range(1..8));
    let rows = keys.into_iter().map(|key| {
        let id = format!("key {key}");
        if random.random_ratio(1, 4) {
            return deleted_pair(&id);
        }
        // Few notes, so that many newer rows have the values of older ones.
        pair(&id, ["x", "y"].choose(random).unwrap())
    });
    rows.collect()
}

pub(crate) async fn random_changes_leases_and_results(database: &Database) {
    for case in 0..9 {
        let seed = if case < 6 { case } else { seed() };
        let repeat = Repeat(seed);
        let definition = [PAIRS, SNAPSHOTS, MERGED][usize::try_from(case % 3).unwrap()];
        random_case(database, definition, &mut StdRng::seed_from_u64(seed)).await;
        drop(repeat);
    }
}

async fn random_case(database: &Database, definition: &str, random: &mut StdRng) {
    let worker = Worker::of(database, definition).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    let mut service = Service::default();
    let mut leases: Vec<(Lease, Vec<DueChange>)> = Vec::new();
    let mut applied: Vec<(i64, Vec<Row>)> = Vec::new();
    for step in 0..60 {
        match random.random_range(0..10) {
            0..4 => {
                // In any order, and some again.
                let chunk = match applied.choose(random) {
                    Some(chunk) if random.random_ratio(1, 4) => chunk.clone(),
                    _ => (random.random_range(1..=step + 1), random_rows(random)),
                };
                worker.apply(chunk.0, chunk.1.clone()).await;
                applied.push(chunk);
            }
            4 if definition == SNAPSHOTS => {
                worker.prune(random.random_range(1..=step + 1)).await;
            }
            4..7 => {
                let limit = random.random_range(1..6);
                let (lease, due) = follower.lease("crm", limit).await;
                assert!(due.len() <= limit);
                service.lease(&lease, &due);
                leases.push((lease, due));
            }
            7 | 8 if !leases.is_empty() => {
                let (lease, due) = leases.swap_remove(random.random_range(0..leases.len()));
                let is_over = lease.until <= follower.now;
                let mut outcomes = BTreeMap::new();
                for change in &due {
                    // One who lost the lease does not call the service any more.
                    let outcome = if is_over {
                        ChangeOutcome::Released
                    } else {
                        service.outcome(change, follower.now, random)
                    };
                    outcomes.insert(key_of(change), outcome);
                }
                let outcome = |change: &DueChange| outcomes[&key_of(change)].clone();
                let held = follower.record("crm", &lease, &due, &outcome).await;
                if !is_over {
                    assert_eq!(held, due.len() as u64);
                    for change in &due {
                        service.leased.remove(&key_of(change));
                    }
                }
            }
            9 if random.random_ratio(1, 4) => follower.pass_lease(),
            9 => drop(follower.redrive("crm", &all(), 3).await),
            _ => {}
        }
    }
    // Everything is sent in the end.
    follower.pass_lease();
    while follower.redrive("crm", &all(), 5).await > 0 {}
    loop {
        let (lease, due) = follower.lease("crm", 5).await;
        service.lease(&lease, &due);
        if due.is_empty() {
            break;
        }
        for change in &due {
            service.receive(change);
            service.leased.remove(&key_of(change));
        }
        let sent = |change: &DueChange| ChangeOutcome::Sent {
            exists: change.row.is_some(),
            id: None,
        };
        assert_eq!(
            follower.record("crm", &lease, &due, &sent).await,
            due.len() as u64
        );
    }
    assert_eq!(follower.summary("crm").await, ChangeSummary::default());
    let rows = worker.notes().await.into_iter();
    let rows: BTreeMap<_, _> = rows.map(|(id, (note, _))| (id, note)).collect();
    let held = service.held.iter();
    let held: BTreeMap<_, _> = held
        .map(|(id, (note, _))| (id.clone(), note.clone()))
        .collect();
    assert_eq!(held, rows);
    worker.drop_table().await;
}

/// Two writers and two callers at once.
pub(crate) async fn two_callers_beside_two_writers(database: &Database) {
    let worker = Worker::new(database, dataset(PAIRS)).await;
    Follower::of(&worker, &["crm"]).await;
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let store = database.store().await;
        let dataset = worker.dataset.clone();
        writers.spawn(async move {
            let mut random = StdRng::seed_from_u64(writer);
            store.prepare(&dataset).await.unwrap();
            for moment in 1..40 {
                let moment = moment * 2 + i64::try_from(writer).unwrap();
                let rows = landfall_domain::latest_by_key(random_rows(&mut random), &dataset).0;
                let order = crate::rows::order(moment);
                store.apply(&dataset, &order, &rows.into()).await.unwrap();
            }
        });
    }
    let service = std::sync::Mutex::new(Service::default());
    let call = async |name: &str| {
        let mut follower = Follower::named(&worker, name).await;
        let mut idle = 0;
        while idle < 3 {
            let (lease, due) = follower.lease("crm", 4).await;
            {
                let mut service = service.lock().unwrap();
                for change in &due {
                    let key = key_of(change);
                    let other = service.leased.insert(key.clone(), lease.until);
                    assert!(other.is_none(), "{key} is leased twice");
                }
            }
            tokio::task::yield_now().await;
            for change in &due {
                service.lock().unwrap().receive(change);
            }
            // Before the result is recorded: afterwards, the other one may lease them.
            for change in &due {
                service.lock().unwrap().leased.remove(&key_of(change));
            }
            let sent = |change: &DueChange| ChangeOutcome::Sent {
                exists: change.row.is_some(),
                id: None,
            };
            assert_eq!(
                follower.record("crm", &lease, &due, &sent).await,
                due.len() as u64
            );
            idle = if due.is_empty() { idle + 1 } else { 0 };
        }
    };
    tokio::join!(call("one"), call("two"), async {
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    });
    call("three").await;
    let rows = worker.notes().await.into_iter();
    let rows: BTreeMap<_, _> = rows.map(|(id, (note, _))| (id, note)).collect();
    let service = service.into_inner().unwrap();
    let held = service.held.into_iter().map(|(id, (note, _))| (id, note));
    assert_eq!(held.collect::<BTreeMap<_, _>>(), rows);
    worker.drop_table().await;
}
