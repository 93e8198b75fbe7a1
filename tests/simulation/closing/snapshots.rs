//! How snapshots close, and jobs that already have a problem.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landfall_aws::{Datasets, Publisher};
use landfall_closing::{CloseError, Closer};
use landfall_domain::{
    CompletionEvent, Counts, Dataset, DatasetRef, JobId, JobState, Mode, ObjectOrder, Problem,
    ProblemCode, PrunePreview, Row, StoreCounts, StoreKind,
};
use landfall_ledger::{ChunkOutcome, JobHead, Ledger, MemoryTable, Seal};
use landfall_stores::{Current, Maintenance, Prepared, Step, Store, StoreError};

use super::far;
use crate::fakes::{Buckets, Bus, dead_chunk, head_of, metrics};
use crate::queue::Queue;

const DEFINITION: &str = r#"
name = "products"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }]
"#;

/// A store that only prunes, with these results, from the last to the first.
struct PruneStore(Mutex<Vec<Result<u64, StoreError>>>);

#[async_trait]
impl Store for PruneStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    fn is_followed(&self, _: &str) -> bool {
        false
    }

    async fn prepare(&self, _: &Dataset) -> Result<Prepared, StoreError> {
        Ok(Prepared::Complete)
    }

    async fn maintain(&self, _: &Dataset, _: &Current) -> Result<Maintenance, StoreError> {
        Ok(Maintenance::Done)
    }

    async fn apply(
        &self,
        _: &Dataset,
        _: &ObjectOrder,
        _: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        panic!("closing a job applies no rows");
    }

    async fn preview_prune(
        &self,
        _: &Dataset,
        _: &ObjectOrder,
    ) -> Result<Step<PrunePreview>, StoreError> {
        Ok(Step::Done(PrunePreview::default()))
    }

    async fn prune(&self, _: &Dataset, _: &ObjectOrder) -> Result<Step<u64>, StoreError> {
        let result = self.0.lock().unwrap().pop();
        result.expect("the job must not prune").map(Step::Done)
    }

    async fn next_to_sweep(&self, _: Option<&str>) -> Result<Option<String>, StoreError> {
        panic!("closing a job sweeps no tombstones");
    }

    async fn sweep(&self, _: &str) -> Result<u64, StoreError> {
        panic!("closing a job sweeps no tombstones");
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        panic!("closing a job rebuilds no totals");
    }
}

/// A sealed snapshot of one chunk.
struct Snapshot {
    job: JobId,
    ledger: Ledger,
    closer: Closer,
    bus: Arc<Bus>,
}

impl Snapshot {
    /// Seals a snapshot whose store prunes with these results, from the last to the first.
    async fn sealed(results: Vec<Result<u64, StoreError>>) -> Self {
        let bus = Arc::new(Bus::default());
        let ledger = Ledger::new(Arc::new(MemoryTable::default()));
        let publisher = Arc::clone(&bus) as Arc<dyn Publisher>;
        let buckets = Buckets::default();
        let definition = ("config".to_owned(), "datasets/products.toml".to_owned());
        let stored = (definition, DEFINITION.into());
        buckets.latest.lock().unwrap().extend([stored]);
        let datasets = Arc::new(Datasets::new(Arc::new(buckets), "config"));
        let stores = vec![Arc::new(PruneStore(results.into())) as Arc<dyn Store>];
        let closer = Closer::new(
            ledger.clone(),
            publisher,
            Arc::<Queue>::default(),
            datasets,
            stores,
            "rejects",
            metrics(),
        );
        let dataset = DatasetRef {
            name: "products".to_owned(),
            version: None,
        };
        let head = JobHead {
            dataset: Some(dataset),
            mode: Mode::Snapshot,
            ..head_of("products/a.csv")
        };
        let job = head.job;
        ledger.start(&head).await.unwrap();
        ledger.expect_chunk(job, 0).await.unwrap();
        let seal = Seal {
            chunks: 1,
            problem: None,
            warnings: Vec::new(),
        };
        ledger.seal(job, &seal).await.unwrap();
        Self {
            job,
            ledger,
            closer,
            bus,
        }
    }

    /// Marks the chunk and closes the job.
    async fn finish(&self, outcome: &ChunkOutcome) -> Result<JobHead, CloseError> {
        let mark = self.ledger.mark_chunk(self.job, 0, outcome).await?;
        let head = mark.to_close.expect("the chunk completes the job");
        self.closer.close(head, far()).await
    }

    fn published(&self) -> Vec<CompletionEvent> {
        self.bus.events.lock().unwrap().clone()
    }
}

fn done(rejected: u64) -> ChunkOutcome {
    let counts = StoreCounts {
        inserted: 7,
        ..StoreCounts::default()
    };
    ChunkOutcome::Done(Counts {
        rows: 7 + rejected,
        rejected,
        stores: [(StoreKind::Sqlite, counts)].into(),
        ..Counts::default()
    })
}

#[tokio::test]
async fn a_snapshot_closes_with_the_number_of_pruned_rows() {
    let snapshot = Snapshot::sealed(vec![Ok(3)]).await;
    snapshot.finish(&done(0)).await.unwrap();
    let published = snapshot.published();
    assert_eq!(published[0].state, JobState::Succeeded);
    let counts = published[0].counts.stores[&StoreKind::Sqlite];
    assert_eq!((counts.inserted, counts.pruned, counts.total()), (7, 3, 7));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_pruned_stays_open_until_its_chunk_is_redelivered() {
    let busy = StoreError::Contended {
        store: StoreKind::Sqlite,
        reason: "busy".to_owned(),
    };
    let snapshot = Snapshot::sealed(vec![Ok(3), Err(busy)]).await;
    let error = snapshot.finish(&done(0)).await.unwrap_err();
    assert!(matches!(&error, CloseError::Prune { .. }), "{error}");
    assert!(error.retryable());
    assert!(snapshot.published().is_empty());

    let mark = snapshot.ledger.find_mark(snapshot.job, 0).await.unwrap();
    let head = mark.and_then(|mark| mark.to_close).unwrap();
    snapshot.closer.close(head, far()).await.unwrap();
    assert_eq!(snapshot.published().len(), 1);
}

#[tokio::test]
async fn a_snapshot_with_rejects_prunes_nothing_and_has_a_problem() {
    let snapshot = Snapshot::sealed(vec![]).await;
    snapshot.finish(&done(1)).await.unwrap();
    let published = snapshot.published();
    assert_eq!(published[0].state, JobState::Succeeded);
    let problem = published[0].problem.as_ref().unwrap();
    assert_eq!(problem.code, ProblemCode::NotPruned);
}

#[tokio::test]
async fn a_snapshot_with_a_dead_chunk_prunes_nothing() {
    let snapshot = Snapshot::sealed(vec![]).await;
    snapshot
        .finish(&ChunkOutcome::Dead(dead_chunk(0)))
        .await
        .unwrap();
    assert_eq!(snapshot.published()[0].state, JobState::Partial);
}

#[tokio::test]
async fn a_job_fails_with_its_first_problem() {
    let snapshot = Snapshot::sealed(vec![]).await;
    for message in ["the first", "the second"] {
        let problem = Problem::new(ProblemCode::SchemaMismatch, message);
        let added = snapshot.ledger.add_problem(snapshot.job, problem);
        added.await.unwrap();
    }
    snapshot
        .finish(&ChunkOutcome::Dead(dead_chunk(0)))
        .await
        .unwrap();
    let published = snapshot.published();
    assert_eq!(published[0].state, JobState::Failed);
    let problem = published[0].problem.as_ref().unwrap();
    assert_eq!(problem.message, "the first");
}

#[tokio::test]
async fn the_time_of_publication_is_that_of_the_first_event() {
    let snapshot = Snapshot::sealed(vec![Ok(0)]).await;
    let closed = snapshot.finish(&done(0)).await.unwrap();
    assert!(closed.published_at >= closed.closed_at);
    // A closer that read the head earlier publishes again.
    let stale = JobHead {
        published: false,
        ..closed.clone()
    };
    assert_eq!(snapshot.closer.close(stale, far()).await.unwrap(), closed);
    assert_eq!(snapshot.published().len(), 2);
}
