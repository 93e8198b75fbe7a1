//! What the calls do within a transaction of an SQL database.

use jiff::Timestamp;
use landfall_domain::{Dataset, RowVersion, StoreKind};

use super::cells::{Cells, all, numbered, numbers, unreadable};
use super::results::unsent_key;
use super::statements::{ChangeDialect, STATE_COLUMNS, Statements};
use super::updates::{Leased, SentKey};
use super::{
    ChangeKey, ChangeOutcome, ChangePage, ChangeResult, ChangeState, ChangeSummary, DueChange,
    Lease, ListedChange, MAX_COUNTED_ENTRIES, Selection, Sent, milliseconds, timestamp,
};
use crate::error::{Result, StoreError};
use crate::read::StoredRow;
use crate::read::page::PageBuilder;
use crate::read::statement::{ReadTable, Statement};
use crate::registry::{Entry, unsigned};
use crate::schema::Table;

/// The maximum number of recorded changes that a lease looks at.
const FOLDED: u64 = 10_000;
/// Bytes of rows after which a lease ends before its limit.
const LEASED_BYTES: usize = 8 << 20;
/// The maximum number of keys of a statement.
pub(super) const KEYS: usize = 200;

/// A transaction of an SQL database.
pub(crate) trait ChangeTransaction {
    type Dialect: ChangeDialect;
    const STORE: StoreKind;

    fn dialect(&self) -> Self::Dialect;

    /// Returns the registry entry of a dataset, whose destinations stay as they are until the transaction ends.
    fn destinations(&mut self, dataset: &str) -> impl Future<Output = Result<Entry>> + Send;

    /// Runs a statement, and returns the number of rows that it has written.
    fn execute(&mut self, statement: Statement) -> impl Future<Output = Result<u64>> + Send;

    /// Adds the rows of a statement until the page is full.
    fn fetch(
        &mut self,
        table: &ReadTable,
        statement: Statement,
        page: PageBuilder,
    ) -> impl Future<Output = Result<PageBuilder>> + Send;

    /// Moves at most so many recorded changes to the keys of these destinations. Returns how many there were.
    fn fold(
        &mut self,
        dataset: &Dataset,
        table: &Table,
        destinations: &[String],
        now: i64,
        limit: u64,
    ) -> impl Future<Output = Result<u64>> + Send;
}

/// A destination of a dataset.
pub(crate) struct Call<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a Table,
    pub(crate) destination: &'a str,
}

impl Call<'_> {
    fn statements<'s, D>(&'s self, dialect: &'s D) -> Statements<'s, D> {
        Statements {
            dialect,
            dataset: self.dataset,
            table: self.table,
        }
    }

    /// Fails unless changes are recorded for the destination.
    pub(crate) fn check(&self, store: StoreKind, entry: &Entry) -> Result<()> {
        let destinations = &entry.registered.tracking.destinations;
        if destinations.iter().any(|name| name == self.destination) {
            return Ok(());
        }
        Err(StoreError::Untracked {
            store,
            dataset: self.table.name.clone(),
            destination: self.destination.to_owned(),
        })
    }

    /// Moves recorded changes to the keys of all destinations.
    pub(crate) async fn fold<T: ChangeTransaction>(&self, tx: &mut T, lease: &Lease) -> Result<()> {
        let entry = tx.destinations(&self.table.name).await?;
        self.check(T::STORE, &entry)?;
        let destinations = &entry.registered.tracking.destinations;
        let now = milliseconds(lease.now);
        tx.fold(self.dataset, self.table, destinations, now, FOLDED)
            .await
            .map(drop)
    }

    /// Leases keys that are due.
    pub(crate) async fn lease<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<DueChange>> {
        let dialect = tx.dialect();
        let statements = self.statements(&dialect);
        let due = statements.due(self.destination, milliseconds(lease.now), limit);
        let due = all(tx, &statements.state_table(), due).await?;
        let due = due.into_iter().map(read_key::<T>);
        let mut due: Vec<ListedKey> = due.collect::<Result<_>>()?;
        let ids: Vec<i64> = due.iter().map(ListedKey::id).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // After the keys are locked, in another statement: it sees every change that others have looked at.
        let (table, select) = statements.rows_of(&ids);
        let most = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let page = tx
            .fetch(&table, select, PageBuilder::new(most, LEASED_BYTES))
            .await?;
        let is_cut = page.is_full();
        let rows = page.into_rows().into_iter().map(numbered::<T>);
        let rows: Vec<(i64, RowVersion, StoredRow)> = rows.collect::<Result<_>>()?;
        if is_cut && let Some((last, ..)) = rows.last() {
            let last = due.iter().position(|key| key.id() == *last);
            due.truncate(last.map_or(0, |last| last + 1));
        }
        let mut rows = rows.into_iter().peekable();
        let mut changes = Vec::with_capacity(due.len());
        for key in due {
            let row = rows.next_if(|(id, ..)| *id == key.id());
            changes.push(key.leased(row));
        }
        for changes in changes.chunks(KEYS) {
            let keys = changes.iter().map(|change| Leased {
                id: change.key.place,
                version: change.version,
                is_gone: change.row.is_none(),
            });
            let keys: Vec<_> = keys.collect();
            let until = milliseconds(lease.until);
            tx.execute(statements.lease(&keys, &lease.id, until))
                .await?;
        }
        Ok(changes)
    }

    /// Records results. Returns how many leases were still held.
    pub(crate) async fn record<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        lease: &Lease,
        results: &[ChangeResult],
    ) -> Result<u64> {
        let dialect = tx.dialect();
        let statements = self.statements(&dialect);
        // In the order of their numbers, so that two callers do not deadlock.
        let mut results: Vec<&ChangeResult> = results.iter().collect();
        results.sort_unstable_by_key(|result| result.key.place);
        let now = milliseconds(lease.now);
        let (mut sent, mut unsent) = (Vec::new(), Vec::new());
        for result in results {
            match &result.outcome {
                ChangeOutcome::Sent { id } => sent.push(SentKey {
                    id: result.key.place,
                    version: result.version,
                    sent_as: id.as_deref(),
                }),
                outcome => unsent.push(unsent_key(result, outcome, now)),
            }
        }
        let mut held = 0;
        for keys in sent.chunks(KEYS) {
            held += tx.execute(statements.sent(keys, &lease.id, now)).await?;
            tx.execute(statements.forget_gone(keys)).await?;
        }
        for keys in unsent.chunks(KEYS) {
            held += tx.execute(statements.unsent(keys, &lease.id)).await?;
        }
        Ok(held)
    }

    pub(crate) async fn summary<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        now: Timestamp,
    ) -> Result<ChangeSummary> {
        let entry = tx.destinations(&self.table.name).await?;
        self.check(T::STORE, &entry)?;
        let dialect = tx.dialect();
        let statements = self.statements(&dialect);
        let (table, select) = statements.summary(self.destination, milliseconds(now));
        let mut summary = ChangeSummary::default();
        let mut oldest = None;
        for row in all(tx, &table, select).await? {
            let mut cells = Cells::<T>::new(row);
            let state = cells.text()?.unwrap_or_default();
            let count = unsigned(T::STORE, cells.integer()?)?;
            let (leased, due) = (cells.integer()?, cells.integer()?);
            match state.as_str() {
                "set_aside" => summary.set_aside = count,
                "unknown" => summary.unknown = count,
                _ => {
                    summary.waiting = count;
                    summary.leased = unsigned(T::STORE, leased)?;
                    summary.due = unsigned(T::STORE, due)?;
                    oldest = cells.maybe_integer()?;
                }
            }
        }
        let (table, select) = statements.recorded(MAX_COUNTED_ENTRIES);
        for row in all(tx, &table, select).await? {
            let mut cells = Cells::<T>::new(row);
            summary.recorded = unsigned(T::STORE, cells.integer()?)?;
            oldest = [oldest, cells.maybe_integer()?].into_iter().flatten().min();
        }
        summary.oldest_wanted_at = oldest
            .map(|oldest| timestamp(T::STORE, oldest))
            .transpose()?;
        Ok(summary)
    }

    pub(crate) async fn list<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage> {
        let entry = tx.destinations(&self.table.name).await?;
        self.check(T::STORE, &entry)?;
        let dialect = tx.dialect();
        let statements = self.statements(&dialect);
        let after = after.map(|after| {
            let place = after.split_once(' ');
            let place = place.and_then(|(due, id)| Some((due.parse().ok()?, id.parse().ok()?)));
            place.ok_or_else(|| StoreError::from(landfall_domain::QueryError::Cursor))
        });
        let select = statements.listed(self.destination, state, after.transpose()?, limit + 1);
        let mut rows = all(tx, &statements.state_table(), select).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let changes = rows.into_iter().map(|row| Ok(read_key::<T>(row)?.listed));
        let changes: Vec<ListedChange> = changes.collect::<Result<_>>()?;
        let last = changes.last().filter(|_| has_more);
        let next = last.map(|last| format!("{} {}", milliseconds(last.due_at), last.key.place));
        Ok(ChangePage { changes, next })
    }

    pub(crate) async fn redrive<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        selection: &Selection,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64> {
        let entry = tx.destinations(&self.table.name).await?;
        self.check(T::STORE, &entry)?;
        let dialect = tx.dialect();
        let statements = self.statements(&dialect);
        let now = milliseconds(now);
        let mut ids = Vec::new();
        let of_states =
            |states: &[ChangeState]| statements.of_states(self.destination, states, now, limit);
        let selects = match selection {
            Selection::Keys(keys) => {
                let keys = keys.iter().take(limit);
                keys.map(|key| statements.of_key(self.destination, key, now))
                    .collect()
            }
            Selection::State(state) => vec![of_states(&[*state])],
            Selection::All => vec![of_states(&[ChangeState::SetAside, ChangeState::Unknown])],
        };
        for select in selects {
            ids.extend(numbers(tx, select).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        let mut made_due = 0;
        for ids in ids.chunks(KEYS) {
            made_due += tx.execute(statements.make_due(ids, now)).await?;
        }
        Ok(made_due)
    }

    /// Adds the keys of a range of rows, and returns how many are new.
    pub(crate) async fn sync<T: ChangeTransaction>(
        &self,
        tx: &mut T,
        condition: &str,
        now: Timestamp,
    ) -> Result<u64> {
        let dialect = tx.dialect();
        let sync = self
            .statements(&dialect)
            .sync(self.destination, condition, milliseconds(now));
        tx.execute(sync).await
    }
}

/// Reads the columns of a key and its state.
fn read_key<T: ChangeTransaction>(row: StoredRow) -> Result<ListedKey> {
    let mut values = row.values;
    let state = values.split_off(values.len().saturating_sub(STATE_COLUMNS));
    let mut cells = Cells::<T>::of(state);
    let place = cells.integer()?;
    let wanted = cells.version()?.ok_or_else(unreadable::<T>)?;
    let wanted_at = timestamp(T::STORE, cells.integer()?)?;
    let sent = cells.version()?;
    let id = cells.text()?;
    let attempts = u32::try_from(cells.integer()?).map_err(|_| unreadable::<T>())?;
    Ok(ListedKey {
        listed: ListedChange {
            key: ChangeKey { values, place },
            wanted,
            wanted_at,
            sent: sent.map(|version| Sent { version, id }),
            attempts,
            due_at: timestamp(T::STORE, cells.integer()?)?,
            is_leased: cells.integer()? == 1,
            is_uncertain: cells.integer()? == 1,
            holds: cells.integer()? == 1,
            answer: cells.text()?,
        },
    })
}

struct ListedKey {
    listed: ListedChange,
}

impl ListedKey {
    fn id(&self) -> i64 {
        self.listed.key.place
    }

    /// Returns the change to send, with the row as it stands.
    fn leased(self, row: Option<(i64, RowVersion, StoredRow)>) -> DueChange {
        let listed = self.listed;
        let version = row
            .as_ref()
            .map_or(listed.wanted, |(_, version, _)| *version);
        DueChange {
            key: listed.key,
            row: row.map(|(.., row)| row),
            version,
            sent: listed.sent,
            attempts: listed.attempts,
            // A lease that ended without a result.
            is_uncertain: listed.is_uncertain || listed.is_leased,
            wanted_at: listed.wanted_at,
        }
    }
}
