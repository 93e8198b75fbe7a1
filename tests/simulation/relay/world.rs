//! Time, rows, and what the store records about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::RelayMessage;
use landfall_domain::ChangeState;
use landfall_ledger::{
    DestinationTable as _, MemoryTable, TaskRequest, TaskSelection, request_task,
};
use landfall_runtime::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::service::Service;
use super::store::{Change, State};
use super::{DESTINATIONS, GONE, KEYS, ORDERS, Shared};
use crate::fakes::locked;
use crate::schedule::pause;

/// How long after it is paused a destination may send calls, in microseconds: a relay finds that out from time to time.
const PAUSES_WITHIN: i64 = 30_000_000;

/// A row: its status, and a number that grows with each change.
pub(super) type Row = (&'static str, i64);

pub(super) struct World {
    /// The true time, in microseconds since 1970.
    clock: Shared<i64>,
    pub(super) rng: Shared<StdRng>,
    pub(super) fails: Shared<bool>,
    pub(super) checks_rate: bool,
    pub(super) table: MemoryTable,
    /// The rows, and the number of changes.
    pub(super) rows: Shared<(BTreeMap<i64, Row>, i64)>,
    /// What is recorded about keys, by destination.
    pub(super) changes: Shared<BTreeMap<String, BTreeMap<i64, Change>>>,
    pub(super) services: Shared<BTreeMap<String, Service>>,
    down: Shared<BTreeSet<String>>,
    /// Messages that ring the relay, and when they are delivered.
    pub(super) bells: Shared<Vec<(i64, RelayMessage)>>,
    /// How often the store was asked for keys.
    pub(super) leases: AtomicUsize,
    /// Since when destinations are paused.
    paused: Shared<BTreeMap<String, i64>>,
    /// The key that the next step of a synchronisation begins with, and the number of keys that it has marked.
    pub(super) syncs: Shared<BTreeMap<String, (i64, u64)>>,
    /// The datasets that changes are recorded of.
    pub(super) tracked: Shared<BTreeSet<String>>,
}

impl World {
    pub(super) fn new(seed: u64, checks_rate: bool) -> Self {
        // They are older than the destinations.
        let rows = (0..KEYS).map(|key| (key, ("open", key + 1))).collect();
        let names = || DESTINATIONS.iter().map(|(name, _)| (*name).to_owned());
        Self {
            clock: 1_800_000_000_000_000.into(),
            rng: StdRng::seed_from_u64(seed ^ 1).into(),
            fails: true.into(),
            checks_rate,
            table: MemoryTable::default(),
            rows: (rows, KEYS).into(),
            changes: Shared::new(names().map(|name| (name, BTreeMap::new())).collect()),
            services: Shared::new(names().map(|name| (name, Service::default())).collect()),
            down: Shared::default(),
            bells: Shared::default(),
            leases: AtomicUsize::new(0),
            paused: Shared::default(),
            syncs: Shared::default(),
            tracked: Shared::new([GONE, ORDERS].map(str::to_owned).into()),
        }
    }

    pub(super) fn micros(&self) -> i64 {
        *locked(&self.clock)
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros()).unwrap()
    }

    pub(super) fn pass(&self, micros: i64) {
        *locked(&self.clock) += micros;
    }

    pub(super) fn goes_wrong(&self, share: f64) -> bool {
        *locked(&self.fails) && locked(&self.rng).random_bool(share)
    }

    pub(super) fn turn_down(&self, name: &str, is_down: bool) {
        let mut down = locked(&self.down);
        if is_down {
            down.insert(name.to_owned());
        } else {
            down.remove(name);
        }
    }

    pub(super) fn is_down(&self, name: &str) -> bool {
        *locked(&self.fails) && locked(&self.down).contains(name)
    }

    /// Changes or deletes a row, as a worker does, records that in the same transaction, and rings the relay.
    pub(super) fn write(&self, key: i64, status: Option<&'static str>) {
        let mut rows = locked(&self.rows);
        rows.1 += 1;
        let seq = rows.1;
        match status {
            Some(status) => drop(rows.0.insert(key, (status, seq))),
            None => drop(rows.0.remove(&key)),
        }
        let now = self.now();
        for changes in locked(&self.changes).values_mut() {
            changes.entry(key).or_default().changed(seq, now);
        }
        self.ring(&RelayMessage::Dataset("orders".to_owned()), 0);
    }

    /// Pauses or resumes a destination.
    pub(super) async fn pause(&self, name: &str, is_paused: bool) {
        if is_paused {
            self.table.pause_destination(name, "ann").await.unwrap();
            let now = self.micros();
            locked(&self.paused).entry(name.to_owned()).or_insert(now);
        } else {
            locked(&self.paused).remove(name);
            self.table.resume_destination(name).await.unwrap();
        }
    }

    /// Returns whether a destination has been paused for so long that it sends nothing.
    pub(super) fn is_paused(&self, name: &str) -> bool {
        let paused = locked(&self.paused).get(name).copied();
        paused.is_some_and(|since| self.micros() - since > PAUSES_WITHIN)
    }

    /// Requests a task, as the API does.
    pub(super) async fn request(&self, name: &str, request: &TaskRequest) {
        let now = self.now();
        let requested = request_task(&self.table, name, request, "ann", now).await;
        // There may be too many.
        drop(requested.unwrap());
    }

    /// Requests that all keys are sent again that are set aside.
    pub(super) async fn redrive(&self, name: &str) {
        let most = {
            let changes = locked(&self.changes);
            let changes = changes[name].values();
            let set_aside = changes.filter(|change| {
                assert_ne!(change.state, State::Unknown, "every call can be repeated");
                change.state == State::SetAside
            });
            set_aside.count() as u64
        };
        let states = vec![ChangeState::SetAside, ChangeState::Unknown];
        let selection = TaskSelection::Matching {
            states,
            answer: None,
        };
        self.request(name, &TaskRequest::Redrive { selection, most })
            .await;
    }

    /// Returns whether a task is unfinished.
    pub(super) async fn has_tasks(&self) -> bool {
        for (name, _) in DESTINATIONS {
            if self.table.tasks(name).await.unwrap().tasks.open().count() > 0 {
                return true;
            }
        }
        false
    }

    pub(super) fn is_waiting(&self) -> bool {
        let changes = locked(&self.changes);
        changes
            .values()
            .flat_map(BTreeMap::values)
            .any(|change| change.is_wanted)
    }

    pub(super) fn describe(&self) -> String {
        format!("{:?}", locked(&self.changes))
    }

    /// Checks that each service has the last row of each key, once.
    pub(super) fn check(&self) {
        let rows = locked(&self.rows);
        for (name, service) in locked(&self.services).iter() {
            for key in 0..KEYS {
                let expected = rows.0.get(&key).filter(|(status, _)| *status != "draft");
                let expected: Vec<i64> = expected.map(|(_, seq)| *seq).into_iter().collect();
                assert_eq!(service.seqs_of(key), expected, "{name} of {key}");
            }
            let tracked = locked(&self.tracked);
            assert!(
                tracked.iter().eq([ORDERS]),
                "changes are recorded of {tracked:?}"
            );
            // One that is down for most of the time has few.
            assert!(service.calls() > 0, "{name} had no calls");
        }
    }
}

/// The clock of an instance, which differs from the true time.
pub(super) struct InstanceClock {
    pub(super) world: Arc<World>,
    /// By how many microseconds it is ahead.
    pub(super) skew: i64,
}

#[async_trait]
impl Clock for InstanceClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.world.micros() + self.skew).unwrap()
    }

    async fn sleep(&self, time: Duration) {
        let end = self.world.micros() + i64::try_from(time.as_micros()).unwrap();
        while self.world.micros() < end {
            pause().await;
        }
    }
}
