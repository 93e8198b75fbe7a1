//! Jobs that are cancelled while they are split.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::sync::Arc;

use landfall_domain::{JobId, ObjectOrder, ObjectRef};
use landfall_ledger::{JobHead, Ledger, LedgerError, MemoryTable, SHARD_CHUNKS, Seal};

async fn started() -> (Ledger, JobId) {
    let job = JobId::for_object("inbox", "a/1.csv", "1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: "a/1.csv".to_owned(),
        version: None,
        etag: String::new(),
        size: 1_000,
    };
    let ledger = Ledger::new(Arc::new(MemoryTable::default()));
    let head = JobHead::new(job, object, ObjectOrder::new(1, "", job).unwrap());
    ledger.start(&head).await.unwrap();
    (ledger, job)
}

fn seal(chunks: u32) -> Seal {
    Seal {
        chunks,
        problem: None,
        warnings: Vec::new(),
    }
}

#[tokio::test]
async fn a_splitter_stops_before_the_first_shard_that_nobody_has_begun() {
    let (ledger, job) = started().await;
    assert!(ledger.expect_chunk(job, 0).await.unwrap());
    assert!(ledger.expect_chunk(job, SHARD_CHUNKS).await.unwrap());
    ledger.cancel(job, "operator").await.unwrap();
    // A splitter that resumes the job plans every chunk that may have been sent.
    for ordinal in 0..2 * SHARD_CHUNKS {
        assert!(
            ledger.expect_chunk(job, ordinal).await.unwrap(),
            "{ordinal}"
        );
    }
    assert!(!ledger.expect_chunk(job, 2 * SHARD_CHUNKS).await.unwrap());
}

#[tokio::test]
async fn splitters_of_a_cancelled_job_may_plan_different_numbers_of_chunks() {
    let (ledger, job) = started().await;
    for ordinal in 0..3 {
        ledger.expect_chunk(job, ordinal).await.unwrap();
    }
    ledger.seal(job, &seal(3)).await.unwrap();
    let other = ledger.seal(job, &seal(4)).await.unwrap_err();
    assert!(matches!(other, LedgerError::PlanChanged { .. }), "{other}");
    ledger.cancel(job, "operator").await.unwrap();
    let head = ledger.seal(job, &seal(4)).await.unwrap();
    assert_eq!(head.chunks, Some(3));
}
