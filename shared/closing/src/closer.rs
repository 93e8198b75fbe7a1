use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_aws::{ChunkQueue, Datasets, Publisher, WorkMessage};
use landfall_domain::{
    CompletionEvent, Counts, Dataset, DatasetRef, JobId, JobState, PruneDecision, StoreKind,
};
use landfall_ledger::{JobHead, Ledger};
use landfall_runtime::{Metric, Metrics};
use landfall_stores::{Step, Store, StoreError};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::CloseError;

/// Closes complete jobs, runs confirmed prunes, and publishes completion events.
pub struct Closer {
    ledger: Ledger,
    publisher: Arc<dyn Publisher>,
    queue: Arc<dyn ChunkQueue>,
    datasets: Arc<Datasets>,
    stores: Vec<Arc<dyn Store>>,
    rejects_bucket: String,
    metrics: Metrics,
}

impl Closer {
    /// Returns a closer. Completion events refer to rejects in `rejects_bucket`.
    pub fn new(
        ledger: Ledger,
        publisher: Arc<dyn Publisher>,
        queue: Arc<dyn ChunkQueue>,
        datasets: Arc<Datasets>,
        stores: Vec<Arc<dyn Store>>,
        rejects_bucket: impl Into<String>,
        metrics: Metrics,
    ) -> Self {
        Self {
            ledger,
            publisher,
            queue,
            datasets,
            stores,
            rejects_bucket: rejects_bucket.into(),
            metrics,
        }
    }

    /// Closes a job that awaits its close, runs a prune that was confirmed, and publishes the completion events. Does
    /// nothing for other jobs.
    ///
    /// A prune begins no step after `until`, except the first one of this call. A close message then does the rest.
    ///
    /// Returns the head as it is afterwards. It is still open if a chunk is missing, or if the prune has not ended.
    pub async fn close(&self, mut head: JobHead, until: Instant) -> Result<JobHead, CloseError> {
        if head.awaits_close() {
            head = self.finish(head, until).await?;
        }
        // Published first, so that subscribers receive the events in their order.
        if head.published && head.awaits_prune() {
            head = Box::pin(self.prune_confirmed(head, until)).await?;
        }
        Ok(head)
    }

    async fn finish(&self, mut head: JobHead, until: Instant) -> Result<JobHead, CloseError> {
        if head.state == JobState::Open {
            // Boxed, as it is large, and most calls end here.
            head = Box::pin(self.close_open(head, until)).await?;
        }
        if head.state == JobState::Open && head.cancelled.is_some() {
            // It may have been cancelled meanwhile, which changes the outcome.
            head = Box::pin(self.close_open(head, until)).await?;
        }
        if head.state == JobState::Open {
            return Ok(head);
        }
        let job = head.job;
        self.publish(job, head.completion(&self.rejects_bucket))
            .await?;
        // Before the event is recorded, so that no closed job is missing.
        let dataset = head.dataset.as_ref().map(|dataset| dataset.name.as_str());
        self.metrics
            .write(dataset, Some(job), &[Metric::Closed(head.state)]);
        let head = self.ledger.record_published(&head).await?;
        info!(%job, state = head.state.as_str(), "job closed");
        Ok(head)
    }

    async fn close_open(&self, head: JobHead, until: Instant) -> Result<JobHead, CloseError> {
        let Some(mut sums) = self.ledger.sums(&head).await? else {
            return Ok(head);
        };
        let (state, mut problem) = head.outcome(&sums);
        if let Some(dataset) = &head.dataset
            && head.must_prune(state, problem.as_ref())
        {
            let decided = self.decide_prune(&head, dataset, &sums.counts, until);
            let Some(decided) = decided.await? else {
                return self.continue_later(head).await;
            };
            let Some(decision) = &decided.prune else {
                // Another caller has closed the job, or it was cancelled.
                return Ok(decided);
            };
            if let Some(held) = &decision.held {
                problem = Some(held.problem(head.job));
            } else {
                let Some(pruned) = self.prune(&head, dataset, until).await? else {
                    return self.continue_later(decided).await;
                };
                for (store, pruned) in pruned {
                    sums.counts.stores.entry(store).or_default().pruned = pruned;
                }
            }
        }
        Ok(self
            .ledger
            .record_close(&head, state, problem, sums)
            .await?)
    }

    /// Has a worker continue a prune for which no time is left.
    async fn continue_later(&self, head: JobHead) -> Result<JobHead, CloseError> {
        let job = head.job;
        self.ledger.record_progress(job).await?;
        let sent = self.queue.send(&[WorkMessage::Close { job }]).await;
        sent.map_err(|source| CloseError::Continue { job, source })?;
        info!(%job, "the prune continues with the next close message");
        Ok(head)
    }

    /// Decides whether the prune may run, unless that is decided. Returns the head with the decision, or none if no
    /// time is left.
    async fn decide_prune(
        &self,
        head: &JobHead,
        dataset: &DatasetRef,
        counts: &Counts,
        until: Instant,
    ) -> Result<Option<JobHead>, CloseError> {
        if head.prune.is_some() {
            return Ok(Some(head.clone()));
        }
        let job = head.job;
        let dataset = self.definition(job, dataset).await?;
        let mut previews = Vec::with_capacity(self.stores.len());
        for store in &self.stores {
            let previewed = async {
                store.prepare(&dataset).await?;
                let step = async || store.preview_prune(&dataset, &head.order).await;
                take_steps(step, until).await
            };
            let previewed = previewed.await;
            let previewed = previewed.map_err(|source| CloseError::Prune { job, source })?;
            let Some(mut preview) = previewed else {
                return Ok(None);
            };
            // The share is one of the rows that were there before: new keys must not hide that all old ones are gone.
            let counts = counts.stores.get(&store.kind());
            let inserted = counts.map_or(0, |counts| counts.inserted);
            preview.rows = preview.rows.saturating_sub(inserted).max(preview.deletes);
            previews.push((store.kind(), preview));
        }
        let decision = PruneDecision::new(&previews, dataset.max_delete_share);
        if let Some(held) = &decision.held {
            warn!(%job, store = %held.store, rows = held.rows, deletes = held.deletes, "the prune is held back");
        }
        Ok(Some(self.ledger.decide_prune(job, decision).await?))
    }

    /// Deletes the rows that a snapshot lacks, in every store. Returns their numbers, or none if no time is left.
    async fn prune(
        &self,
        head: &JobHead,
        dataset: &DatasetRef,
        until: Instant,
    ) -> Result<Option<BTreeMap<StoreKind, u64>>, CloseError> {
        let job = head.job;
        let definition = self.definition(job, dataset).await?;
        let mut pruned = BTreeMap::new();
        for store in &self.stores {
            let deleted = async {
                store.prepare(&definition).await?;
                let step = async || store.prune(&definition, &head.order).await;
                take_steps(step, until).await
            };
            let deleted = deleted.await;
            let deleted = deleted.map_err(|source| CloseError::Prune { job, source })?;
            let Some(deleted) = deleted else {
                return Ok(None);
            };
            pruned.insert(store.kind(), deleted);
        }
        self.ledger.raise_floor(dataset, head.order).await?;
        Ok(Some(pruned))
    }

    /// Runs a prune that was held back and then confirmed, and publishes the completion event again.
    async fn prune_confirmed(
        &self,
        mut head: JobHead,
        until: Instant,
    ) -> Result<JobHead, CloseError> {
        let job = head.job;
        if head.pruned.is_none() {
            let dataset = head.dataset.as_ref();
            let dataset = dataset.ok_or(CloseError::IncompleteHead(job))?;
            let Some(pruned) = self.prune(&head, dataset, until).await? else {
                return self.continue_later(head).await;
            };
            head = self.ledger.record_pruned(job, dataset, pruned).await?;
        }
        self.publish(job, head.completion_after_prune(&self.rejects_bucket))
            .await?;
        info!(%job, "confirmed prune done");
        Ok(self.ledger.record_prune_published(job).await?)
    }

    async fn definition(
        &self,
        job: JobId,
        dataset: &DatasetRef,
    ) -> Result<Arc<Dataset>, CloseError> {
        let dataset = self.datasets.require(dataset).await;
        dataset.map_err(|source| CloseError::Definition { job, source })
    }

    async fn publish(&self, job: JobId, event: Option<CompletionEvent>) -> Result<(), CloseError> {
        let event = event.ok_or(CloseError::IncompleteHead(job))?;
        let published = self.publisher.publish(&event).await;
        published.map_err(|source| CloseError::Publish { job, source })
    }
}

/// Takes steps until they are done, and at least one. Returns none if no time is left.
async fn take_steps<T>(
    step: impl AsyncFn() -> Result<Step<T>, StoreError>,
    until: Instant,
) -> Result<Option<T>, StoreError> {
    loop {
        if let Step::Done(done) = step().await? {
            return Ok(Some(done));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}
