//! What the calls do within a transaction of an SQL database.

use jiff::Timestamp;
use landfall_domain::{Dataset, RowVersion, StoreKind};

use super::cells::{all, numbered, numbers};
use super::listed::ListedKey;
use super::results::unsent_key;
use super::statements::{ChangeDialect, Statements};
use super::updates::{Leased, SentKey};
use super::{ChangeOutcome, ChangeResult, DueChange, Lease, Selection, milliseconds};
use crate::error::Result;
use crate::read::StoredRow;
use crate::read::page::PageBuilder;
use crate::read::statement::{ReadTable, Statement};
use crate::registry::Entry;
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
        let tracking = &entry.registered.tracking;
        tracking.check(store, &self.table.name, self.destination)
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
        let due = due.into_iter().map(|row| ListedKey::read(T::STORE, row));
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
        let rows = page
            .into_rows()
            .into_iter()
            .map(|row| numbered(T::STORE, row));
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
                ChangeOutcome::Sent { exists, id } => sent.push(SentKey {
                    id: result.key.place,
                    version: result.version,
                    exists: *exists,
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
        match selection {
            Selection::Keys(keys) => {
                for key in keys.iter().take(limit) {
                    let select = statements.of_key(self.destination, key, now);
                    ids.extend(numbers(tx, select).await?);
                }
            }
            Selection::Matching { states, answer } => {
                for state in states {
                    let left = limit.saturating_sub(ids.len());
                    let (destination, answer) = (self.destination, answer.as_deref());
                    let select = statements.matching(destination, *state, answer, now, left);
                    ids.extend(numbers(tx, select).await?);
                }
            }
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
