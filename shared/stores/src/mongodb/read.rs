//! Reads by `find` in the order of an index.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use futures::stream::TryStreamExt;
use jiff::civil::date;
use landfall_domain::{
    Dataset, FieldType, QueryError, RowQuery, SORTED_CHARS, Start, StoreKind, Timestamp, Total,
    UnknownColumns, Value,
};
use mongodb::Database;
use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Document, RawBsonRef, RawDocumentBuf, doc};

use super::document::{CHANGED, DIGEST, KEY, compared, id_of_key, path};
use super::error::{from_read, unavailable};
use super::json::to_text;
use super::numbers::stored_numbers;
use super::versions::key_versions;
use crate::error::Result;
use crate::read::page::{PageBuilder, after_prefix, beginning};
use crate::read::plan::{Bound, Comparison, Span, comparisons, spans};
use crate::read::{KeyVersions, ReadOptions, Reader, RowPage, StoredRow, TotalsPage};
use crate::retry::with_timeout;
use crate::schema::{EXTRA, Table, VERSION};

const MILLISECONDS_OF_A_DAY: i64 = 86_400_000;

pub(crate) struct ReadMongodb {
    pub(super) database: Database,
    pub(super) options: ReadOptions,
}

impl ReadMongodb {
    pub(crate) async fn new(uri: &str, options: ReadOptions) -> Result<Self> {
        Ok(Self {
            database: super::database(uri, options.connections, options.connect_timeout()).await?,
            options,
        })
    }

    async fn page(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage> {
        query.check(dataset)?;
        if query.search.is_some() {
            return Err(QueryError::NotSearchable.into());
        }
        Table::new(dataset, StoreKind::Mongodb)?;
        let mut walk = Walk::new(self, dataset, query);
        for span in spans(dataset, query) {
            walk.read_span(&span).await?;
            if walk.page.is_full() {
                break;
            }
        }
        Ok(walk.page.finish(dataset, query))
    }
}

#[async_trait]
impl Reader for ReadMongodb {
    fn kind(&self) -> StoreKind {
        StoreKind::Mongodb
    }

    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage> {
        let page = self.page(dataset, query);
        with_timeout(StoreKind::Mongodb, self.options.call_timeout(), page).await
    }

    async fn row(&self, dataset: &Dataset, key: &[Value]) -> Result<Option<StoredRow>> {
        let query = RowQuery::of_key(dataset, key)?;
        let mut walk = Walk::new(self, dataset, &query);
        let of_key = vec![doc! { "_id": id_of_key(dataset, key) }];
        let find = walk.find(of_key, doc! {}, |_| false);
        with_timeout(StoreKind::Mongodb, self.options.call_timeout(), find).await?;
        Ok(walk.page.into_rows().pop())
    }

    async fn versions(&self, dataset: &Dataset, key: &[Value]) -> Result<KeyVersions> {
        let versions = key_versions(&self.database, self.options.timeout, dataset, key);
        with_timeout(StoreKind::Mongodb, self.options.call_timeout(), versions).await
    }

    async fn stored_numbers(
        &self,
        dataset: &Dataset,
        parent: &[Value],
        numbers: RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>> {
        let (database, timeout) = (&self.database, self.options.timeout);
        let found = stored_numbers(database, timeout, dataset, parent, numbers);
        with_timeout(StoreKind::Mongodb, self.options.call_timeout(), found).await
    }

    async fn totals(&self, _: &Dataset, _: &Total, _: &Start, _: u32) -> Result<TotalsPage> {
        Err(QueryError::NoTotals.into())
    }

    async fn groups(
        &self,
        _: &Dataset,
        _: &Total,
        _: &[Value],
        _: &[Value],
    ) -> Result<Vec<Vec<Value>>> {
        Err(QueryError::NoTotals.into())
    }
}

/// A query on its way through the spans of its rows.
struct Walk<'a> {
    reader: &'a ReadMongodb,
    dataset: &'a Dataset,
    query: &'a RowQuery,
    page: PageBuilder,
    skip: u64,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a ReadMongodb, dataset: &'a Dataset, query: &'a RowQuery) -> Self {
        Self {
            reader,
            dataset,
            query,
            page: PageBuilder::new(query.limit, reader.options.page_bytes),
            skip: match query.start {
                Start::Skip(rows) => rows,
                Start::First | Start::After(_) => 0,
            },
        }
    }

    async fn read_span(&mut self, span: &Span) -> Result<()> {
        let after = span.after.as_deref();
        let Some(field) = self.query.sort_field(self.dataset) else {
            return self.read_all(self.beyond_key(after), self.by_key()).await;
        };
        let path = self.path_of(field);
        let mut beyond = match &span.sort {
            Bound::Equal(value) => return self.read_equal(field, value, after).await,
            Bound::Null => {
                let mut conditions = vec![doc! { &path: null }];
                conditions.extend(self.beyond_key(after));
                return self.read_all(conditions, self.by_field(&path)).await;
            }
            // Searches are refused.
            Bound::Any | Bound::Present | Bound::Rank(_) | Bound::RankBelow(_) => None,
            Bound::After(value) => Some(value.clone()),
        };
        // An index has whole texts, but the order is by their beginnings. So rows that may begin alike are read by
        // key. A number of rows to skip is the same in both orders.
        let regroups = !matches!(self.query.start, Start::Skip(_))
            && !self.dataset.key_indexes().contains(&field);
        loop {
            let Some(condition) = self.beyond_value(field, &path, beyond.as_ref()) else {
                return Ok(());
            };
            let is_long = |row: &StoredRow| regroups && is_whole_beginning(&row.values[field]);
            let long = self
                .read(vec![condition], self.by_field(&path), is_long)
                .await?;
            let Some(row) = long else {
                return Ok(());
            };
            let begins = beginning(self.dataset, field, &row.values[field]);
            self.read_equal(field, &begins, None).await?;
            if self.page.is_full() {
                return Ok(());
            }
            beyond = Some(begins);
        }
    }

    /// Reads the rows whose value begins so, by key.
    async fn read_equal(
        &mut self,
        field: usize,
        value: &Value,
        after: Option<&[Value]>,
    ) -> Result<()> {
        let path = self.path_of(field);
        let is_key = self.dataset.key_indexes().contains(&field);
        let (same, order) = match value {
            Value::Text(begins) if !is_key && is_whole_beginning(value) => {
                let mut range = doc! { "$gte": begins.as_str() };
                if let Some(end) = after_prefix(begins) {
                    range.insert("$lt", end);
                }
                (doc! { &path: range }, self.by_key())
            }
            _ => (
                doc! { &path: compared(self.dataset, field, value) },
                self.by_field(&path),
            ),
        };
        let mut conditions = vec![same];
        conditions.extend(self.beyond_key(after));
        self.read_all(conditions, order).await
    }

    /// Reads rows until the page is full.
    async fn read_all(&mut self, conditions: Vec<Document>, order: Document) -> Result<()> {
        self.read(conditions, order, |_| false).await.map(drop)
    }

    /// Reads rows until the page is full or `stop_at` matches one, which it returns.
    async fn read(
        &mut self,
        mut conditions: Vec<Document>,
        order: Document,
        stop_at: impl Fn(&StoredRow) -> bool,
    ) -> Result<Option<StoredRow>> {
        for filter in &self.query.filters {
            let path = self.path_of(filter.field);
            for (comparison, value) in comparisons(filter) {
                let value = compared(self.dataset, filter.field, &value);
                conditions.push(doc! { &path: { operator(comparison): value } });
            }
        }
        let before = self.page.len();
        let skipped = conditions.clone();
        let other = self.find(conditions, order, stop_at).await?;
        if self.page.len() > before || self.page.is_full() {
            self.skip = 0;
        } else if self.skip > 0 {
            let here = self
                .reader
                .database
                .collection::<Document>(&self.dataset.name)
                .count_documents(all(skipped))
                .max_time(self.reader.options.timeout)
                .await
                .map_err(from_read)?;
            // More than `skip` if rows were inserted meanwhile.
            self.skip = self.skip.saturating_sub(here);
        }
        Ok(other)
    }

    async fn find(
        &mut self,
        conditions: Vec<Document>,
        order: Document,
        stop_at: impl Fn(&StoredRow) -> bool,
    ) -> Result<Option<StoredRow>> {
        let wanted = self.page.wanted();
        let mut found = self
            .reader
            .database
            .collection::<RawDocumentBuf>(&self.dataset.name)
            .find(all(conditions))
            .sort(order)
            .projection(doc! { VERSION: 0, DIGEST: 0, CHANGED: 0 })
            .skip(self.skip)
            .limit(i64::try_from(wanted).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(wanted).unwrap_or(u32::MAX))
            .max_time(self.reader.options.timeout)
            .await
            .map_err(from_read)?;
        while let Some(document) = found.try_next().await.map_err(from_read)? {
            let row = stored(self.dataset, &document)
                .ok_or_else(|| unavailable("a document does not fit the dataset"))?;
            if stop_at(&row) {
                return Ok(Some(row));
            }
            if !self.page.push(row) {
                break;
            }
        }
        Ok(None)
    }

    fn path_of(&self, field: usize) -> String {
        path(self.dataset, &self.dataset.fields[field].name)
    }

    fn direction(&self) -> i32 {
        if self.query.is_descending() { -1 } else { 1 }
    }

    fn by_key(&self) -> Document {
        doc! { "_id": self.direction() }
    }

    fn by_field(&self, path: &str) -> Document {
        doc! { path: self.direction(), "_id": self.direction() }
    }

    fn operator_beyond(&self) -> &'static str {
        if self.query.is_descending() {
            "$lt"
        } else {
            "$gt"
        }
    }

    fn beyond_key(&self, key: Option<&[Value]>) -> Vec<Document> {
        let id = key.map(|key| id_of_key(self.dataset, key));
        let condition = id.map(|id| doc! { "_id": { self.operator_beyond(): id } });
        condition.into_iter().collect()
    }

    /// Returns the condition that a value follows all that begin so, or is not null; none if no value can.
    fn beyond_value(&self, field: usize, path: &str, value: Option<&Value>) -> Option<Document> {
        let is_key = self.dataset.key_indexes().contains(&field);
        Some(match value {
            None => doc! { path: { "$ne": null } },
            Some(Value::Text(begins))
                if !is_key
                    && !self.query.is_descending()
                    && begins.chars().count() >= SORTED_CHARS =>
            {
                doc! { path: { "$gte": after_prefix(begins)? } }
            }
            Some(value) => {
                doc! { path: { self.operator_beyond(): compared(self.dataset, field, value) } }
            }
        })
    }
}

/// Returns whether other texts may begin so.
fn is_whole_beginning(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.chars().nth(SORTED_CHARS - 1).is_some())
}

fn all(conditions: Vec<Document>) -> Document {
    if conditions.is_empty() {
        Document::new()
    } else {
        doc! { "$and": conditions }
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "$eq",
        Comparison::AtLeast => "$gte",
        Comparison::Above => "$gt",
        Comparison::AtMost => "$lte",
        Comparison::Below => "$lt",
    }
}

/// Returns a document's row; none if it does not fit the dataset.
pub(super) fn stored(dataset: &Dataset, document: &RawDocument) -> Option<StoredRow> {
    let key = dataset.key_indexes();
    let values = dataset.fields.iter().enumerate().map(|(index, field)| {
        let found = if !key.contains(&index) {
            document.get(&field.name).ok()?
        } else if key.len() == 1 {
            document.get("_id").ok()?
        } else {
            document.get_document(KEY).ok()?.get(&field.name).ok()?
        };
        found.map_or(Some(Value::Null), |found| value(field.kind, found))
    });
    let extra = match dataset.unknown_columns {
        UnknownColumns::Keep => document.get_str(EXTRA).ok().map(str::to_owned),
        UnknownColumns::Drop | UnknownColumns::Reject => None,
    };
    Some(StoredRow {
        values: values.collect::<Option<_>>()?,
        extra,
    })
}

pub(super) fn value(kind: FieldType, found: RawBsonRef<'_>) -> Option<Value> {
    Some(match (kind, found) {
        (_, RawBsonRef::Null) => Value::Null,
        (FieldType::Json, json) => Value::Json(to_text(json)?),
        (FieldType::Text, RawBsonRef::String(text)) => Value::Text(text.into()),
        (FieldType::Integer, RawBsonRef::Int64(number)) => Value::Integer(number),
        (FieldType::Float, RawBsonRef::Double(number)) => Value::Float(number),
        (FieldType::Boolean, RawBsonRef::Boolean(boolean)) => Value::Boolean(boolean),
        (FieldType::Decimal, RawBsonRef::Decimal128(number)) => {
            Value::from_text(kind, &number.to_string()).ok()?
        }
        (FieldType::Date | FieldType::Timestamp, RawBsonRef::String(text)) => {
            Value::from_text(kind, text).ok()?
        }
        (FieldType::Timestamp, RawBsonRef::DateTime(at)) => {
            let microseconds = at.timestamp_millis().checked_mul(1000)?;
            Value::Timestamp(Timestamp::from_microsecond(microseconds)?)
        }
        (FieldType::Date, RawBsonRef::DateTime(at)) => {
            let days = at.timestamp_millis().div_euclid(MILLISECONDS_OF_A_DAY);
            let days = jiff::Span::new().try_days(days).ok()?;
            Value::Date(date(1970, 1, 1).checked_add(days).ok()?)
        }
        _ => return None,
    })
}
