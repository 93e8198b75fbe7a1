//! Time, rows, and what the store records about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::RelayMessage;
use landfall_ledger::MemoryTable;
use landfall_runtime::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::service::Service;
use super::store::{Change, State};
use super::{DESTINATIONS, KEYS, Shared};
use crate::fakes::locked;
use crate::schedule::pause;

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
}

impl World {
    pub(super) fn new(seed: u64, checks_rate: bool) -> Self {
        let names = || DESTINATIONS.iter().map(|(name, _)| (*name).to_owned());
        Self {
            clock: 1_800_000_000_000_000.into(),
            rng: StdRng::seed_from_u64(seed ^ 1).into(),
            fails: true.into(),
            checks_rate,
            table: MemoryTable::default(),
            rows: Shared::default(),
            changes: Shared::new(names().map(|name| (name, BTreeMap::new())).collect()),
            services: Shared::new(names().map(|name| (name, Service::default())).collect()),
            down: Shared::default(),
            bells: Shared::default(),
            leases: AtomicUsize::new(0),
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
        self.ring(RelayMessage::Dataset("orders".to_owned()), 0);
    }

    /// Makes all keys due that are set aside.
    pub(super) fn redrive(&self) {
        let now = self.now();
        for change in locked(&self.changes)
            .values_mut()
            .flat_map(BTreeMap::values_mut)
        {
            assert_ne!(change.state, State::Unknown, "every call can be repeated");
            if change.state == State::SetAside {
                (change.state, change.due_at) = (State::Waiting, now);
            }
        }
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
