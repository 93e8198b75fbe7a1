//! How a snapshot closes, and how a job that was told why it fails.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landfall_domain::{
    CompletionEvent, Counts, JobId, JobState, Mode, ObjectOrder, ObjectRef, Problem, ProblemCode,
    StoreCounts, StoreKind,
};
use landfall_ledger::{
    ChunkOutcome, JobHead, Ledger, LedgerError, MemoryTable, Pinned, PruneError, Pruner, Publisher,
    Seal,
};

#[derive(Default)]
struct Outside {
    published: Mutex<Vec<CompletionEvent>>,
    /// What the stores answer, one after the other.
    answers: Mutex<Vec<Result<u64, PruneError>>>,
}

#[async_trait]
impl Publisher for Outside {
    async fn publish(&self, event: &CompletionEvent) -> Result<(), String> {
        self.published.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[async_trait]
impl Pruner for Outside {
    async fn prune(&self, _: &JobHead) -> Result<BTreeMap<StoreKind, u64>, PruneError> {
        let answer = self.answers.lock().unwrap().pop();
        let pruned = answer.expect("a prune that nothing is said about")?;
        Ok([(StoreKind::Sqlite, pruned)].into())
    }
}

/// A snapshot of one chunk, sealed. Both ledgers are over one table: the second has the stores.
async fn sealed(answers: Vec<Result<u64, PruneError>>) -> (Arc<Outside>, Ledger, Ledger, JobHead) {
    let outside = Arc::new(Outside::default());
    *outside.answers.lock().unwrap() = answers;
    let table = Arc::new(MemoryTable::default());
    let splitter = Ledger::new(table, Arc::clone(&outside) as Arc<dyn Publisher>, "rejects");
    let worker = splitter
        .clone()
        .with_pruner(Arc::clone(&outside) as Arc<dyn Pruner>);
    let job = JobId::of("inbox", "products/a.csv", "v1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: "products/a.csv".to_owned(),
        version: Some("v1".to_owned()),
        etag: "e".to_owned(),
        size: 1,
    };
    let order = ObjectOrder::new(1, "01", job).unwrap();
    let pinned = Pinned {
        mode: Mode::Snapshot,
        ..Pinned::default()
    };
    let head = splitter
        .start(&JobHead::new(job, object, order, pinned))
        .await
        .unwrap();
    splitter.expect_chunk(job, 0).await.unwrap();
    let seal = Seal {
        chunks: 1,
        problem: None,
    };
    splitter.seal(job, &seal).await.unwrap();
    (outside, splitter, worker, head)
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
    })
}

#[tokio::test]
async fn a_snapshot_closes_where_the_stores_are_and_tells_what_was_pruned() {
    let (outside, splitter, worker, head) = sealed(vec![Ok(3)]).await;
    splitter.finish_chunk(head.job, 0, &done(0)).await.unwrap();
    assert!(outside.published.lock().unwrap().is_empty());

    let open = splitter.head(head.job).await.unwrap().unwrap();
    assert!(open.is_complete() && open.state == JobState::Open);
    worker.finish(open).await.unwrap();
    let published = outside.published.lock().unwrap();
    assert_eq!(published[0].state, JobState::Succeeded);
    let counts = published[0].counts.stores[&StoreKind::Sqlite];
    assert_eq!((counts.inserted, counts.pruned, counts.total()), (7, 3, 7));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_pruned_yet_stays_open_until_its_chunk_comes_again() {
    let busy = PruneError {
        reason: "busy".to_owned(),
        retryable: true,
    };
    let (outside, _, worker, head) = sealed(vec![Ok(3), Err(busy)]).await;
    let failed = worker.finish_chunk(head.job, 0, &done(0)).await;
    assert!(matches!(&failed, Err(LedgerError::Prune { .. })));
    assert!(failed.unwrap_err().retryable());
    assert!(outside.published.lock().unwrap().is_empty());

    assert!(worker.is_taken(head.job, 0).await.unwrap());
    assert_eq!(outside.published.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_snapshot_with_rejects_prunes_nothing_and_says_so() {
    let (outside, _, worker, head) = sealed(vec![]).await;
    worker.finish_chunk(head.job, 0, &done(1)).await.unwrap();
    let published = outside.published.lock().unwrap();
    assert_eq!(published[0].state, JobState::Succeeded);
    let problem = published[0].problem.as_ref().unwrap();
    assert_eq!(problem.code, ProblemCode::NotPruned);
}

#[tokio::test]
async fn a_dead_chunk_keeps_a_snapshot_from_pruning() {
    let (outside, _, worker, head) = sealed(vec![]).await;
    worker
        .finish_chunk(head.job, 0, &ChunkOutcome::Dead)
        .await
        .unwrap();
    assert_eq!(
        outside.published.lock().unwrap()[0].state,
        JobState::Partial
    );
}

#[tokio::test]
async fn a_job_fails_for_the_problem_that_was_noted_first() {
    let (outside, _, worker, head) = sealed(vec![]).await;
    for message in ["the first", "the second"] {
        let problem = Problem::new(ProblemCode::SchemaMismatch, message);
        worker.add_problem(head.job, &problem).await.unwrap();
    }
    worker
        .finish_chunk(head.job, 0, &ChunkOutcome::Dead)
        .await
        .unwrap();
    let published = outside.published.lock().unwrap();
    assert_eq!(published[0].state, JobState::Failed);
    let problem = published[0].problem.as_ref().unwrap();
    assert_eq!(problem.message, "the first");
}
