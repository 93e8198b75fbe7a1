use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use landfall_aws::{Datasets, Lookup};
use landfall_domain::StoreKind;
use landfall_ledger::{JobHead, PruneError, Pruner};
use landfall_stores::Store;

use crate::WorkError;

/// Deletes in the stores what a complete snapshot does not have.
pub(crate) struct Snapshots {
    pub(crate) datasets: Arc<Datasets>,
    pub(crate) stores: Vec<Arc<dyn Store>>,
}

impl Snapshots {
    async fn prune_all(&self, head: &JobHead) -> Result<BTreeMap<StoreKind, u64>, WorkError> {
        let Some(reference) = &head.dataset else {
            return Ok(BTreeMap::new());
        };
        let dataset = match self.datasets.pinned(reference).await? {
            Lookup::Found(dataset, _) => dataset,
            Lookup::Bad(error, _) => return Err(WorkError::Definition(error)),
            Lookup::Unknown => return Err(WorkError::DefinitionGone(reference.name.clone())),
        };
        let mut pruned = BTreeMap::new();
        for store in &self.stores {
            store.prepare(&dataset).await?;
            let count = store.prune(&dataset, &head.order).await?;
            pruned.insert(store.kind(), count);
        }
        Ok(pruned)
    }
}

#[async_trait]
impl Pruner for Snapshots {
    async fn prune(&self, head: &JobHead) -> Result<BTreeMap<StoreKind, u64>, PruneError> {
        self.prune_all(head).await.map_err(|error| PruneError {
            retryable: error.retryable(),
            reason: error.to_string(),
        })
    }
}
