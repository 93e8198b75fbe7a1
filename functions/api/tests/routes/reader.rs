//! A store in memory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use landfall_domain::{Condition, Dataset, RowQuery, Start, StoreKind, Total, Value};
use landfall_stores::{
    KeyVersions, Reader, RowPage, StoreError, StoredRow, StoredVersions, Tombstone, TotalsPage,
};

/// A store with rows in the order of their keys, which are their first values.
#[derive(Default)]
pub(crate) struct FakeReader {
    pub(crate) rows: Mutex<Vec<StoredRow>>,
    pub(crate) reads: AtomicUsize,
    pub(crate) is_down: Mutex<bool>,
    /// What the store has of every key.
    pub(crate) versions: Mutex<KeyVersions>,
    /// The rows of datasets with tokens or numbers, by dataset.
    pub(crate) numbered: Mutex<BTreeMap<String, Vec<StoredRow>>>,
    /// The keys of deleted rows of such datasets.
    pub(crate) deleted: Mutex<Vec<(String, Vec<Value>)>>,
}

impl FakeReader {
    pub(crate) fn put(&self, sku: &str, name: &str, price: &str, extra: Option<&str>) {
        let row = StoredRow {
            values: vec![
                Value::Text(sku.into()),
                Value::Text(name.into()),
                Value::Decimal(price.parse().unwrap()),
            ],
            extra: extra.map(ToOwned::to_owned),
        };
        let mut rows = self.rows.lock().unwrap();
        rows.push(row);
        rows.sort_by(|a, b| a.values[0].cmp_key(&b.values[0]));
    }

    /// Returns the rows of a dataset, in the order of their keys.
    fn of(&self, dataset: &Dataset) -> Result<Vec<StoredRow>, StoreError> {
        let rows = self.read()?;
        if !dataset.is_numbered() {
            return Ok(rows);
        }
        let numbered = self.numbered.lock().unwrap();
        let mut rows = numbered.get(&dataset.name).cloned().unwrap_or_default();
        rows.sort_by(|a, b| compare(&key(dataset, a), &key(dataset, b)));
        Ok(rows)
    }

    fn read(&self) -> Result<Vec<StoredRow>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        if *self.is_down.lock().unwrap() {
            return Err(StoreError::Unavailable {
                store: StoreKind::Postgres,
                reason: "connection refused by db.internal".to_owned(),
            });
        }
        Ok(self.rows.lock().unwrap().clone())
    }
}

fn key(dataset: &Dataset, row: &StoredRow) -> Vec<Value> {
    let key = dataset.key_indexes().iter();
    key.map(|field| row.values[*field].clone()).collect()
}

fn compare(one: &[Value], other: &[Value]) -> Ordering {
    let values = one.iter().zip(other);
    let orders = values.map(|(one, other)| one.cmp_key(other));
    orders.fold(Ordering::Equal, Ordering::then)
}

fn index(dataset: &Dataset, name: &str) -> usize {
    let mut fields = dataset.fields.iter();
    fields.position(|field| field.name == name).unwrap()
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text.as_str(),
        other => panic!("{other:?} is not searched"),
    }
}

#[async_trait]
impl Reader for FakeReader {
    fn kind(&self) -> StoreKind {
        StoreKind::Postgres
    }

    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError> {
        let mut rows = self.of(dataset)?;
        if query.is_descending() {
            rows.reverse();
        }
        if let Some(search) = &query.search {
            let fields = dataset.search_indexes();
            rows.retain(|row| search.matches(fields.iter().map(|field| text(&row.values[*field]))));
            assert!(!query.by_relevance || query.sort.is_none());
        }
        for filter in &query.filters {
            let Condition::Equals(value) = &filter.condition else {
                panic!("the fake knows no such condition");
            };
            rows.retain(|row| row.values[filter.field] == *value);
        }
        match &query.start {
            Start::First => {}
            Start::After(place) => rows.retain(|row| {
                let order = compare(&key(dataset, row), place);
                order.is_ne() && order.is_lt() == query.is_descending()
            }),
            Start::Skip(skipped) => {
                let skipped = usize::try_from(*skipped).unwrap().min(rows.len());
                rows.drain(..skipped);
            }
        }
        let limit = query.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| key(dataset, row));
        Ok(RowPage { rows, next })
    }

    async fn row(&self, dataset: &Dataset, of: &[Value]) -> Result<Option<StoredRow>, StoreError> {
        let mut rows = self.of(dataset)?.into_iter();
        Ok(rows.find(|row| key(dataset, row) == of))
    }

    async fn versions(&self, dataset: &Dataset, of: &[Value]) -> Result<KeyVersions, StoreError> {
        let rows = self.of(dataset)?;
        if dataset.is_numbered() {
            let row = rows.iter().find(|row| key(dataset, row) == of);
            let deleted = self.deleted.lock().unwrap();
            let is_deleted = deleted.contains(&(dataset.name.clone(), of.to_vec()));
            return Ok(KeyVersions {
                row: row.map(|_| StoredVersions {
                    version: vec![1],
                    columns: Vec::new(),
                }),
                tombstone: is_deleted.then(|| Tombstone {
                    version: vec![2],
                    deleted_at: "2026-12-01T00:00:00Z".to_owned(),
                }),
                floor: None,
            });
        }
        Ok(self.versions.lock().unwrap().clone())
    }

    async fn stored_numbers(
        &self,
        _: &Dataset,
        _: &[Value],
        _: RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>, StoreError> {
        panic!("only workers look for numbers")
    }

    async fn totals(
        &self,
        _: &Dataset,
        _: &Total,
        _: &Start,
        _: u32,
    ) -> Result<TotalsPage, StoreError> {
        let number = i64::try_from(self.read()?.len()).unwrap();
        Ok(TotalsPage {
            groups: vec![vec![Value::Null, Value::Integer(number)]],
            next: None,
        })
    }

    async fn groups(
        &self,
        dataset: &Dataset,
        total: &Total,
        first: &[Value],
        last: &[Value],
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let by: Vec<usize> = total.by.iter().map(|name| index(dataset, name)).collect();
        let groups = last.iter().map(|last| {
            let mut key = first.to_vec();
            key.push(last.clone());
            let rows = self.of(dataset)?;
            let is_of = |row: &&StoredRow| by.iter().map(|field| &row.values[*field]).eq(&key);
            let count = i64::try_from(rows.iter().filter(is_of).count()).unwrap();
            key.push(Value::Integer(count));
            Ok(key)
        });
        groups.collect()
    }
}
