//! Reads what an SQL database has recorded, by single statements that lock nothing.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, QueryError};

use super::cells::Cells;
use super::listed::ListedKey;
use super::statements::{ChangeDialect, Statements};
use super::{
    ChangePage, ChangeReader, ChangeSummary, ListedChange, MAX_COUNTED_ENTRIES, Tracking,
    check_name, milliseconds, timestamp,
};
use crate::error::Result;
use crate::read::StoredRow;
use crate::read::page::PageBuilder;
use crate::read::sql::{SqlDatabase, SqlReader};
use crate::read::statement::{ReadTable, Statement};
use crate::registry::unsigned;
use crate::schema::Table;

/// An SQL database that recorded changes are read from.
#[async_trait]
pub(crate) trait ReadChanges: SqlDatabase {
    type Changes: ChangeDialect;

    /// Returns how the database writes the statements about keys.
    async fn changes(&self) -> Result<Self::Changes>;
}

async fn all<D: SqlDatabase>(
    database: &D,
    table: ReadTable,
    select: Statement,
) -> Result<Vec<StoredRow>> {
    let page = PageBuilder::new(u32::MAX, usize::MAX);
    let page = database.fetch(&Arc::new(table), select, page).await?;
    Ok(page.into_rows())
}

/// Returns the table of a dataset, if changes are recorded for the destination.
async fn tracked<D: SqlDatabase>(
    database: &D,
    dataset: &Dataset,
    destination: &str,
) -> Result<Table> {
    check_name(destination)?;
    let table = Table::new(dataset, D::KIND)?;
    let entry = database.entry(&table.name).await?;
    let tracking = entry.map_or_else(Tracking::default, |entry| entry.registered.tracking);
    tracking.check(D::KIND, &table.name, destination)?;
    Ok(table)
}

async fn summary<D: ReadChanges>(
    database: &D,
    dataset: &Dataset,
    destination: &str,
    now: Timestamp,
) -> Result<ChangeSummary> {
    let table = &tracked(database, dataset, destination).await?;
    let dialect = &database.changes().await?;
    let statements = Statements {
        dialect,
        dataset,
        table,
    };
    let (columns, select) = statements.summary(destination, milliseconds(now));
    let mut summary = ChangeSummary::default();
    let mut oldest = None;
    for row in all(database, columns, select).await? {
        let mut cells = Cells::new(D::KIND, row.values);
        let state = cells.text()?.unwrap_or_default();
        let count = unsigned(D::KIND, cells.integer()?)?;
        let (leased, due) = (cells.integer()?, cells.integer()?);
        match state.as_str() {
            "set_aside" => summary.set_aside = count,
            "unknown" => summary.unknown = count,
            _ => {
                summary.waiting = count;
                summary.leased = unsigned(D::KIND, leased)?;
                summary.due = unsigned(D::KIND, due)?;
                oldest = cells.maybe_integer()?;
            }
        }
    }
    let (columns, select) = statements.recorded(MAX_COUNTED_ENTRIES);
    for row in all(database, columns, select).await? {
        let mut cells = Cells::new(D::KIND, row.values);
        summary.recorded = unsigned(D::KIND, cells.integer()?)?;
        oldest = [oldest, cells.maybe_integer()?].into_iter().flatten().min();
    }
    let oldest = oldest.map(|oldest| timestamp(D::KIND, oldest));
    summary.oldest_wanted_at = oldest.transpose()?;
    Ok(summary)
}

async fn list<D: ReadChanges>(
    database: &D,
    dataset: &Dataset,
    destination: &str,
    state: ChangeState,
    after: Option<&str>,
    limit: usize,
) -> Result<ChangePage> {
    let table = &tracked(database, dataset, destination).await?;
    let dialect = &database.changes().await?;
    let statements = Statements {
        dialect,
        dataset,
        table,
    };
    let after = after.map(|after| {
        let place = after.split_once(' ');
        let place = place.and_then(|(due, id)| Some((due.parse().ok()?, id.parse().ok()?)));
        place.ok_or(QueryError::Cursor)
    });
    let select = statements.listed(destination, state, after.transpose()?, limit + 1);
    let mut rows = all(database, statements.state_table(), select).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let changes = rows.into_iter();
    let changes = changes.map(|row| Ok(ListedKey::read(D::KIND, row)?.listed));
    let changes: Vec<ListedChange> = changes.collect::<Result<_>>()?;
    let last = changes.last().filter(|_| has_more);
    let next = last.map(|last| format!("{} {}", milliseconds(last.due_at), last.key.place));
    Ok(ChangePage { changes, next })
}

#[async_trait]
impl<D: ReadChanges> ChangeReader for SqlReader<D> {
    async fn summary(
        &self,
        dataset: &Dataset,
        destination: &str,
        now: Timestamp,
    ) -> Result<ChangeSummary> {
        let summary = summary(self.database(), dataset, destination, now);
        self.within(dataset, summary).await
    }

    async fn list(
        &self,
        dataset: &Dataset,
        destination: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage> {
        let page = list(self.database(), dataset, destination, state, after, limit);
        self.within(dataset, page).await
    }
}
