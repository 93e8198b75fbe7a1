//! Jobs and their rejects.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use landfall_domain::{Format, JobId, Reject, RejectCode, RejectsLocation, StoreKind};
use landfall_ledger::{Circuit, CircuitTable};
use serde_json::json;

use crate::fakes::Api;

#[tokio::test]
async fn jobs_are_listed_by_dataset_and_state_newest_first() {
    let api = Api::new();
    for number in 0..3 {
        let job = api.start_job(&format!("products/{number}.csv")).await.job;
        if number == 1 {
            api.close_job(job).await;
        }
    }
    api.start_job("readings/1.tsv").await;
    let keys = async |path: &str| -> Vec<String> {
        let page = api.get(path).await.json();
        let jobs = page["jobs"].as_array().unwrap().clone();
        let key = |job: &serde_json::Value| job["object"]["key"].as_str().unwrap().to_owned();
        jobs.iter().map(key).collect()
    };
    assert_eq!(keys("/jobs").await[0], "readings/1.tsv");
    assert_eq!(keys("/jobs").await.len(), 4);
    assert_eq!(
        keys("/jobs?dataset=products&state=open").await,
        ["products/2.csv", "products/0.csv"]
    );
    assert_eq!(keys("/jobs?state=succeeded").await, ["products/1.csv"]);

    let first = api.get("/jobs?limit=3").await.json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(
        keys(&format!("/jobs?limit=3&cursor={next}")).await,
        ["products/0.csv"]
    );
    for wrong in ["cursor=x", "state=lost", "limit=101", "dateset=x"] {
        let response = api.get(&format!("/jobs?{wrong}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_job_has_its_progress() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let open = api.get(&format!("/jobs/{job}")).await;
    assert_eq!(open.header("cache-control"), "no-store");
    assert_eq!(open.json()["state"], "open");
    assert_eq!(open.json()["chunks"]["planned"], serde_json::Value::Null);
    api.close_job(job).await;
    let closed = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(closed["state"], "succeeded");
    assert_eq!(closed["progress"], 1.0);
    assert_eq!(closed["counts"]["rows"], 0);
}

#[tokio::test]
async fn an_open_job_shows_which_stores_it_waits_for() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let path = format!("/jobs/{job}");
    assert_eq!(api.get(&path).await.json()["waiting_for"], json!([]));
    let circuit = Circuit {
        store: StoreKind::Postgres,
        since: "2026-11-20T08:30:00Z".parse().unwrap(),
        reason: "I/O: connection refused".to_owned(),
        probe_at: "2026-11-20T08:30:05Z".parse().unwrap(),
    };
    api.table.open_circuit(&circuit).await.unwrap();
    let down = json!([{
        "store": "postgres",
        "since": "2026-11-20T08:30:00Z",
        "reason": "I/O: connection refused",
    }]);
    assert_eq!(api.get(&path).await.json()["waiting_for"], down);
    api.close_job(job).await;
    assert_eq!(api.get(&path).await.json()["waiting_for"], json!([]));
}

#[tokio::test]
async fn a_job_that_does_not_exist_yet_can_be_requested_again() {
    let api = Api::new();
    let job = JobId::for_object("inbox", "products/2.csv", "1");
    let response = api.get(&format!("/jobs/{job}")).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(api.get("/jobs/x").await.status, StatusCode::BAD_REQUEST);
}

fn reject(offset: u64, raw: &str) -> String {
    let reject = Reject {
        job: None,
        format: Format::Json,
        offset,
        line: offset + 1,
        column: None,
        code: RejectCode::Json,
        message: "not JSON".to_owned(),
        raw: raw.to_owned(),
        raw_bytes: raw.len() as u64,
        record: None,
    };
    // As the worker writes it, with the object.
    let mut line = serde_json::to_value(&reject).unwrap();
    line["bucket"] = "inbox".into();
    line["key"] = "products/1.csv".into();
    format!("{line}\n")
}

/// Creates a job with rejects in three chunks, one of them with a long line.
async fn with_rejects(api: &Api) -> JobId {
    let job = api.start_job("products/1.csv").await.job;
    let location = RejectsLocation::new("rejects", "products", job);
    let long = "x".repeat(600 * 1024);
    let chunks = [
        (0, reject(0, "a") + &reject(1, "b")),
        (3, reject(2, &long) + &reject(3, "d")),
        (11, reject(4, "e")),
    ];
    for (chunk, lines) in chunks {
        api.buckets
            .put_text("rejects", &location.key(chunk), &lines);
    }
    job
}

#[tokio::test]
async fn rejects_are_paged_across_chunks() {
    let api = Api::new();
    let job = with_rejects(&api).await;
    for limit in 1..=5 {
        let mut path = format!("/jobs/{job}/rejects?limit={limit}");
        let mut seen = Vec::new();
        loop {
            let page = api.get(&path).await.json();
            let rejects = page["rejects"].as_array().unwrap();
            assert!(rejects.len() <= limit);
            let offset = |reject: &serde_json::Value| reject["offset"].as_u64().unwrap();
            seen.extend(rejects.iter().map(offset));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/jobs/{job}/rejects?limit={limit}&cursor={next}");
        }
        assert_eq!(seen, [0, 1, 2, 3, 4], "limit {limit}");
    }
}

#[tokio::test]
async fn rejects_are_downloaded_unchanged() {
    let api = Api::new();
    let job = with_rejects(&api).await;
    let ndjson = [("accept", "application/x-ndjson")];
    let response = api.get_with(&format!("/jobs/{job}/rejects"), &ndjson).await;
    assert_eq!(response.text().lines().count(), 5);
    assert!(response.text().starts_with(&reject(0, "a")));
    assert_eq!(response.header("link"), "");

    let without = api.start_job("products/2.csv").await.job;
    let none = api.get(&format!("/jobs/{without}/rejects")).await.json();
    assert_eq!(none["rejects"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn forged_cursors_of_rejects_are_refused() {
    let api = Api::new();
    let job = with_rejects(&api).await;
    let first = reject(0, "a").len();
    let place = |chunk: u32, byte: usize| format!(r#"{{"chunk":{chunk},"byte":{byte}}}"#);
    let ndjson = [("accept", "application/x-ndjson")];
    let get = async |place: &str| {
        let cursor = URL_SAFE_NO_PAD.encode(place);
        let path = format!("/jobs/{job}/rejects?cursor={cursor}");
        [api.get(&path).await, api.get_with(&path, &ndjson).await].map(|answer| answer.status)
    };
    for (chunk, byte) in [(0, 0), (0, first), (11, 0)] {
        let statuses = get(&place(chunk, byte)).await;
        assert_eq!(statuses, [StatusCode::OK; 2], "{chunk}, {byte}");
    }
    let size = first + reject(1, "b").len();
    let forged = [
        "{}".to_owned(),
        // Within a line, and at and after the end of an object.
        place(0, 1),
        place(0, first - 1),
        place(0, size),
        place(0, usize::MAX),
        // Chunks without rejects.
        place(1, 0),
        place(u32::MAX, 0),
    ];
    for place in forged {
        let statuses = get(&place).await;
        assert_eq!(statuses, [StatusCode::BAD_REQUEST; 2], "{place}");
    }
}

#[tokio::test]
async fn responses_with_long_rejects_are_bounded_and_lead_to_the_others() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job;
    let location = RejectsLocation::new("rejects", "products", job);
    // Escaped in the line, and again in the result of the function.
    let long = "\"".repeat(300 * 1024);
    let lines: Vec<_> = (0..9).map(|offset| reject(offset, &long)).collect();
    api.buckets
        .put_text("rejects", &location.key(0), &lines.concat());
    let mut query = String::new();
    let mut seen = String::new();
    loop {
        let path = format!("/jobs/{job}/rejects{query}");
        let ndjson = [("accept", "application/x-ndjson")];
        let page = api.get_with(&path, &ndjson).await;
        let result = serde_json::to_string(page.text()).unwrap();
        assert!(result.len() <= api::MAX_RESPONSE_BYTES + 2);
        seen += page.text();
        let Some(link) = page.header("link").strip_prefix('<') else {
            break;
        };
        link.split('>').next().unwrap().clone_into(&mut query);
    }
    assert!(seen == lines.concat());
}
