//! What tokens open, by the document.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::{api, call, create, get, open, work};
use crate::fakes::Api;

/// Returns the operations of the document below `/applications`, at these values of their parameters.
async fn operations(api: &Api, token: &str) -> Vec<(Method, String)> {
    let document = api.get_without_token("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let below = paths.filter(|(path, _)| path.starts_with("/applications"));
    let operations: Vec<_> = below
        .flat_map(|(path, methods)| {
            let path = path
                .replace("{token}", token)
                .replace("{chats_number}", "1")
                .replace("{messages_number}", "1");
            assert!(!path.contains('{'), "{path}");
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
        })
        .collect();
    assert_eq!(operations.len(), 16, "{operations:?}");
    operations
}

#[tokio::test]
async fn a_row_token_opens_its_row_and_nothing_else() {
    let api = api();
    let (one, other) = (open(&api, "one").await, open(&api, "secret garden").await);
    for opened in [&one, &other] {
        create(&api, opened, "chats", "").await;
        create(
            &api,
            opened,
            "chats/1/messages",
            "{\"body\":\"secret garden\"}",
        )
        .await;
    }
    work(&api);
    for (method, path) in operations(&api, &other.token).await {
        let body = if method == Method::POST || method == Method::PATCH {
            "{\"body\":\"x\",\"name\":\"x\",\"title\":\"x\"}"
        } else {
            ""
        };
        for path in [
            path.clone(),
            format!("{path}?search=garden"),
            path.replace(&other.token, &other.id),
        ] {
            let answer = call(&api, &one.token, method.clone(), &path, &[], body).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert!(!answer.text().contains("garden"));
        }
        let none = Request::builder().method(method.clone()).uri(&path);
        let none = api.send(none.body(Body::empty()).unwrap()).await;
        assert_eq!(none.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        // A token of the API needs the scope and the dataset.
        let is_read = method == Method::GET;
        for token in [if is_read { "writer" } else { "reader" }, "stranger"] {
            let token = api.others[token].reveal();
            let answer = call(&api, token, method.clone(), &path, &[], body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
    for path in [
        "/datasets",
        "/session",
        "/datasets/messages/rows",
        "/jobs",
        "/nothing",
    ] {
        let answer = get(&api, &one.token, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let unknown = landfall_auth::RowToken::random();
    let path = format!("/applications/{}", unknown.reveal());
    assert_eq!(
        get(&api, unknown.reveal(), &path).await.status,
        StatusCode::NOT_FOUND
    );
    // A caller of the API finds rows by their ids, too.
    let by_id = api
        .get(&format!("/applications/{}/chats/1/messages", one.id))
        .await;
    assert_eq!(by_id.json()["rows"][0]["body"], "secret garden");
}

#[tokio::test]
async fn the_document_describes_the_datasets_of_the_stack() {
    let api = api();
    let document = api.get_without_token("/openapi.json").await.json();
    let path = "/applications/{token}/chats/{chats_number}/messages";
    let operation = &document["paths"][path]["get"];
    assert_eq!(operation["operationId"], "messages.list");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in ["401", "429", "500", "503"] {
                let declared = &operation["responses"][status];
                assert!(declared.is_object(), "{method} {path} {status}");
            }
        }
    }
}
