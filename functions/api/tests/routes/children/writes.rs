//! Creates, changes and deletes, and what is repeated of them.

use axum::http::{Method, StatusCode};
use landfall_domain::WriteOperation;
use landfall_ledger::{CheckedNumbers, ParentTable};

use super::{api, call, create, get, open, parent, post, with, work};

#[tokio::test]
async fn a_repeated_request_gets_the_same_number_or_token() {
    let api = api();
    let opened = open(&api, "shop").await;
    let path = format!("{}/chats", opened.path);
    let key = [("idempotency-key", "k1")];
    let send = async |body: &str| call(&api, &opened.token, Method::POST, &path, &key, body).await;
    for _ in 0..3 {
        let created = send("{\"title\":\"a\"}").await;
        assert_eq!(created.status, StatusCode::CREATED);
        assert_eq!(created.json()["chat"], 1);
    }
    assert_eq!(work(&api).len(), 1);
    let other = send("{\"title\":\"b\"}").await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(create(&api, &opened, "chats", "").await, 2);

    let body = "{\"name\":\"twice\"}";
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let created = call(
            &api,
            api.token.reveal(),
            Method::POST,
            "/applications",
            &key,
            body,
        );
        tokens.push(created.await.json()["token"].clone());
    }
    assert_eq!(tokens[0], tokens[1]);
    let created = call(
        &api,
        api.others["writer"].reveal(),
        Method::POST,
        "/applications",
        &key,
        body,
    );
    assert_ne!(created.await.json()["token"], tokens[0]);
}

#[tokio::test]
async fn invalid_rows_use_up_no_number() {
    let api = api();
    let opened = open(&api, "shop").await;
    create(&api, &opened, "chats", "").await;
    let path = format!("{}/chats/1/messages", opened.path);
    for (body, status) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY),
        ("[]", StatusCode::UNPROCESSABLE_ENTITY),
        ("{\"body\":\"a\",\"message\":1}", StatusCode::BAD_REQUEST),
        ("{\"body\":\"a\",\"message\":0}", StatusCode::BAD_REQUEST),
        ("{\"body\":\"a\",\"chat\":2}", StatusCode::BAD_REQUEST),
    ] {
        let answer = post(&api, &opened.token, &path, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let agreeing = "{\"body\":\"a\",\"chat\":1}";
    assert_eq!(create(&api, &opened, "chats/1/messages", agreeing).await, 1);
}

#[tokio::test]
async fn changes_and_deletes_are_writes_and_nothing_is_found_below_a_deleted_row() {
    let api = api();
    let opened = open(&api, "shop").await;
    create(&api, &opened, "chats", "").await;
    create(&api, &opened, "chats/1/messages", "{\"body\":\"a\"}").await;
    let created = work(&api);
    let message = format!("{}/chats/1/messages/1", opened.path);
    let change = call(
        &api,
        &opened.token,
        Method::PATCH,
        &message,
        &[],
        "{\"body\":\"b\"}",
    )
    .await;
    assert_eq!(change.status, StatusCode::ACCEPTED, "{}", change.text());
    assert!(
        change
            .header("location")
            .starts_with("../../../../../writes/")
    );
    let changed = work(&api);
    assert_eq!(changed[0].operation, WriteOperation::Patch);
    assert!(created.iter().all(|create| create.write < changed[0].write));

    let delete = call(&api, &opened.token, Method::DELETE, &message, &[], "").await;
    assert_eq!(delete.status, StatusCode::ACCEPTED);
    work(&api);
    assert_eq!(
        get(&api, &opened.token, &message).await.status,
        StatusCode::NOT_FOUND
    );
    let change = call(
        &api,
        &opened.token,
        Method::PATCH,
        &message,
        &[],
        "{\"body\":\"c\"}",
    )
    .await;
    assert_eq!(change.status, StatusCode::NOT_FOUND);
    // Its number is not given out again.
    assert_eq!(
        create(&api, &opened, "chats/1/messages", "{\"body\":\"d\"}").await,
        2
    );

    let chat = format!("{}/chats/1", opened.path);
    for _ in 0..2 {
        let delete = call(&api, &opened.token, Method::DELETE, &chat, &[], "").await;
        assert_eq!(delete.status, StatusCode::ACCEPTED);
    }
    for below in ["", "/messages", "/messages/2"] {
        let path = format!("{chat}{below}");
        assert_eq!(
            get(&api, &opened.token, &path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let post = post(
        &api,
        &opened.token,
        &format!("{chat}/messages"),
        "{\"body\":\"e\"}",
    )
    .await;
    assert_eq!(post.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rows_with_numbers_cannot_be_written_by_other_routes() {
    let api = api();
    let opened = open(&api, "shop").await;
    create(&api, &opened, "chats", "").await;
    let row = format!("/datasets/chats/rows/{},1", opened.id);
    let token = api.token.reveal();
    for (method, path, body) in [
        (Method::PUT, row.as_str(), "{}"),
        (Method::PATCH, &row, "{}"),
        (Method::DELETE, &row, ""),
        (Method::POST, "/datasets/chats/rows", "[]"),
        (
            Method::POST,
            "/uploads",
            "{\"dataset\":\"chats\",\"name\":\"a.csv\",\"size\":1}",
        ),
    ] {
        let answer = call(&api, token, method.clone(), path, &[], body).await;
        assert_eq!(
            answer.status,
            StatusCode::CONFLICT,
            "{method} {path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_number_that_may_be_void_by_now_is_not_sent_again() {
    let api = with(|settings| settings.void_seconds = 0);
    let opened = open(&api, "shop").await;
    let path = format!("{}/chats", opened.path);
    let key = [("idempotency-key", "k1")];
    *api.queue.1.lock().unwrap() = true;
    let failed = call(&api, &opened.token, Method::POST, &path, &key, "").await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    *api.queue.1.lock().unwrap() = false;
    let waits = call(&api, &opened.token, Method::POST, &path, &key, "").await;
    assert_eq!(
        (waits.status, waits.header("retry-after")),
        (StatusCode::CONFLICT, "60")
    );
    let checked = CheckedNumbers {
        from: 0,
        to: 1,
        voids: [1].into(),
    };
    let application = parent("applications", &[&opened.id]);
    assert!(
        api.table
            .record_checked(&application, "chats", &checked)
            .await
            .unwrap()
    );
    let void = call(&api, &opened.token, Method::POST, &path, &key, "").await;
    assert_eq!(void.status, StatusCode::CONFLICT);
    assert!(void.detail().contains("is void"), "{}", void.text());
    assert_eq!(work(&api).len(), 0);
}
