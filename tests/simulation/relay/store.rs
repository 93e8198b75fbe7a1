//! The store that records changes, as its port promises.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, JobId, ObjectOrder, RowVersion, StoreKind, Value};
use landfall_stores::{
    ChangeKey, ChangeOutcome, ChangeResult, ChangeStore, DueChange, Lease, Selection, Sent,
    StoreError, StoredRow, SyncStep,
};

use super::world::World;
use super::{GONE, dataset};
use crate::fakes::locked;
use crate::schedule::pause;

/// The number of rows of a step of a synchronisation.
const SYNC_ROWS: usize = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Waiting,
    SetAside,
    Unknown,
}

/// What is recorded about a key.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the columns are independent")]
pub(super) struct Change {
    pub(super) is_wanted: bool,
    pub(super) state: State,
    pub(super) due_at: Timestamp,
    wanted_at: Timestamp,
    changed_at: Timestamp,
    holds: bool,
    seq: i64,
    /// Whether no lease has looked at the change yet.
    is_recorded: bool,
    lease: Option<(Lease, i64, bool)>,
    sent: Option<Sent>,
    attempts: u32,
    is_uncertain: bool,
}

impl Change {
    /// Records a change.
    pub(super) fn changed(&mut self, seq: i64, now: Timestamp) {
        (self.seq, self.changed_at) = (seq, now);
        if !self.is_wanted {
            (self.is_wanted, self.wanted_at, self.due_at) = (true, now, now);
            self.is_recorded = true;
        }
        if self.state != State::Waiting && !self.holds {
            (self.state, self.due_at) = (State::Waiting, now);
        }
    }

    /// Makes it due again, as an operator wants.
    fn redrive(&mut self, now: Timestamp) {
        if !self.is_wanted {
            (self.is_wanted, self.wanted_at) = (true, now);
        }
        (self.state, self.due_at, self.attempts, self.holds) = (State::Waiting, now, 0, false);
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_leased = self
            .lease
            .as_ref()
            .is_some_and(|(lease, ..)| lease.until > now);
        self.is_wanted && self.state == State::Waiting && self.due_at <= now && !is_leased
    }

    fn settle(
        &mut self,
        outcome: &ChangeOutcome,
        version: RowVersion,
        leased: i64,
        had_row: bool,
        now: Timestamp,
    ) {
        let is_current = self.seq == leased;
        match outcome {
            ChangeOutcome::Sent { exists, id } => {
                let kept = self.sent.take().and_then(|sent| sent.id);
                if had_row || !is_current {
                    let id = id.clone().or(kept).filter(|_| *exists);
                    self.sent = Some(Sent {
                        version,
                        exists: *exists,
                        id,
                    });
                }
                (self.attempts, self.is_uncertain) = (0, false);
                (self.wanted_at, self.due_at) = (self.changed_at, now);
                self.is_wanted = !is_current;
            }
            ChangeOutcome::Retry {
                at,
                counts_as_attempt,
                uncertain,
                ..
            } => {
                self.due_at = *at;
                self.attempts += u32::from(*counts_as_attempt);
                self.is_uncertain |= uncertain;
            }
            ChangeOutcome::SetAside { holds, .. } | ChangeOutcome::Unknown { holds, .. } => {
                self.holds = *holds;
                let is_refused = matches!(outcome, ChangeOutcome::SetAside { .. });
                self.state = match (is_current || *holds, is_refused) {
                    (false, _) => State::Waiting,
                    (true, true) => State::SetAside,
                    (true, false) => State::Unknown,
                };
                self.due_at = now;
            }
            ChangeOutcome::Released => self.due_at = now,
        }
    }
}

pub(super) struct Changes(pub(super) Arc<World>);

impl Changes {
    /// Lets other tasks run. An error after the effect is a lost reply.
    async fn reply(&self) -> Result<(), StoreError> {
        pause().await;
        if self.0.goes_wrong(0.01) {
            let reason = "no reply".to_owned();
            return Err(StoreError::Unavailable {
                store: StoreKind::Sqlite,
                reason,
            });
        }
        Ok(())
    }
}

/// Returns the version of a change.
fn version(seq: i64) -> RowVersion {
    let job = JobId::for_object("inbox", "orders", "1");
    ObjectOrder::first(job).at(u64::try_from(seq).unwrap())
}

fn number(key: &ChangeKey) -> i64 {
    match key.values[..] {
        [Value::Integer(number)] => number,
        ref other => panic!("{other:?}"),
    }
}

#[async_trait]
impl ChangeStore for Changes {
    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    async fn track(&self, dataset: &Dataset, destinations: &[String]) -> Result<(), StoreError> {
        if dataset.name == GONE {
            assert_eq!(destinations, [""; 0]);
            locked(&self.0.tracked).remove(GONE);
            return self.reply().await;
        }
        let known: Vec<String> = locked(&self.0.changes).keys().cloned().collect();
        assert_eq!(destinations, known);
        self.reply().await
    }

    async fn lease(
        &self,
        _: &Dataset,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>, StoreError> {
        self.0.leases.fetch_add(1, Ordering::Relaxed);
        self.reply().await?;
        let mut leased = Vec::new();
        {
            let rows = locked(&self.0.rows);
            let mut changes = locked(&self.0.changes);
            let changes = changes.get_mut(destination).unwrap();
            for change in changes.values_mut().filter(|change| change.is_recorded) {
                change.is_recorded = false;
                change.due_at = change.due_at.min(lease.now);
            }
            let due = changes
                .iter_mut()
                .filter(|(_, change)| change.is_due(lease.now));
            let mut due: Vec<(&i64, &mut Change)> = due.collect();
            due.sort_by_key(|(_, change)| change.due_at);
            for (key, change) in due.into_iter().take(limit) {
                change.is_uncertain |= change.lease.is_some();
                let row = rows.0.get(key);
                change.lease = Some((lease.clone(), change.seq, row.is_some()));
                leased.push(DueChange {
                    key: ChangeKey {
                        values: vec![Value::Integer(*key)],
                        place: 0,
                    },
                    row: row.map(|(status, seq)| StoredRow {
                        values: vec![
                            Value::Integer(*key),
                            Value::Text((*status).into()),
                            Value::Integer(*seq),
                        ],
                        extra: None,
                    }),
                    version: version(change.seq),
                    sent: change.sent.clone(),
                    attempts: change.attempts,
                    is_uncertain: change.is_uncertain,
                    wanted_at: change.wanted_at,
                });
            }
        }
        self.reply().await.map(|()| leased)
    }

    async fn record(
        &self,
        _: &Dataset,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64, StoreError> {
        self.reply().await?;
        let mut recorded = 0;
        {
            let mut changes = locked(&self.0.changes);
            let changes = changes.get_mut(destination).unwrap();
            for result in results {
                let change = changes.get_mut(&number(&result.key)).unwrap();
                let Some((_, leased, had_row)) =
                    change.lease.take_if(|(current, ..)| current.id == lease.id)
                else {
                    continue;
                };
                change.settle(&result.outcome, result.version, leased, had_row, lease.now);
                recorded += 1;
            }
        }
        self.reply().await.map(|()| recorded)
    }

    async fn tracked(&self) -> Result<Vec<Dataset>, StoreError> {
        self.reply().await?;
        let names = locked(&self.0.tracked).clone();
        Ok(names.iter().map(|name| dataset(name)).collect())
    }

    async fn redrive(
        &self,
        _: &Dataset,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        self.reply().await?;
        let redriven = {
            let mut changes = locked(&self.0.changes);
            let changes = changes.get_mut(destination).unwrap();
            let selected = changes.iter_mut().filter(|(key, change)| match selection {
                Selection::Keys(keys) => {
                    let is_leased = change.lease.as_ref();
                    keys.contains(&vec![Value::Integer(**key)])
                        && is_leased.is_none_or(|(lease, ..)| lease.until <= now)
                }
                Selection::Matching { states, .. } => {
                    change.state == State::SetAside && states.contains(&ChangeState::SetAside)
                }
            });
            let mut selected: Vec<_> = selected.map(|(_, change)| change).collect();
            selected.sort_by_key(|change| change.due_at);
            selected.truncate(limit);
            for change in &mut selected {
                change.redrive(now);
            }
            selected.len() as u64
        };
        self.reply().await.map(|()| redriven)
    }

    async fn sync_step(
        &self,
        _: &Dataset,
        destination: &str,
        now: Timestamp,
        _: u64,
    ) -> Result<SyncStep, StoreError> {
        self.reply().await?;
        let step = {
            let rows = locked(&self.0.rows);
            let mut changes = locked(&self.0.changes);
            let changes = changes.get_mut(destination).unwrap();
            let mut syncs = locked(&self.0.syncs);
            let sync = syncs.entry(destination.to_owned()).or_default();
            let range: Vec<_> = rows.0.range(sync.0..).take(SYNC_ROWS).collect();
            for (key, (_, seq)) in &range {
                changes.entry(**key).or_insert_with(|| {
                    sync.1 += 1;
                    let mut change = Change::default();
                    change.changed(*seq, now);
                    change
                });
            }
            let (marked, is_done) = (sync.1, range.len() < SYNC_ROWS);
            match range.last() {
                Some((last, _)) if !is_done => sync.0 = **last + 1,
                _ => *sync = (0, 0),
            }
            SyncStep { marked, is_done }
        };
        self.reply().await.map(|()| step)
    }
}
