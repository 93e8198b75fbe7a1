//! Cancellations of jobs.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use landfall_aws::WorkMessage;
use landfall_domain::{JobId, JobState, Mode, PruneDecision};
use landfall_ledger::{LedgerTable, Seal};

use crate::fakes::{Api, ApiResponse};

async fn cancel(api: &Api, job: JobId) -> ApiResponse {
    let request = api.request(Method::DELETE, &format!("/jobs/{job}"));
    api.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_open_job_is_cancelled_once_in_the_name_of_the_token() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let before = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(before["cancelled"], serde_json::Value::Null);
    let first = cancel(&api, job).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["state"], "open");
    assert_eq!(first.json()["cancelled"]["by"], "everything");
    let again = cancel(&api, job).await.json();
    assert_eq!(again["cancelled"], first.json()["cancelled"]);
    // A splitter or a worker closes the job.
    assert!(api.queue.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_job_that_only_awaits_its_close_is_handed_to_a_worker() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let seal = Seal {
        chunks: 0,
        problem: None,
        warnings: Vec::new(),
    };
    api.ledger.seal(job, &seal).await.unwrap();
    cancel(&api, job).await;
    let sent = std::mem::take(&mut *api.queue.0.lock().unwrap());
    assert_eq!(sent, [WorkMessage::Close { job }]);

    // The close of the other outcome came too late.
    let head = api.ledger.head(job).await.unwrap().unwrap();
    let sums = api.ledger.sums(&head).await.unwrap().unwrap();
    let stale = api
        .ledger
        .record_close(&head, JobState::Succeeded, None, sums.clone());
    assert_eq!(stale.await.unwrap().state, JobState::Open);
    let (state, problem) = head.outcome(&sums);
    let closed = api.ledger.record_close(&head, state, problem, sums).await;
    assert_eq!(closed.unwrap().state, JobState::Cancelled);
    let shown = api.get("/jobs?state=cancelled").await.json();
    let problem = shown["jobs"][0]["problem"]["message"].as_str().unwrap();
    assert!(
        problem.starts_with("everything cancelled the job"),
        "{problem}"
    );
    let again = cancel(&api, job).await;
    assert_eq!(again.json()["state"], "cancelled");
}

#[tokio::test]
async fn jobs_that_are_closed_or_closing_cannot_be_cancelled() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    api.close_job(job).await;
    let refused = cancel(&api, job).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.detail().contains("closed already (succeeded)"));

    let mut head = api.start_job("products/2.csv").await;
    head.mode = Mode::Snapshot;
    let decided = api.ledger.decide_prune(head.job, PruneDecision::default());
    decided.await.unwrap();
    let refused = cancel(&api, head.job).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.detail().contains("closing"));
    let head = api.table.head(head.job).await.unwrap().unwrap();
    assert_eq!(head.cancelled, None);
}

#[tokio::test]
async fn a_cancellation_needs_the_scope_write() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    api.assert_needs_write(Method::DELETE, &format!("/jobs/{job}"))
        .await;
}
