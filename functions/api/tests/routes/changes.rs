//! What is recorded for destinations, in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_domain::{ChangeState, Dataset, StoreKind};
use landfall_stores::{ChangePage, ChangeReader, ChangeSummary, ListedChange, StoreError};

/// The changes of one destination of each dataset.
#[derive(Default)]
pub(crate) struct FakeChanges {
    pub(crate) summaries: Mutex<BTreeMap<String, ChangeSummary>>,
    pub(crate) listed: Mutex<BTreeMap<ChangeState, Vec<ListedChange>>>,
}

#[async_trait]
impl ChangeReader for FakeChanges {
    async fn summary(
        &self,
        dataset: &Dataset,
        destination: &str,
        _: Timestamp,
    ) -> Result<ChangeSummary, StoreError> {
        let summaries = self.summaries.lock().unwrap();
        let untracked = || StoreError::Untracked {
            store: StoreKind::Sqlite,
            dataset: dataset.name.clone(),
            destination: destination.to_owned(),
        };
        summaries.get(destination).copied().ok_or_else(untracked)
    }

    async fn list(
        &self,
        _: &Dataset,
        _: &str,
        state: ChangeState,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage, StoreError> {
        let listed = self.listed.lock().unwrap();
        let all = listed.get(&state).cloned().unwrap_or_default();
        let start: usize = after.map_or(0, |after| after.parse().unwrap());
        let end = all.len().min(start + limit);
        let next = (end < all.len()).then(|| end.to_string());
        let changes = all[start..end].to_vec();
        Ok(ChangePage { changes, next })
    }
}
