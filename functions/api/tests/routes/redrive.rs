//! Redrives of jobs.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use landfall_aws::WorkMessage;
use landfall_domain::{
    ByteRange, ChunkKind, DeadChunk, DeadCode, Format, JobId, PlannedChunk, Reading,
};
use landfall_ledger::{ChunkOutcome, JobHead, PlanBlock, Seal};

use crate::fakes::{Api, ApiResponse};

/// Closes a job whose only chunk is dead, with or without a plan.
async fn partial(api: &Api, key: &str, is_planned: bool) -> JobHead {
    let head = api.start_job(key).await;
    let range = ByteRange { start: 0, end: 10 };
    let chunk = PlannedChunk {
        range,
        first_line: 1,
        records: 1,
        kind: ChunkKind::Records,
    };
    let block = PlanBlock {
        shard: 0,
        reading: Reading::from(Format::Ndjson),
        header: None,
        chunks: vec![chunk],
    };
    api.ledger.expect_chunk(head.job, 0).await.unwrap();
    if is_planned {
        api.ledger.record_plan(head.job, &block).await.unwrap();
    }
    let seal = Seal {
        chunks: 1,
        problem: None,
        warnings: Vec::new(),
    };
    api.ledger.seal(head.job, &seal).await.unwrap();
    let message = block.message(&head, 0).unwrap();
    let dead = DeadChunk::new(&message, DeadCode::StoreRefused, "refused");
    let dead = ChunkOutcome::Dead(dead);
    let mark = api.ledger.mark_chunk(head.job, 0, &dead).await.unwrap();
    let head = mark.to_close.unwrap();
    let sums = api.ledger.sums(&head).await.unwrap().unwrap();
    let (state, problem) = head.outcome(&sums);
    let closed = api.ledger.record_close(&head, state, problem, sums).await;
    api.ledger.record_published(&closed.unwrap()).await.unwrap()
}

async fn redrive(api: &Api, job: JobId) -> ApiResponse {
    let request = api.request(Method::POST, &format!("/jobs/{job}/redrive"));
    api.send(request.body(Body::empty()).unwrap()).await
}

fn sent(api: &Api) -> Vec<WorkMessage> {
    std::mem::take(&mut *api.queue.0.lock().unwrap())
}

#[tokio::test]
async fn a_redriven_job_is_open_in_its_next_attempt_until_a_worker_has_sent_its_chunks() {
    let api = Api::new();
    let job = partial(&api, "products/1.csv", true).await.job;
    let first = redrive(&api, job).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let shown = first.json();
    assert_eq!(
        (&shown["state"], &shown["attempt"]),
        (&"open".into(), &2.into())
    );
    assert_eq!(shown["redrives"][0]["by"], "everything");
    assert_eq!(shown["redrives"][0]["chunks"], 1);
    assert_eq!(shown["redrives"][0]["state"], serde_json::Value::Null);
    let message = WorkMessage::Redrive {
        job,
        attempt: 2,
        shard: 0,
    };
    assert_eq!(sent(&api), std::slice::from_ref(&message));
    // The message may be lost; nothing else happens again.
    let again = redrive(&api, job).await.json();
    assert_eq!(again["redrives"], shown["redrives"]);
    assert_eq!(sent(&api), [message]);
    let listed = api.get("/jobs?state=open").await.json();
    assert_eq!(listed["jobs"][0]["id"], job.to_string());
}

#[tokio::test]
async fn jobs_without_dead_chunks_or_without_a_plan_are_not_redriven() {
    let api = Api::new();
    let refused = async |job, words: &str| {
        let response = redrive(&api, job).await;
        assert_eq!(response.status, StatusCode::CONFLICT);
        assert!(response.detail().contains(words), "{}", response.detail());
        assert!(sent(&api).is_empty());
    };
    let job = api.start_job("products/open.csv").await.job;
    refused(job, "still open").await;
    api.close_job(job).await;
    refused(job, "no chunk of the job is dead").await;
    let job = partial(&api, "products/old.csv", false).await.job;
    refused(job, "upload the file again").await;
}

#[tokio::test]
async fn a_redrive_needs_the_scope_write() {
    let api = Api::new();
    let job = partial(&api, "products/1.csv", true).await.job;
    for (token, status) in [
        ("reader", StatusCode::FORBIDDEN),
        ("stranger", StatusCode::NOT_FOUND),
        ("writer", StatusCode::ACCEPTED),
    ] {
        let bearer = format!("Bearer {}", api.others[token].reveal());
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(format!("/jobs/{job}/redrive"))
            .header("authorization", bearer);
        let response = api.send(request.body(Body::empty()).unwrap());
        assert_eq!(response.await.status, status, "{token}");
    }
}
