//! Reading from an SQL database: questions become statements, and answers pages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{
    Dataset, FieldType, Measure, QueryError, RowQuery, Start, StoreKind, Total, Value,
};

use super::gather::{Gather, first_chars};
use super::plan::spans;
use super::statement::{Dialect, ReadColumn, ReadTable, Rows, Statement, groups};
use super::{ReadOptions, Reader, RowPage, StoredRow, TotalsPage};
use crate::StoreError;
use crate::schema::Table;
use crate::text::without_zeros;

/// What is to be found in an SQL database about a table.
pub(crate) struct Found {
    pub(crate) table: ReadTable,
    /// Whether columns and indexes are all there, so that it need not be looked at again.
    pub(crate) is_complete: bool,
}

/// An SQL database that answers statements.
#[async_trait]
pub(crate) trait SqlDatabase: Send + Sync {
    const KIND: StoreKind;
    type Dialect: Dialect;

    fn dialect(&self) -> &Self::Dialect;

    /// The table of a dataset, if it is there.
    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>, StoreError>;

    /// The table of a total, with the columns of the group, the measures and the group's name as text; sums as
    /// text. None if it is not there.
    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
    ) -> Result<Option<ReadTable>, StoreError>;

    /// Takes the rows that a statement gives until the page is full.
    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        page: Gather,
    ) -> Result<Gather, StoreError>;

    /// The number that a statement gives.
    async fn count(&self, statement: Statement) -> Result<u64, StoreError>;
}

/// A reader of an SQL database.
pub(crate) struct SqlReader<D> {
    database: D,
    options: ReadOptions,
    known: Mutex<HashMap<String, (Table, Arc<ReadTable>)>>,
}

impl<D: SqlDatabase> SqlReader<D> {
    pub(crate) fn new(database: D, options: ReadOptions) -> Self {
        Self {
            database,
            options,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Table, Arc<ReadTable>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn table(&self, dataset: &Dataset) -> Result<Option<Arc<ReadTable>>, StoreError> {
        let table = Table::of(dataset, D::KIND)?;
        if let Some((known, read)) = self.known().get(&table.name)
            && *known == table
        {
            return Ok(Some(Arc::clone(read)));
        }
        let Some(found) = self.database.table(dataset, &table).await? else {
            return Ok(None);
        };
        let read = Arc::new(found.table);
        if found.is_complete {
            let name = table.name.clone();
            self.known().insert(name, (table, Arc::clone(&read)));
        }
        Ok(Some(read))
    }

    async fn page(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError> {
        query.check(dataset)?;
        let mut page = Gather::new(query.limit, self.options.page_bytes);
        let Some(table) = self.table(dataset).await? else {
            return Ok(page.page(dataset, query));
        };
        let rows = Rows {
            dialect: self.database.dialect(),
            dataset,
            table: &table,
            query,
        };
        let mut skip = match query.start {
            Start::Skip(rows) => rows,
            Start::First | Start::After(_) => 0,
        };
        let spans = spans(dataset, query);
        for (at, span) in spans.iter().enumerate() {
            let before = page.len();
            let select = rows.select(span, page.wanted(), skip);
            page = self.database.fetch(&table, select, page).await?;
            if page.is_full() {
                break;
            }
            if page.len() > before {
                skip = 0;
            } else if skip > 0 && at + 1 < spans.len() {
                let here = self.database.count(rows.count(span)).await?;
                skip = skip.saturating_sub(here);
            }
        }
        Ok(page.page(dataset, query))
    }

    async fn groups(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage, StoreError> {
        let by = total.by.len();
        let (place, skip) = match start {
            Start::First => (None, 0),
            Start::Skip(groups) => (None, *groups),
            Start::After(place) if place.len() == by + 1 => (Some(place.as_slice()), 0),
            Start::After(_) => return Err(QueryError::Cursor.into()),
        };
        if !(1..=landfall_domain::MAX_PAGE_ROWS).contains(&limit) {
            return Err(QueryError::Limit.into());
        }
        let page = Gather::new(limit, self.options.page_bytes);
        let Some(table) = self.database.totals(dataset, total).await? else {
            let groups = Vec::new();
            return Ok(TotalsPage { groups, next: None });
        };
        let table = Arc::new(table);
        let select = groups(
            self.database.dialect(),
            &table,
            place,
            by,
            page.wanted(),
            skip,
        );
        let page = self.database.fetch(&table, select, page).await?;
        let is_full = page.is_full();
        let mut groups: Vec<Vec<Value>> =
            page.into_rows().into_iter().map(|row| row.values).collect();
        let next = groups.last().filter(|_| is_full).map(|group| {
            let values = group[..by].iter().map(beginning);
            values.chain(group.last().cloned()).collect()
        });
        for group in &mut groups {
            group.pop();
            for (value, column) in group[by..].iter_mut().zip(&total.columns) {
                if let Measure::Sum(field) = &column.measure {
                    *value = sum(
                        kind_of(dataset, field),
                        std::mem::replace(value, Value::Null),
                    );
                }
            }
        }
        Ok(TotalsPage { groups, next })
    }

    /// Gives up on a database that does not answer, and looks at the table again after an error.
    async fn within<T>(
        &self,
        dataset: &Dataset,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(D::KIND, self.options.timeout, work)
            .await
            .inspect_err(|_| drop(self.known().remove(&dataset.name)))
    }
}

#[async_trait]
impl<D: SqlDatabase> Reader for SqlReader<D> {
    fn kind(&self) -> StoreKind {
        D::KIND
    }

    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.within(dataset, self.page(dataset, query)).await
    }

    async fn row(&self, dataset: &Dataset, key: &[Value]) -> Result<Option<StoredRow>, StoreError> {
        let query = RowQuery::of_key(dataset, key)?;
        let page = self.within(dataset, self.page(dataset, &query)).await?;
        Ok(page.rows.into_iter().next())
    }

    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage, StoreError> {
        self.within(dataset, self.groups(dataset, total, start, limit))
            .await
    }
}

/// How long a call may go on when the time of a statement is over, which the database should have ended by then.
const GRACE: Duration = Duration::from_secs(2);

/// Gives up on a database that does not answer.
pub(crate) async fn within<T>(
    store: StoreKind,
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let longest = timeout + GRACE;
    tokio::time::timeout(longest, work)
        .await
        .unwrap_or_else(|_| {
            let reason = format!("no answer after {} ms", longest.as_millis());
            Err(StoreError::unavailable(store, reason))
        })
}

/// Type of a field of the dataset, which totals only have such of.
fn kind_of(dataset: &Dataset, name: &str) -> FieldType {
    let field = dataset.fields.iter().find(|field| field.name == name);
    field.map_or(FieldType::Text, |field| field.kind)
}

/// The columns of a table of totals: what its groups are by, the measures, and the group's name.
///
/// `column` describes one that is there, and whether it is read by its beginnings; `text` is a number's text.
pub(crate) fn columns_of_totals(
    dataset: &Dataset,
    total: &Total,
    column: impl Fn(&str, FieldType, bool) -> ReadColumn,
    text: impl Fn(&str) -> String,
    group: ReadColumn,
) -> Vec<ReadColumn> {
    let by = total.by.iter().map(|name| {
        let kind = kind_of(dataset, name);
        column(name, kind, kind == FieldType::Text)
    });
    let measures = total.columns.iter().map(|measured| {
        let name = &measured.name;
        match &measured.measure {
            Measure::Count => column(name, FieldType::Integer, false),
            // Sums go beyond what an integer holds.
            Measure::Sum(_) => ReadColumn {
                value: text(name),
                ..column(name, FieldType::Text, false)
            },
            Measure::Min(field) | Measure::Max(field) => {
                column(name, kind_of(dataset, field), false)
            }
        }
    });
    by.chain(measures).chain([group]).collect()
}

fn beginning(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(first_chars(text).into()),
        other => other.clone(),
    }
}

/// A sum from its text: an integer where it is one of integers and fits, else an exact number.
fn sum(kind: FieldType, text: Value) -> Value {
    let Value::Text(text) = text else {
        return text;
    };
    let plain = without_zeros(&text);
    match plain.parse() {
        Ok(number) if kind == FieldType::Integer => Value::Integer(number),
        _ => Value::Text(plain.into()),
    }
}
