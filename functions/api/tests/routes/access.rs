//! Authentication and authorization.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use landfall_auth::Token;
use landfall_domain::JobId;
use serde_json::json;

use crate::fakes::{Api, ApiResponse, PRODUCTS};

/// Returns every route of the document, for dataset `products`.
fn routes(job: &str) -> Vec<(Method, String)> {
    let document = serde_json::to_value(api::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let routes: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let url = path
                .replace("{dataset}", "products")
                .replace("{key}", "a")
                .replace("{total}", "products_by_name")
                .replace("{source}", "feed")
                .replace(
                    "{destination}/changes",
                    "{destination}/changes?state=waiting",
                )
                .replace("{destination}", "shop")
                .replace("{task}", "1")
                .replace("{write}", WRITE)
                .replace("{notification}", NOTIFICATION)
                .replace("{job}", job);
            methods.as_object().unwrap().keys().map(move |method| {
                let method = method.to_uppercase().parse::<Method>().unwrap();
                (method, url.clone())
            })
        })
        .collect();
    assert!(routes.len() >= 12, "{routes:?}");
    routes
}

/// The id of a write that does not exist.
const WRITE: &str = "019900000000000000000000000000ff00000000";
/// The id of a notification that does not exist.
const NOTIFICATION: &str = "6f2c0a1e-4a55-5d0b-9e1c-0d6f0a4b7c11";
const SHOP: &str =
    "dataset = \"products\"\nurl = \"https://shop.example/\"\n[update]\npath = \"/{{ sku }}\"\n";
const FEED: &str = "dataset = \"products\"\nurl = \"https://shop.example/\"\nevery = \"1 hour\"\n";

/// Returns whether a route about a source or a destination needs the scope `admin`, which the stranger lacks.
fn is_for_operators(path: &str) -> bool {
    path.ends_with("/pause") || path.ends_with("/resume")
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.reveal())
}

async fn send(api: &Api, method: &Method, path: &str, authorization: Option<&str>) -> ApiResponse {
    let body = match path {
        "/uploads" => json!({ "dataset": "products", "name": "a.csv", "size": 1 }),
        "/uploads/complete" => {
            json!({ "key": "products/uploads/6a0e4bd2-9d1c-4d1b-9a7c-2f110f0b3a0a/a.csv" })
        }
        "/previews" => {
            json!({ "dataset": "products", "name": "a.csv", "size": 1, "start": "YQ==" })
        }
        "/datasets" => json!({ "definition": PRODUCTS }),
        _ if path.starts_with("/destinations/") => json!({ "all": true }),
        _ => json!([{ "sku": "a" }]),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let body = Body::from(body.to_string());
    api.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn every_route_needs_a_valid_token() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job.to_string();
    let unknown = bearer(&Token::random());
    let basic = format!("Basic {}", api.token.reveal());
    for (method, path) in routes(&job) {
        for authorization in ["", "Bearer", "Bearer x", &unknown, &basic] {
            let authorization = Some(authorization).filter(|text| !text.is_empty());
            let response = send(&api, &method, &path, authorization).await;
            assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(response.json()["type"], "urn:landfall:problem:unauthorized");
            assert!(response.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let objects = api.buckets.objects.lock().unwrap();
    assert!(objects.keys().all(|(bucket, _)| bucket == "config"));
}

#[tokio::test]
async fn the_scheme_is_not_case_sensitive() {
    let api = Api::new();
    let bearer = format!("bearer  {}", api.token.reveal());
    let response = send(&api, &Method::GET, "/session", Some(&bearer)).await;
    assert_eq!(response.status, StatusCode::OK);
}

#[tokio::test]
async fn every_route_needs_its_scope() {
    let api = Api::new();
    let job = api.start_job("products/1.csv").await.job.to_string();
    for (method, path) in routes(&job) {
        if path == "/session" {
            continue;
        }
        let is_read = method == Method::GET;
        let wrong = if is_read { "writer" } else { "reader" };
        let bearer = bearer(&api.others[wrong]);
        let response = send(&api, &method, &path, Some(&bearer)).await;
        assert_eq!(response.status, StatusCode::FORBIDDEN, "{method} {path}");
        let challenge = response.header("www-authenticate");
        assert!(challenge.contains("insufficient_scope"));
    }
}

#[tokio::test]
async fn a_token_for_another_dataset_is_refused() {
    let api = Api::new();
    api.buckets.put_text("config", "sources/feed.toml", FEED);
    api.buckets
        .put_text("config", "destinations/shop.toml", SHOP);
    api.rows.put("a", "secret", "1", None);
    let job = api.start_job("products/1.csv").await.job.to_string();
    let bearer = bearer(&api.others["stranger"]);
    for (method, path) in routes(&job) {
        let response = send(&api, &method, &path, Some(&bearer)).await;
        let lists = [
            "/datasets",
            "/jobs",
            "/sources",
            "/destinations",
            "/notifications",
        ];
        let is_list = method == Method::GET && lists.contains(&&*path);
        if is_list || path == "/session" {
            assert_eq!(response.status, StatusCode::OK, "{method} {path}");
            assert!(!response.text().contains("products"), "{}", response.text());
        } else if path.starts_with("/jobs/") {
            // As if it did not exist.
            let none = path.replace(&job, &JobId::for_object("inbox", "none", "1").to_string());
            let none = send(&api, &method, &none, Some(&bearer)).await;
            assert_eq!(response.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(response.problem(), none.problem());
        } else if path.starts_with("/writes/") || path.starts_with("/notifications/") {
            assert_eq!(response.status, StatusCode::NOT_FOUND, "{method} {path}");
        } else if (path.starts_with("/sources/") || path.starts_with("/destinations/"))
            && !is_for_operators(&path)
        {
            let unknown = |text: &str| text.replace("feed", "none").replace("shop", "none");
            let none = send(&api, &method, &unknown(&path), Some(&bearer)).await;
            assert_eq!(response.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(unknown(&response.detail()), none.detail());
        } else {
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
    let of_products = send(&api, &Method::GET, "/jobs?dataset=products", Some(&bearer)).await;
    assert_eq!(of_products.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_session_describes_the_token() {
    let api = Api::new();
    let session = api.get("/session").await.json();
    assert_eq!(session["name"], "everything");
    assert_eq!(session["scopes"], json!(["read", "write"]));
    assert_eq!(session["datasets"], "all");
    assert_eq!(session["socket_url"], "wss://socket.example/live");
    let bearer = bearer(&api.others["stranger"]);
    let session = send(&api, &Method::GET, "/session", Some(&bearer))
        .await
        .json();
    assert_eq!(session["datasets"], json!(["orders"]));
}

#[tokio::test]
async fn a_token_over_its_rate_limit_must_wait_and_others_need_not() {
    let api = Api::with(|settings| settings.requests_per_second = 1.try_into().unwrap());
    let mut refused = api.get("/session").await;
    for _ in 1..50 {
        if refused.status != StatusCode::TOO_MANY_REQUESTS {
            refused = api.get("/session").await;
        }
    }
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let bearer = bearer(&api.others["reader"]);
    let other = send(&api, &Method::GET, "/session", Some(&bearer)).await;
    assert_eq!(other.status, StatusCode::OK);
}
