//! Writes of single rows.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use landfall_aws::WorkMessage;
use landfall_domain::{
    DeadCode, RowOutcome, StoreKind, WriteId, WriteMessage, WriteOperation, WriteProblem,
    WrittenRow,
};
use landfall_ledger::{WriteEnd, WriteTable};
use landfall_stores::{KeyVersions, StoredVersions};
use serde_json::{Value as Json, json};

use crate::fakes::{Api, ApiResponse};

const ROW: &str = "/datasets/products/rows/a";
const ORIGIN: &str = "/datasets/products/rows/a/origin";
const STOCK: &str = "name = \"stock\"\nkey = [\"sku\"]\nmode = \"merge\"\n\
    [[fields]]\nname = \"sku\"\ntype = \"text\"\n[[fields]]\nname = \"pieces\"\ntype = \"integer\"\n";
const EVENTS: &str =
    "name = \"events\"\nkey = \"position\"\n[[fields]]\nname = \"sku\"\ntype = \"text\"\n";

async fn call(
    api: &Api,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> ApiResponse {
    let mut request = api.request(method, path);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(Body::from(body.to_owned())).unwrap())
        .await
}

async fn put(api: &Api, body: &str) -> ApiResponse {
    call(api, Method::PUT, ROW, &[], body).await
}

/// Returns the messages that were sent since the last call.
fn sent(api: &Api) -> Vec<WriteMessage> {
    let messages = std::mem::take(&mut *api.queue.0.lock().unwrap());
    let messages = messages.into_iter().map(|message| match message {
        WorkMessage::Write(message) => *message,
        other => panic!("not a write: {other:?}"),
    });
    messages.collect()
}

fn id(write: &Json) -> WriteId {
    write["write"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_row_is_accepted_and_sent_to_the_workers() {
    let api = Api::new();
    let body = r#"{"name":"Lamp","price":"1.50"}"#;
    let answer = put(&api, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let write = answer.json();
    let path = format!("/writes/{}", id(&write));
    assert_eq!(answer.header("location"), format!("../../..{path}"));
    assert_eq!(write["status_url"], path);
    assert_eq!(
        (&write["state"], &write["by"]),
        (&json!("waiting"), &json!("everything"))
    );
    let messages = sent(&api);
    let [message] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(message.write, id(&write));
    assert_eq!(
        (message.operation, &message.key[..]),
        (WriteOperation::Put, &["a".to_owned()][..])
    );
    assert_eq!(message.row, Some(WrittenRow::Json(body.to_owned())));

    assert_eq!(api.get(&path).await.json(), write);
    let stores = [(StoreKind::Postgres, RowOutcome::Inserted)].into();
    let end = WriteEnd::Stored(stores);
    api.table
        .end_write(message.write, &end, Timestamp::now())
        .await
        .unwrap();
    let stored = api.get(&path).await.json();
    assert_eq!(stored["state"], "stored");
    assert_eq!(stored["stores"], json!({"postgres": "inserted"}));
    assert!(stored["ended_at"].is_string());
}

#[tokio::test]
async fn each_write_of_a_key_is_greater_than_the_one_before() {
    let api = Api::new();
    let mut last = String::new();
    for number in 0..20 {
        let method = [Method::PUT, Method::DELETE][number % 2].clone();
        let body = if method == Method::PUT {
            "{\"name\":\"Lamp\"}"
        } else {
            ""
        };
        let write = call(&api, method, ROW, &[], body).await.json();
        let version = write["version"].as_str().unwrap().to_owned();
        assert!(last < version, "{last} {version}");
        last = version;
    }
}

#[tokio::test]
async fn a_row_that_a_file_could_not_have_is_rejected() {
    let api = Api::new();
    for (body, code, column) in [
        (r#"{"price":"cheap"}"#, "type", json!("price")),
        (r#"{"price":1}{"price":2}"#, "json", Json::Null),
        ("[]", "json", Json::Null),
    ] {
        let answer = put(&api, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:landfall:problem:rejected", "{body}");
        assert_eq!(problem["reject"], json!({"code": code, "column": column}));
    }
    let other = put(&api, r#"{"sku":"b"}"#).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert!(
        other.detail().contains("another value of \"sku\""),
        "{}",
        other.text()
    );
    let text = api
        .request(Method::PUT, ROW)
        .header("content-type", "text/csv");
    let text = api.send(text.body("name\nLamp".into()).unwrap()).await;
    assert_eq!(text.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(sent(&api).is_empty());
}

#[tokio::test]
async fn only_what_the_dataset_allows_is_written() {
    let api = Api::new();
    api.buckets.put_text("config", "datasets/stock.toml", STOCK);
    api.buckets
        .put_text("config", "datasets/events.toml", EVENTS);
    let reading = "/datasets/readings/rows/s1,2026-11-20";
    let event = "/datasets/events/rows/events%2F1.csv,7";
    let revision = "?order=7";
    for (method, path, body, status) in [
        (Method::PATCH, ROW, "{\"name\":\"x\"}", 409),
        (
            Method::PATCH,
            "/datasets/stock/rows/a",
            "{\"pieces\":3}",
            202,
        ),
        (Method::PUT, "/datasets/stock/rows/a", "{}", 202),
        (Method::PUT, reading, "{\"revision\":7}", 202),
        (Method::DELETE, reading, "", 400),
        (Method::DELETE, &format!("{reading}{revision}"), "", 202),
        (Method::DELETE, &format!("{reading}?order=x"), "", 400),
        (Method::DELETE, &format!("{ROW}{revision}"), "", 400),
        (Method::PUT, event, "{}", 409),
        (Method::DELETE, event, "", 202),
        (Method::PUT, "/datasets/nothing/rows/a", "{}", 404),
        (Method::PUT, "/datasets/broken/rows/a", "{}", 409),
        (
            Method::PUT,
            "/datasets/products/rows/a?wait=maybe",
            "{}",
            400,
        ),
    ] {
        let answer = call(&api, method.clone(), path, &[], body).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {path}: {}",
            answer.text()
        );
    }
    let deletes = sent(&api)
        .into_iter()
        .filter(|sent| sent.operation == WriteOperation::Delete);
    let orders: Vec<_> = deletes.map(|delete| delete.order_value).collect();
    assert_eq!(orders, [Some("7".to_owned()), None]);
}

#[tokio::test]
async fn a_large_row_travels_as_an_object() {
    let api = Api::new();
    let name = "\"".repeat(110_000);
    for (body, is_object) in [
        (json!({"name": "x".repeat(200_000)}), false),
        // Its quotes are escaped twice.
        (json!({"name": name}), true),
    ] {
        let body = body.to_string();
        let write = put(&api, &body).await.json();
        let [message] = &sent(&api)[..] else {
            panic!("one message");
        };
        let stored = api.buckets.get("work", &id(&write).object_key());
        assert_eq!(stored.is_some(), is_object);
        if let Some(stored) = stored {
            assert_eq!(stored, body.as_bytes());
            assert_eq!(
                message.row,
                Some(WrittenRow::ObjectBytes(body.len() as u64))
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_write_of_the_first() {
    let api = Api::new();
    let key = [("idempotency-key", "order-17")];
    let send = async |path: &str, body: &str| call(&api, Method::PUT, path, &key, body).await;
    let first = send(ROW, "{\"name\":\"Lamp\"}").await;
    let again = send(ROW, "{\"name\":\"Lamp\"}").await;
    assert_eq!(
        (first.status, again.status),
        (StatusCode::ACCEPTED, StatusCode::ACCEPTED)
    );
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(sent(&api).len(), 1);
    for (path, body) in [
        (ROW, "{\"name\":\"Desk\"}"),
        ("/datasets/products/rows/b", "{\"name\":\"Lamp\"}"),
    ] {
        let other = send(path, body).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(other.json()["type"], "urn:landfall:problem:other_request");
    }
    let deleted = call(&api, Method::DELETE, ROW, &key, "").await;
    assert_eq!(deleted.status, StatusCode::UNPROCESSABLE_ENTITY);
    // Keys belong to a token.
    let bearer = format!("Bearer {}", api.others["writer"].reveal());
    let request = axum::http::Request::put(ROW)
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .header("idempotency-key", "order-17");
    let other = api
        .send(request.body("{\"name\":\"Desk\"}".into()).unwrap())
        .await;
    assert_eq!(other.status, StatusCode::ACCEPTED);
    assert_ne!(other.json()["write"], first.json()["write"]);
    let empty = call(&api, Method::PUT, ROW, &[("idempotency-key", "")], "{}").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_request_can_wait_for_the_end_of_its_write() {
    let api = Api::new();
    let wait = format!("{ROW}?wait=true");
    let failed = WriteEnd::Failed(WriteProblem::new(DeadCode::StoreRefused, "too wide"));
    let stored = WriteEnd::Stored([(StoreKind::Postgres, RowOutcome::Updated)].into());
    for (end, status) in [
        (stored, StatusCode::OK),
        (failed, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let worker = async {
            loop {
                if let Some(message) = sent(&api).pop() {
                    let now = Timestamp::now();
                    api.table.end_write(message.write, &end, now).await.unwrap();
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let body = "{\"name\":\"Lamp\"}";
        let (answer, ()) = tokio::join!(call(&api, Method::PUT, &wait, &[], body), worker);
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == StatusCode::OK {
            assert_eq!(answer.json()["state"], "stored");
        } else {
            assert!(
                answer.detail().contains("has failed: too wide"),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn writes_need_the_scope_write_and_reading_them_the_scope_read() {
    let api = Api::new();
    let write = id(&put(&api, "{}").await.json());
    for (token, put, get) in [
        ("reader", 403, 200),
        ("writer", 202, 403),
        ("stranger", 403, 404),
        ("operator", 202, 200),
    ] {
        let bearer = format!("Bearer {}", api.others[token].reveal());
        let request = |method: Method, path: &str| {
            let request = axum::http::Request::builder().method(method).uri(path);
            let request = request.header("authorization", &bearer);
            request.header("content-type", "application/json")
        };
        for method in [Method::PUT, Method::DELETE] {
            let request = request(method.clone(), ROW).body("{}".into()).unwrap();
            assert_eq!(
                api.send(request).await.status.as_u16(),
                put,
                "{token} {method}"
            );
        }
        let path = format!("/writes/{write}");
        let request = request(Method::GET, &path).body(Body::empty()).unwrap();
        assert_eq!(api.send(request).await.status.as_u16(), get, "{token}");
    }
    assert_eq!(api.get("/writes/x").await.status, StatusCode::BAD_REQUEST);
    let unknown = format!("/writes/{}", write.to_string().replacen('0', "1", 1));
    assert_eq!(api.get(&unknown).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_row_of_the_api_is_from_its_write_and_from_no_job() {
    let api = Api::new();
    let put = api.request(Method::PUT, "/datasets/products/rows/a");
    let put = put.header("content-type", "application/json");
    let put = api
        .send(put.body("{\"name\":\"Lamp\"}".into()).unwrap())
        .await;
    assert_eq!(put.status, StatusCode::ACCEPTED, "{}", put.text());
    let write = put.json();
    let of_store = |version: &str| KeyVersions {
        row: Some(StoredVersions {
            version: hex(version),
            columns: Vec::new(),
        }),
        ..KeyVersions::default()
    };
    let version = write["version"].as_str().unwrap();
    *api.rows.versions.lock().unwrap() = of_store(version);
    let origin = api.get(ORIGIN).await.json()["origins"][0].take();
    let found = &origin["write"];
    assert_eq!(found["write"], write["write"]);
    assert_eq!(
        (&found["operation"], &found["by"]),
        (&json!("put"), &json!("everything"))
    );
    assert_eq!(
        (&found["at"], &origin["source"]),
        (&write["at"], &Json::Null)
    );

    // One that has expired in the ledger.
    let expired = format!("{}{}", "00", &version[2..]);
    *api.rows.versions.lock().unwrap() = of_store(&expired);
    let origin = api.get(ORIGIN).await.json()["origins"][0].take();
    assert_eq!(origin["write"]["write"], expired[..40]);
    assert_eq!(
        (&origin["write"]["by"], &origin["source"]),
        (&Json::Null, &Json::Null)
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().unwrap()
}
