use std::sync::Arc;

use landfall_aws::{Datasets, Publisher};
use landfall_domain::{DatasetRef, JobState};
use landfall_ledger::{JobHead, Ledger, Sums};
use landfall_stores::Store;
use tracing::info;

use crate::CloseError;

/// Closes complete jobs and publishes their completion events.
pub struct Closer {
    ledger: Ledger,
    publisher: Arc<dyn Publisher>,
    datasets: Arc<Datasets>,
    stores: Vec<Arc<dyn Store>>,
    rejects_bucket: String,
}

impl Closer {
    /// Returns a closer. Completion events refer to rejects in `rejects_bucket`.
    pub fn new(
        ledger: Ledger,
        publisher: Arc<dyn Publisher>,
        datasets: Arc<Datasets>,
        stores: Vec<Arc<dyn Store>>,
        rejects_bucket: impl Into<String>,
    ) -> Self {
        Self {
            ledger,
            publisher,
            datasets,
            stores,
            rejects_bucket: rejects_bucket.into(),
        }
    }

    /// Closes a job that awaits its close, and publishes its completion event. Does nothing for other jobs.
    ///
    /// Returns the head as it is afterwards. It is still open if a chunk is missing.
    pub async fn close(&self, mut head: JobHead) -> Result<JobHead, CloseError> {
        if !head.awaits_close() {
            return Ok(head);
        }
        let job = head.job;
        if head.state == JobState::Open {
            head = self.close_open(head).await?;
        }
        if head.state == JobState::Open {
            return Ok(head);
        }
        let event = head.completion(&self.rejects_bucket);
        let event = event.ok_or(CloseError::IncompleteHead(job))?;
        self.publisher
            .publish(&event)
            .await
            .map_err(|source| CloseError::Publish { job, source })?;
        let head = self.ledger.record_published(job).await?;
        info!(%job, state = head.state.as_str(), "job closed");
        Ok(head)
    }

    async fn close_open(&self, head: JobHead) -> Result<JobHead, CloseError> {
        let Some(mut sums) = self.ledger.sums(&head).await? else {
            return Ok(head);
        };
        let (state, problem) = head.outcome(&sums.counts, sums.dead);
        if let Some(dataset) = &head.dataset
            && head.must_prune(state, problem.as_ref())
        {
            self.prune(&head, dataset, &mut sums).await?;
        }
        Ok(self
            .ledger
            .record_close(&head, state, problem, sums)
            .await?)
    }

    /// Deletes the rows that a snapshot lacks, in every store, and adds their number to the sums.
    async fn prune(
        &self,
        head: &JobHead,
        dataset: &DatasetRef,
        sums: &mut Sums,
    ) -> Result<(), CloseError> {
        let job = head.job;
        let dataset = self.datasets.require(dataset).await;
        let dataset = dataset.map_err(|source| CloseError::Definition { job, source })?;
        for store in &self.stores {
            let pruned = async {
                store.prepare(&dataset).await?;
                store.prune(&dataset, &head.order).await
            };
            let pruned = pruned
                .await
                .map_err(|source| CloseError::Prune { job, source })?;
            sums.counts.stores.entry(store.kind()).or_default().pruned = pruned;
        }
        Ok(())
    }
}
