//! Datasets that are paused.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fakes::{Api, ApiResponse};

async fn post(api: &Api, token: &str, path: &str) -> ApiResponse {
    let bearer = format!("Bearer {}", api.others[token].reveal());
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", bearer);
    api.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn open_jobs_of_a_paused_dataset_say_so_until_it_is_resumed() {
    let api = Api::new();
    let open = api.start_job("products/1.csv").await.job;
    let closed = api.start_job("products/2.csv").await.job;
    api.close_job(closed).await;
    api.start_job("readings/1.tsv").await;
    let paused = async || -> Vec<String> {
        let jobs = api.get("/jobs").await.json()["jobs"].take();
        let jobs = jobs.as_array().unwrap().iter();
        let jobs = jobs.filter(|job| !job["paused"].is_null());
        jobs.map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(paused().await.is_empty());

    let first = post(&api, "operator", "/datasets/products/pause")
        .await
        .json();
    assert_eq!(first["dataset"], "products");
    assert_eq!(first["paused"]["by"], "operator");
    let again = post(&api, "operator", "/datasets/products/pause")
        .await
        .json();
    assert_eq!(again, first);
    assert_eq!(paused().await, [open.to_string()]);
    assert_eq!(
        api.get(&format!("/jobs/{open}")).await.json()["paused"],
        first["paused"]
    );

    let resumed = post(&api, "operator", "/datasets/products/resume").await;
    let expected = json!({ "dataset": "products", "paused": Value::Null });
    assert_eq!(resumed.json(), expected);
    assert!(paused().await.is_empty());
}

#[tokio::test]
async fn only_operators_pause_datasets() {
    let api = Api::new();
    for action in ["pause", "resume"] {
        let path = format!("/datasets/products/{action}");
        for token in ["reader", "writer", "stranger"] {
            let refused = post(&api, token, &path).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token}");
        }
        assert_eq!(post(&api, "operator", &path).await.status, StatusCode::OK);
    }
    let unknown = post(&api, "operator", "/datasets/unknown/pause").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}
