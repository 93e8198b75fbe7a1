//! Reads from an SQL database: turns queries into statements, and results into pages.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use landfall_domain::{
    Dataset, FieldType, Measure, QueryError, RowQuery, Search, Start, StoreKind, Total, Value,
};

use super::key_versions::{self, VersionColumns};
use super::numbers;
use super::page::{PageBuilder, cut};
use super::plan::spans;
use super::statement::{
    Candidates, Dialect, ReadColumn, ReadTable, Rows, Statement, groups, groups_of,
};
use super::{KeyVersions, ReadOptions, Reader, RowPage, StoredRow, TotalsPage};
use crate::error::{Result, StoreError};
use crate::registry::Entry;
use crate::retry::with_timeout;
use crate::schema::{EXTRA, Table, search_of};
use crate::text::without_zeros;

/// The number of matching rows from which a page is found sooner in the order of the rows than by an index.
const MANY_FOUND: u64 = 2_000;

pub(crate) struct Found {
    pub(crate) table: ReadTable,
    /// Whether all columns and indexes exist, so that the table need not be looked up again.
    pub(crate) is_complete: bool,
}

/// An SQL database that statements read from.
#[async_trait]
pub(crate) trait SqlDatabase: Dialect {
    const KIND: StoreKind;

    /// Returns the table of a dataset, if it exists.
    async fn table(&self, dataset: &Dataset, table: &Table) -> Result<Option<Found>>;

    /// Returns the table of a total, if it exists. Its columns are those of the group, the measures (sums as text),
    /// and the name of the group as text.
    async fn totals(&self, dataset: &Dataset, total: &Total) -> Result<Option<ReadTable>>;

    /// Adds the rows of a statement until the page is full.
    async fn fetch(
        &self,
        table: &Arc<ReadTable>,
        statement: Statement,
        page: PageBuilder,
    ) -> Result<PageBuilder>;

    /// Runs a statement that counts, and returns its number.
    async fn count(&self, statement: Statement) -> Result<u64>;

    /// Returns the candidates of a search, for databases in which they are not a condition; none if a page is full
    /// sooner in the order of the rows.
    async fn find_candidates(
        &self,
        _dataset: &Dataset,
        _query: &RowQuery,
        _search: &Search,
    ) -> Result<Option<Candidates>> {
        Ok(None)
    }

    /// Returns the entry of a dataset in the registry, if it has one.
    async fn entry(&self, dataset: &str) -> Result<Option<Entry>>;

    /// Runs a statement that selects the versions of a key.
    async fn versions(&self, statement: Statement) -> Result<Vec<VersionColumns>>;
}

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

    pub(crate) fn database(&self) -> &D {
        &self.database
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Table, Arc<ReadTable>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn table(&self, dataset: &Dataset) -> Result<Option<Arc<ReadTable>>> {
        let table = Table::new(dataset, D::KIND)?;
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

    async fn page(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage> {
        query.check(dataset)?;
        let mut page = PageBuilder::new(query.limit, self.options.page_bytes);
        let Some(table) = self.table(dataset).await? else {
            return Ok(page.finish(dataset, query));
        };
        if query.search.is_some() {
            self.check_indexed(dataset).await?;
        }
        let mut rows = Rows {
            dialect: &self.database,
            dataset,
            table: &table,
            query,
            uses_index: true,
            candidates: None,
        };
        let candidates = match query.search.as_ref() {
            Some(search) if !search.clauses().is_empty() => {
                let database = &self.database;
                database.find_candidates(dataset, query, search).await?
            }
            _ => None,
        };
        rows.candidates = candidates.as_ref();
        let mut skip = match query.start {
            Start::Skip(rows) => rows,
            Start::First | Start::After(_) => 0,
        };
        let spans = spans(dataset, query);
        for (at, span) in spans.iter().enumerate() {
            let before = page.len();
            let search = query
                .search
                .as_ref()
                .filter(|_| D::INDEXES_WORDS && !query.by_relevance);
            if search.is_some_and(|search| !search.clauses().is_empty()) {
                rows.uses_index = true;
                let found = rows.count_up_to(span, MANY_FOUND);
                rows.uses_index = self.database.count(found).await? < MANY_FOUND;
            }
            let select = rows.select(span, page.wanted(), skip);
            page = self.database.fetch(&table, select, page).await?;
            if page.is_full() {
                break;
            }
            if page.len() > before {
                skip = 0;
            } else if skip > 0 && at + 1 < spans.len() {
                let here = self.database.count(rows.count(span)).await?;
                // More than `skip` if rows were inserted meanwhile.
                skip = skip.saturating_sub(here);
            }
        }
        Ok(page.finish(dataset, query))
    }

    /// Fails if rows may lack the words by which they are searched.
    async fn check_indexed(&self, dataset: &Dataset) -> Result<()> {
        let entry = self.database.entry(&dataset.name).await?;
        let is_indexed = entry.is_some_and(|entry| {
            entry.registered.search == search_of(dataset) && entry.walks.indexing.is_none()
        });
        if is_indexed {
            return Ok(());
        }
        Err(StoreError::Indexing(dataset.name.clone()))
    }

    async fn key_versions(&self, dataset: &Dataset, key: &[Value]) -> Result<KeyVersions> {
        RowQuery::of_key(dataset, key)?;
        let Some(table) = self.table(dataset).await? else {
            return Ok(KeyVersions::default());
        };
        let entry = self.database.entry(&dataset.name).await?;
        let select = key_versions::select(&self.database, dataset, &table, entry.as_ref(), key);
        let rows = self.database.versions(select).await?;
        key_versions::found(D::KIND, entry, rows)
    }

    async fn find_numbers(
        &self,
        dataset: &Dataset,
        parent: &[Value],
        range: &RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>> {
        let count = numbers::check(dataset, parent, range)?;
        let Some(table) = self.table(dataset).await? else {
            return Ok(BTreeSet::new());
        };
        let entry = self.database.entry(&dataset.name).await?;
        let has_tombstones = entry.is_some_and(|entry| entry.tombstones);
        let (database, result) = (&self.database, Arc::new(numbers::table()));
        let select = numbers::select(database, dataset, &table, has_tombstones, parent, range);
        let page = database
            .fetch(&result, select, numbers::page(count))
            .await?;
        Ok(numbers::found(page))
    }

    async fn groups_page(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage> {
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
        let page = PageBuilder::new(limit, self.options.page_bytes);
        let Some(table) = self.database.totals(dataset, total).await? else {
            // Rows without totals: an answer without groups would be wrong.
            if self.table(dataset).await?.is_some() {
                return Err(StoreError::Building(total.name.clone()));
            }
            let groups = Vec::new();
            return Ok(TotalsPage { groups, next: None });
        };
        let table = Arc::new(table);
        let select = groups(&self.database, &table, place, by, page.wanted(), skip);
        let page = self.database.fetch(&table, select, page).await?;
        let is_full = page.is_full();
        let mut groups: Vec<Vec<Value>> =
            page.into_rows().into_iter().map(|row| row.values).collect();
        let next = groups.last().filter(|_| is_full).map(|group| {
            let values = group[..by].iter().map(cut);
            values.chain(group.last().cloned()).collect()
        });
        for group in &mut groups {
            finish(group, dataset, total);
        }
        Ok(TotalsPage { groups, next })
    }

    async fn some_groups(
        &self,
        dataset: &Dataset,
        total: &Total,
        first: &[Value],
        last: &[Value],
    ) -> Result<Vec<Vec<Value>>> {
        let limit = u32::try_from(last.len()).unwrap_or(u32::MAX);
        if first.len() + 1 != total.by.len()
            || !(1..=landfall_domain::MAX_PAGE_ROWS).contains(&limit)
        {
            return Err(QueryError::Limit.into());
        }
        let Some(table) = self.database.totals(dataset, total).await? else {
            if self.table(dataset).await?.is_some() {
                return Err(StoreError::Building(total.name.clone()));
            }
            return Ok(Vec::new());
        };
        let table = Arc::new(table);
        let select = groups_of(&self.database, &table, first, last);
        // Groups without texts beside those of the request fit any page.
        let page = PageBuilder::new(limit, usize::MAX);
        let page = self.database.fetch(&table, select, page).await?;
        let groups = page.into_rows().into_iter().map(|row| {
            let mut group = row.values;
            finish(&mut group, dataset, total);
            group
        });
        Ok(groups.collect())
    }

    /// Fails if the database does not respond in time. After an error, the table is looked up again.
    pub(crate) async fn within<T>(
        &self,
        dataset: &Dataset,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        with_timeout(D::KIND, self.options.call_timeout(), work)
            .await
            .inspect_err(|_| drop(self.known().remove(&dataset.name)))
    }
}

#[async_trait]
impl<D: SqlDatabase> Reader for SqlReader<D> {
    fn kind(&self) -> StoreKind {
        D::KIND
    }

    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage> {
        self.within(dataset, self.page(dataset, query)).await
    }

    async fn row(&self, dataset: &Dataset, key: &[Value]) -> Result<Option<StoredRow>> {
        let query = RowQuery::of_key(dataset, key)?;
        let page = self.within(dataset, self.page(dataset, &query)).await?;
        Ok(page.rows.into_iter().next())
    }

    async fn versions(&self, dataset: &Dataset, key: &[Value]) -> Result<KeyVersions> {
        self.within(dataset, self.key_versions(dataset, key)).await
    }

    async fn stored_numbers(
        &self,
        dataset: &Dataset,
        parent: &[Value],
        numbers: RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>> {
        self.within(dataset, self.find_numbers(dataset, parent, &numbers))
            .await
    }

    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage> {
        self.within(dataset, self.groups_page(dataset, total, start, limit))
            .await
    }

    async fn groups(
        &self,
        dataset: &Dataset,
        total: &Total,
        first: &[Value],
        last: &[Value],
    ) -> Result<Vec<Vec<Value>>> {
        self.within(dataset, self.some_groups(dataset, total, first, last))
            .await
    }
}

/// Removes the name of a group, and makes its sums numbers.
fn finish(group: &mut Vec<Value>, dataset: &Dataset, total: &Total) {
    group.pop();
    for (value, column) in group[total.by.len()..].iter_mut().zip(&total.columns) {
        if let (Measure::Sum(field), Value::Text(text)) = (&column.measure, &value) {
            *value = sum(kind_of(dataset, field), text);
        }
    }
}

/// Returns the type of a field that totals use.
fn kind_of(dataset: &Dataset, name: &str) -> FieldType {
    let field = dataset.fields.iter().find(|field| field.name == name);
    field.map_or(FieldType::Text, |field| field.kind)
}

impl Found {
    /// Describes the table of a dataset that lacks these columns. `column` describes a field by name and type,
    /// whether it exists, and whether an index has its beginnings.
    pub(crate) fn new(
        dataset: &Dataset,
        table: &Table,
        missing: &[String],
        name: String,
        extra: String,
        column: impl Fn(&str, FieldType, bool, bool) -> ReadColumn,
    ) -> Self {
        let is_there = |name: &str| !missing.iter().any(|missing| missing == name);
        let columns = dataset.fields.iter().map(|field| {
            let is_there = is_there(&field.name);
            let has_beginnings = is_there && table.has_beginnings_of(&field.name);
            column(&field.name, field.kind, is_there, has_beginnings)
        });
        Self {
            table: ReadTable {
                name,
                columns: columns.collect(),
                extra: (table.has_extra() && is_there(EXTRA)).then_some(extra),
                by_key: "",
            },
            is_complete: missing.is_empty(),
        }
    }
}

/// Describes a table of totals. Its columns are those of the group, the measures, and the name of the group.
///
/// `column` describes a column as for [`Found::new`]; `text` converts a number to text.
pub(crate) fn table_of_totals(
    dataset: &Dataset,
    total: &Total,
    name: String,
    column: impl Fn(&str, FieldType, bool, bool) -> ReadColumn,
    text: impl Fn(&str) -> String,
    group: ReadColumn,
) -> ReadTable {
    let by = total.by.iter().map(|name| {
        let kind = kind_of(dataset, name);
        column(name, kind, true, kind == FieldType::Text)
    });
    let measures = total.columns.iter().map(|measured| {
        let name = &measured.name;
        let column = |kind| column(name, kind, true, false);
        match &measured.measure {
            Measure::Count => column(FieldType::Integer),
            // Sums may exceed an integer.
            Measure::Sum(_) => ReadColumn {
                value: text(name),
                ..column(FieldType::Text)
            },
            Measure::Min(field) | Measure::Max(field) => column(kind_of(dataset, field)),
        }
    });
    ReadTable {
        name,
        columns: by.chain(measures).chain([group]).collect(),
        extra: None,
        by_key: "",
    }
}

/// Returns a sum from its text: an integer if it is a sum of integers and fits, else the text of an exact number.
fn sum(kind: FieldType, text: &str) -> Value {
    let plain = without_zeros(text);
    match plain.parse() {
        Ok(number) if kind == FieldType::Integer => Value::Integer(number),
        _ => Value::Text(plain.into()),
    }
}
