//! What the sender of changes, and those who watch it, call of a store.

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, RowVersion, StoreKind, Value};

use crate::error::StoreError;
use crate::read::StoredRow;

/// A store that records which keys of a dataset have changed, for destinations that are to follow.
///
/// Leases and results are safe to repeat. A lease that ends without a result is due again; its outcome is then
/// uncertain.
#[async_trait]
pub trait ChangeStore: Send + Sync {
    /// Returns the kind of database.
    fn kind(&self) -> StoreKind;

    /// Makes the store record changes of the dataset for exactly these destinations. Prepares the dataset if there are
    /// any.
    /// Changes that are committed later are recorded, whatever definition their worker uses.
    ///
    /// Nearly free if nothing changes. What was recorded for a destination that is no longer named is deleted in
    /// bounded steps; if the call ends before that, the next one goes on. Fails with [`StoreError::Schema`] if the
    /// server is too old.
    async fn track(&self, dataset: &Dataset, destinations: &[String]) -> Result<(), StoreError>;

    /// Returns the datasets of this stack that changes are recorded of, or were until what is recorded is deleted, with
    /// the keys that the store has registered: a definition of them may no longer exist.
    async fn tracked(&self) -> Result<Vec<Dataset>, StoreError>;

    /// Leases at most `limit` keys that are due, the one that is due for longest first, until `lease.until`. Returns
    /// them with their rows as they stand, and fewer if their rows are big.
    ///
    /// No key is in two leases at once, as far as the clocks of the callers agree. Fails with
    /// [`StoreError::Untracked`] unless [`ChangeStore::track`] has named the destination.
    async fn lease(
        &self,
        dataset: &Dataset,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>, StoreError>;

    /// Records the results of leased keys, and returns how many of them still had this lease. The others are left as
    /// they are.
    ///
    /// A key that has changed since it was leased is due again.
    async fn record(
        &self,
        dataset: &Dataset,
        destination: &str,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64, StoreError>;

    /// Makes at most `limit` keys due now, and returns their number: 0 once none is left. Their rows are sent as they
    /// stand. Keys that are leased are left out.
    async fn redrive(
        &self,
        dataset: &Dataset,
        destination: &str,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError>;

    /// Takes a step of the first synchronisation: marks those of the next about `rows` rows as wanted whose keys the
    /// destination has never had to do with. Any caller can take the next step. A call after the last step begins
    /// again.
    async fn sync_step(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
        rows: u64,
    ) -> Result<SyncStep, StoreError>;
}

/// Reads what is recorded about the changes of a dataset. It locks and changes nothing.
///
/// Its calls fail with [`StoreError::Untracked`] unless [`ChangeStore::track`] has named the destination.
#[async_trait]
pub trait ChangeReader: Send + Sync {
    /// Counts the keys that are not sent.
    async fn summary(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
    ) -> Result<ChangeSummary, StoreError>;

    /// Returns a page of at most `limit` keys of a state, those that are due first in front, after the place that the
    /// previous page ended with.
    async fn list(
        &self,
        dataset: &Dataset,
        destination: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage, StoreError>;
}

/// A claim on keys, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Unique to the call of [`ChangeStore::lease`]: a UUID, for example. At most 64 ASCII characters.
    pub id: String,
    /// The time of the caller.
    pub now: Timestamp,
    /// When the keys are due again, unless a result is recorded before.
    pub until: Timestamp,
}

/// A key of a dataset whose change is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeKey {
    /// The values of the key, in the order of the key.
    pub values: Vec<Value>,
    /// Where the store keeps what it records about the key; 0 if it needs nothing but the values.
    pub place: i64,
}

/// A key that is leased, with its row.
#[derive(Clone, Debug, PartialEq)]
pub struct DueChange {
    /// The key.
    pub key: ChangeKey,
    /// The row as it stands; none if it is deleted.
    pub row: Option<StoredRow>,
    /// The version of the row, or that of the newest known change if it is deleted. An update and the delete after it
    /// may have the same one.
    pub version: RowVersion,
    /// What was sent last; none if the destination has never had to do with the key, or it was deleted there.
    pub sent: Option<Sent>,
    /// The number of earlier attempts to send the key that count, since it was last sent.
    pub attempts: u32,
    /// Whether it is unknown what has become of an earlier attempt.
    pub is_uncertain: bool,
    /// When the first change was recorded that is not sent.
    pub wanted_at: Timestamp,
}

/// What a destination has of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The version of the row that was sent.
    pub version: RowVersion,
    /// Whether the service has the key: not if it is not to have this row.
    pub exists: bool,
    /// The id that the service gave to the key, if it has the key.
    pub id: Option<String>,
}

/// What has become of a leased key.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeResult {
    /// The key, as it was leased.
    pub key: ChangeKey,
    /// The version, as it was leased.
    pub version: RowVersion,
    /// The outcome.
    pub outcome: ChangeOutcome,
}

/// The outcome of an attempt to send a change. Answers are cut to [`MAX_ANSWER_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The service has it, or has nothing to do with it.
    Sent {
        /// Whether the service has the key now.
        exists: bool,
        /// The id that the service gave; none keeps the one that is known, while the service has the key.
        id: Option<String>,
    },
    /// It is due again later.
    Retry {
        /// When.
        at: Timestamp,
        /// What the service answered.
        answer: String,
        /// Whether it counts in [`DueChange::attempts`].
        counts_as_attempt: bool,
        /// Whether the service may have processed it.
        uncertain: bool,
    },
    /// The service refused it for good.
    SetAside {
        /// What the service answered.
        answer: String,
        /// Whether later changes of the key wait until it is redriven.
        holds: bool,
    },
    /// It is unknown whether the service has processed it.
    Unknown {
        /// What is known.
        answer: String,
        /// Whether later changes of the key wait until it is redriven.
        holds: bool,
    },
    /// It was not sent, and is due at once.
    Released,
}

/// The maximum number of bytes of an answer that a store keeps.
pub const MAX_ANSWER_BYTES: usize = 2_000;

/// How many keys are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeSummary {
    /// Keys that wait: those that are due, leased, or due later.
    pub waiting: u64,
    /// Of these, the keys that are due and not leased.
    pub due: u64,
    /// Of these, the keys that are leased.
    pub leased: u64,
    /// Keys whose change was refused for good.
    pub set_aside: u64,
    /// Keys with an attempt whose outcome is unknown.
    pub unknown: u64,
    /// Changes that no lease has looked at yet, of any key and for all destinations. Counted up to
    /// [`MAX_COUNTED_ENTRIES`].
    pub recorded: u64,
    /// When the oldest change was recorded that waits to be sent.
    pub oldest_wanted_at: Option<Timestamp>,
}

impl ChangeSummary {
    /// Returns how many keys a redrive of these states has, see [`Selection::Matching`].
    pub fn redriven(&self, states: &[ChangeState]) -> u64 {
        let count = |state: &ChangeState| match state {
            ChangeState::Waiting => {
                let now = self.due.saturating_add(self.leased);
                self.waiting.saturating_sub(now)
            }
            ChangeState::SetAside => self.set_aside,
            ChangeState::Unknown => self.unknown,
        };
        states.iter().map(count).sum()
    }
}

/// Up to how many changes [`ChangeSummary::recorded`] counts.
pub const MAX_COUNTED_ENTRIES: u64 = 100_000;

/// A page of keys of a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangePage {
    /// The keys.
    pub changes: Vec<ListedChange>,
    /// Where the next page begins; none if there are no more keys.
    pub next: Option<String>,
}

/// A key that is not sent.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedChange {
    /// The key.
    pub key: ChangeKey,
    /// The version of the newest known change.
    pub wanted: RowVersion,
    /// When the first change was recorded that is not sent.
    pub wanted_at: Timestamp,
    /// What was sent last.
    pub sent: Option<Sent>,
    /// The number of attempts that count, since the key was last sent.
    pub attempts: u32,
    /// When it is due, or its lease ends.
    pub due_at: Timestamp,
    /// Whether it is leased.
    pub is_leased: bool,
    /// Whether it is unknown what has become of an attempt.
    pub is_uncertain: bool,
    /// Whether later changes of the key wait until it is redriven.
    pub holds: bool,
    /// What the service answered to the last attempt.
    pub answer: Option<String>,
}

/// Keys to send again.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// These keys, whatever their states are, also if they were sent. Keys that were never recorded are left out.
    Keys(Vec<Vec<Value>>),
    /// Keys by what has become of them. Those that have been set aside or unknown for longest come first. Of keys that
    /// wait, only those whose retry is later, the latest first.
    Matching {
        /// Their states.
        states: Vec<ChangeState>,
        /// A part of the last answer.
        answer: Option<String>,
    },
}

/// The result of a step of a first synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStep {
    /// The number of keys that all steps so far have marked.
    pub marked: u64,
    /// Whether this was the last one.
    pub is_done: bool,
}
