//! The reader of workers.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use landfall_domain::{Dataset, QueryError, RowQuery, Start, StoreKind, Total, Value};
use landfall_stores::{KeyVersions, Reader, RowPage, StoreError, StoredRow, TotalsPage};

use crate::fakes::locked;
use crate::schedule::pause;
use crate::stores::Map;

fn unused<T>() -> Result<T, StoreError> {
    Err(QueryError::NoTotals.into())
}

/// Workers read only numbers.
#[async_trait]
impl Reader for Map {
    fn kind(&self) -> StoreKind {
        self.kind
    }
    async fn rows(&self, _: &Dataset, _: &RowQuery) -> Result<RowPage, StoreError> {
        unused()
    }
    async fn row(&self, _: &Dataset, _: &[Value]) -> Result<Option<StoredRow>, StoreError> {
        unused()
    }
    async fn versions(&self, _: &Dataset, _: &[Value]) -> Result<KeyVersions, StoreError> {
        unused()
    }
    async fn totals(
        &self,
        _: &Dataset,
        _: &Total,
        _: &Start,
        _: u32,
    ) -> Result<TotalsPage, StoreError> {
        unused()
    }
    async fn groups(
        &self,
        _: &Dataset,
        _: &Total,
        _: &[Value],
        _: &[Value],
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        unused()
    }
    async fn stored_numbers(
        &self,
        _: &Dataset,
        parent: &[Value],
        numbers: RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>, StoreError> {
        pause().await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::Down {
                store: self.kind,
                reason: "connection refused".to_owned(),
            });
        }
        let parent = parent
            .iter()
            .map(|value| value.to_text().unwrap().into_owned());
        let parent = parent.collect::<Vec<_>>().join("@") + "@";
        let found = {
            let rows = locked(&self.rows);
            let numbers = numbers.filter(|number| rows.contains_key(&format!("{parent}{number}")));
            numbers.collect()
        };
        pause().await;
        Ok(found)
    }
}
