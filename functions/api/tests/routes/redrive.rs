//! Redrives of jobs.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use landfall_aws::WorkMessage;
use landfall_domain::{
    ByteRange, ChunkKind, DeadChunk, DeadCode, Format, JobId, ObjectOrder, PlannedChunk, Reading,
};
use landfall_formats::CUTTING_RULES;
use landfall_ledger::{ChunkOutcome, JobHead, LedgerTable, PlanBlock, Seal};
use serde_json::json;

use crate::fakes::{Api, ApiResponse, PRODUCTS};

/// Closes a job whose only chunk is dead, with or without a plan.
async fn partial(api: &Api, key: &str, is_planned: bool) -> JobHead {
    let mut head = api.start_job(key).await;
    if is_planned {
        // Another job of the same object, which pins everything.
        head.job = JobId::for_object("inbox", key, "2");
        head.order = ObjectOrder::new(2, "", head.job).unwrap();
        head.cutting_rules = CUTTING_RULES;
        let version = api.buckets.version("config", "datasets/products.toml");
        head.dataset.as_mut().unwrap().version = version;
        head = api.table.create(&head).await.unwrap();
    }
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
    let listed = listed["jobs"].as_array().unwrap().iter();
    let mut ids = listed.map(|job| job["id"].as_str().unwrap());
    assert!(ids.any(|id| id == job.to_string()));
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

/// Closes a partial job, and redrives it with the latest definition after this change.
async fn with_latest(api: &Api, from: &str, to: &str) -> (JobId, ApiResponse) {
    let job = partial(api, "products/1.csv", true).await.job;
    let definition = PRODUCTS.replacen(from, to, 1);
    api.buckets
        .put_text("config", "datasets/products.toml", &definition);
    let path = format!("/jobs/{job}/redrive");
    let body = json!({ "definition": "latest" });
    (job, api.post_json(&path, &body).await)
}

#[tokio::test]
async fn a_redrive_with_the_latest_definition_is_another_job() {
    let api = Api::new();
    let field = "[[fields]]\nname = \"size\"\ntype = \"text\"\n[[totals]]";
    let (job, response) = with_latest(&api, "[[totals]]", field).await;
    assert_eq!(response.status, StatusCode::ACCEPTED, "{}", response.text());
    let derived: JobId = response.json()["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(derived, job.for_redrive(1));
    assert_eq!(response.json()["redrive_of"], job.to_string());
    assert_eq!(response.json()["state"], "open");
    let message = WorkMessage::Redrive {
        job: derived,
        attempt: 1,
        shard: 0,
    };
    assert_eq!(sent(&api), std::slice::from_ref(&message));
    let origin = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(origin["state"], "partial");
    assert_eq!(origin["redrives"][0]["job"], derived.to_string());

    // Until it is planned, it is the only redrive.
    let path = format!("/jobs/{job}/redrive");
    let body = json!({ "definition": "latest" });
    let again = api.post_json(&path, &body).await;
    assert_eq!(again.json()["id"], derived.to_string());
    assert_eq!(sent(&api), [message]);
    let other = redrive(&api, job).await;
    assert_eq!(other.status, StatusCode::CONFLICT);

    let head = api.ledger.head(derived).await.unwrap().unwrap();
    let origin = api.ledger.head(job).await.unwrap().unwrap();
    assert_eq!((&head.object, head.order), (&origin.object, origin.order));
    assert_ne!(head.dataset, origin.dataset);
    let dead = api.ledger.dead_messages(&origin, 0, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(
        api.ledger
            .dead_messages(&origin, 1, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_latest_definition_must_be_another_one_with_the_same_records() {
    for (from, to, words) in [
        ("[[totals]]", "[[totals]]", "has not changed"),
        (
            "[[fields]]",
            "csv.delimiter = \";\"\n[[fields]]",
            "in another way",
        ),
        (
            "[[fields]]",
            "format = \"csv\"\n[[fields]]",
            "in another way",
        ),
        ("[[fields]]", "x", "gone or invalid"),
    ] {
        let api = Api::new();
        let (_, response) = with_latest(&api, from, to).await;
        assert_eq!(response.status, StatusCode::CONFLICT, "{to}");
        assert!(response.detail().contains(words), "{}", response.detail());
        assert!(sent(&api).is_empty());
    }
    let api = Api::new();
    let job = partial(&api, "products/1.csv", true).await.job;
    let path = format!("/jobs/{job}/redrive");
    for body in [
        json!({ "definition": "newest" }),
        json!({ "definitoin": "latest" }),
    ] {
        let response = api.post_json(&path, &body).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn a_redrive_needs_the_scope_write() {
    let api = Api::new();
    let job = partial(&api, "products/1.csv", true).await.job;
    api.assert_needs_write(Method::POST, &format!("/jobs/{job}/redrive"))
        .await;
}
