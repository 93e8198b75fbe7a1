//! Fixed rejects.

use axum::http::StatusCode;
use landfall_domain::{JobId, RejectsOrigin};
use landfall_ledger::{JobHead, LedgerTable};
use serde_json::{Value as Json, json};

use crate::fakes::{Api, ApiResponse};

const NDJSON: &str = "application/x-ndjson";

/// Returns a line of the rejects of a job, whose object has 10 bytes.
fn line(offset: u64) -> Json {
    json!({
        "bucket": "inbox", "key": "products/1.csv", "version": "1", "format": "csv", "offset": offset, "line": 2,
        "code": "type", "message": "no", "raw": "a,x", "raw_bytes": 3, "record": {"sku": "a", "name": "x"},
    })
}

async fn hand_in(api: &Api, job: JobId, lines: &[Json]) -> ApiResponse {
    let lines: Vec<String> = lines.iter().map(Json::to_string).collect();
    let lines = lines.join("\r\n");
    api.post(&format!("/jobs/{job}/rejects"), NDJSON, lines)
        .await
}

#[tokio::test]
async fn fixed_rejects_become_an_object_that_names_their_job() {
    let api = Api::new();
    let first = api.start_job("products/1.csv").await;
    let response = hand_in(&api, first.job, &[line(4), line(9)]).await;
    assert_eq!(response.status, StatusCode::ACCEPTED, "{}", response.text());
    let accepted = response.json();
    let key = accepted["object"]["key"].as_str().unwrap();
    assert!(key.starts_with("products/"), "{key}");
    assert_eq!(RejectsOrigin::job_of(key), Some(first.job));
    let body = api.buckets.get("inbox", key).unwrap();
    assert_eq!(body.split(|byte| *byte == b'\n').count(), 2);
    let job = accepted["job"].as_str().unwrap();
    assert_eq!(response.header("location"), format!("../../jobs/{job}"));

    // What is rejected again still belongs to the first job.
    let mut second = JobHead::new(job.parse().unwrap(), first.object.clone(), first.order);
    second.object.key = key.to_owned();
    second.dataset = first.dataset.clone();
    second.rejects_of = Some(RejectsOrigin {
        job: first.job,
        object: first.object.clone(),
        is_packed: false,
    });
    api.table.create(&second).await.unwrap();
    let view = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(view["rejects_of"], first.job.to_string());
    let mut again = line(4);
    again["job"] = first.job.to_string().into();
    let third = hand_in(&api, second.job, &[again]).await.json();
    let key = third["object"]["key"].as_str().unwrap();
    assert_eq!(RejectsOrigin::job_of(key), Some(first.job));
}

#[tokio::test]
async fn lines_that_are_not_rejects_of_the_job_are_refused_before_any_is_ingested() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let with = |name: &str, value: Json| {
        let mut changed = line(4);
        changed[name] = value;
        changed
    };
    let before = api.buckets.objects.lock().unwrap().len();
    for (wrong, detail) in [
        (json!({"sku": "a"}), "keep it as it was downloaded"),
        (with("key", "products/2.csv".into()), "in another file"),
        (with("offset", 10.into()), "beyond the 10 bytes"),
        (with("record", Json::Null), "has no \"record\""),
    ] {
        let refused = hand_in(&api, job, &[line(4), wrong]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.detail().starts_with("line 2: "));
        assert!(refused.detail().contains(detail), "{}", refused.detail());
    }
    assert_eq!(
        hand_in(&api, job, &[]).await.status,
        StatusCode::BAD_REQUEST
    );
    let path = format!("/jobs/{job}/rejects");
    let other_type = api.post(&path, "text/csv", "a").await;
    assert_eq!(other_type.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let none = JobId::for_object("inbox", "none", "1");
    let unknown = hand_in(&api, none, &[line(4)]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(api.buckets.objects.lock().unwrap().len(), before);
}

#[tokio::test]
async fn many_fixed_rejects_are_uploaded_like_a_file() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let upload = |dataset: &str| json!({ "dataset": dataset, "name": "fixed.ndjson", "size": 12, "rejects_of": job });
    let other = api.post_json("/uploads", &upload("readings")).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    let place = api.post_json("/uploads", &upload("products")).await.json();
    let key = place["key"].as_str().unwrap();
    assert_eq!(RejectsOrigin::job_of(key), Some(job));
    api.buckets.put_text("inbox", key, "{}\n");
    let complete = json!({ "key": key });
    let accepted = api.post_json("/uploads/complete", &complete).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
}
