//! Properties of all responses, the document and the page.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::Value as Json;

use crate::fakes::Api;

#[tokio::test]
async fn errors_are_problems_with_their_request_id() {
    let api = Api::new();
    let missing = api.get("/nothing/here").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.header("content-type"), "application/problem+json");
    let problem = missing.json();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["type"], "urn:landfall:problem:not_found");
    assert_eq!(problem["request_id"], missing.header("x-request-id"));
    assert!(!problem["detail"].as_str().unwrap().is_empty());

    let request = api.request(Method::DELETE, "/jobs").body(Body::empty());
    let wrong = api.send(request.unwrap()).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        wrong.json()["type"],
        "urn:landfall:problem:method_not_allowed"
    );
    assert!(wrong.header("allow").contains("GET"));
}

/// Collects all values of `$ref` in a document.
fn references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(object) => {
            for (name, value) in object {
                match value {
                    Json::String(reference) if name == "$ref" => found.push(reference.clone()),
                    value => references(value, found),
                }
            }
        }
        Json::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_complete_and_needs_no_token() {
    let api = Api::new();
    let response = api.get_without_token("/openapi.json").await;
    assert_eq!(response.status, StatusCode::OK);
    let document = response.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["title"], "Landfall");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = HashSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str();
            assert!(ids.insert(id), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path} {status}");
            }
            for status in ["401", "429", "500", "503"] {
                let declared = &operation["responses"][status];
                assert!(declared.is_object(), "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_needs_no_token_and_loads_only_its_own_files() {
    let api = Api::new();
    let page = api.get_without_token("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let connect = "connect-src 'self' wss://socket.example https://inbox.example;";
    assert!(policy.contains(connect), "{policy}");
    let again = Request::get("/").header("if-none-match", page.header("etag"));
    let again = api.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    for path in ["/page/../Cargo.toml", "/page/", "/page/nothing.js"] {
        let response = api.get_without_token(path).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn only_configured_origins_may_send_requests() {
    let api = Api::with(|settings| {
        settings.cors_origins = vec!["https://shop.example".parse().unwrap()];
    });
    let preflight = |origin: &str| {
        Request::options("/datasets/products/rows")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            )
            .body(Body::empty())
            .unwrap()
    };
    let allowed = api.send(preflight("https://shop.example")).await;
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://shop.example"
    );
    let other = api.send(preflight("https://other.example")).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    let refused = api
        .get_with("/nothing", &[("origin", "https://shop.example")])
        .await;
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://shop.example"
    );
}
