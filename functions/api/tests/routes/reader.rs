//! A store in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use landfall_domain::{Condition, Dataset, RowQuery, Start, StoreKind, Total, Value};
use landfall_stores::{KeyVersions, Reader, RowPage, StoreError, StoredRow, TotalsPage};

/// A store with rows in the order of their keys, which are their first values.
#[derive(Default)]
pub(crate) struct FakeReader {
    pub(crate) rows: Mutex<Vec<StoredRow>>,
    pub(crate) reads: AtomicUsize,
    pub(crate) is_down: Mutex<bool>,
    /// What the store has of every key.
    pub(crate) versions: Mutex<KeyVersions>,
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

    fn read(&self) -> Result<Vec<StoredRow>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if *self.is_down.lock().unwrap() {
            return Err(StoreError::Unavailable {
                store: StoreKind::Postgres,
                reason: "connection refused by db.internal".to_owned(),
            });
        }
        Ok(self.rows.lock().unwrap().clone())
    }
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
        let mut rows = self.read()?;
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
            Start::After(place) => rows.retain(|row| row.values[0].cmp_key(&place[0]).is_gt()),
            Start::Skip(skipped) => {
                let skipped = usize::try_from(*skipped).unwrap().min(rows.len());
                rows.drain(..skipped);
            }
        }
        let limit = query.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| vec![row.values[0].clone()]);
        Ok(RowPage { rows, next })
    }

    async fn row(&self, _: &Dataset, key: &[Value]) -> Result<Option<StoredRow>, StoreError> {
        Ok(self.read()?.into_iter().find(|row| row.values[0] == key[0]))
    }

    async fn versions(&self, _: &Dataset, _: &[Value]) -> Result<KeyVersions, StoreError> {
        self.read()?;
        Ok(self.versions.lock().unwrap().clone())
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
}
