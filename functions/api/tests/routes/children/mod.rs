//! Rows with tokens, and the numbered rows below them.

mod numbers;
mod tokens;
mod writes;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use landfall_aws::WorkMessage;
use landfall_domain::{Dataset, ParentRow, Value, WriteMessage, WriteOperation, WrittenRow};
use landfall_formats::Written;
use landfall_stores::StoredRow;
use serde_json::json;

use crate::fakes::{Api, ApiResponse};

const DEFINITIONS: [(&str, &str); 3] = [
    (
        "applications",
        include_str!("../../../../../infra/examples/chats/applications.toml"),
    ),
    (
        "chats",
        include_str!("../../../../../infra/examples/chats/chats.toml"),
    ),
    (
        "messages",
        include_str!("../../../../../infra/examples/chats/messages.toml"),
    ),
];

/// The token of an application as a bearer, and the application's path.
struct Opened {
    token: String,
    path: String,
    id: String,
}

fn api() -> Api {
    with(|_| {})
}

fn with(set: impl FnOnce(&mut api::Settings)) -> Api {
    let api = Api::with(set);
    for (name, text) in DEFINITIONS {
        let key = format!("datasets/{name}.toml");
        api.buckets.put_text("config", &key, text);
    }
    api
}

async fn call(
    api: &Api,
    token: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> ApiResponse {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(Body::from(body.to_owned())).unwrap())
        .await
}

async fn get(api: &Api, token: &str, path: &str) -> ApiResponse {
    call(api, token, Method::GET, path, &[], "").await
}

async fn post(api: &Api, token: &str, path: &str, body: &str) -> ApiResponse {
    call(api, token, Method::POST, path, &[], body).await
}

/// Applies the messages that were sent as a worker does, whole rows only. Returns them.
fn work(api: &Api) -> Vec<WriteMessage> {
    let messages = std::mem::take(&mut *api.queue.0.lock().unwrap());
    let messages = messages.into_iter().map(|message| match message {
        WorkMessage::Write(message) => *message,
        other => panic!("not a write: {other:?}"),
    });
    messages.inspect(|message| apply(api, message)).collect()
}

fn apply(api: &Api, message: &WriteMessage) {
    let name = message.dataset.name.as_str();
    let (_, text) = DEFINITIONS
        .iter()
        .find(|(other, _)| *other == name)
        .unwrap();
    let dataset = Dataset::from_toml("d.toml", text).unwrap();
    let fields = dataset.key_fields().zip(&message.key);
    let key: Vec<Value> = fields
        .map(|(field, text)| Value::from_text(field.kind, text).unwrap())
        .collect();
    let mut numbered = api.rows.numbered.lock().unwrap();
    let rows = numbered.entry(name.to_owned()).or_default();
    let is_same = |row: &StoredRow| {
        let mut values = dataset.key_indexes().iter().zip(&key);
        values.all(|(field, value)| row.values[*field] == *value)
    };
    match (&message.operation, &message.row) {
        (WriteOperation::Put, Some(WrittenRow::Json(json))) => {
            let row = Written::Put(json).to_row(&dataset, &key).unwrap();
            rows.retain(|row| !is_same(row));
            rows.push(StoredRow {
                values: row.values.to_vec(),
                extra: None,
            });
        }
        (WriteOperation::Delete, None) => {
            rows.retain(|row| !is_same(row));
            let deleted = (name.to_owned(), key);
            api.rows.deleted.lock().unwrap().push(deleted);
        }
        (WriteOperation::Patch, Some(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// Creates an application, and stores it.
async fn open(api: &Api, name: &str) -> Opened {
    let body = json!({ "name": name }).to_string();
    let created = post(api, api.token.reveal(), "/applications", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    let token = created.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("applications/{token}"));
    work(api);
    Opened {
        path: format!("/applications/{token}"),
        id: created.json()["id"].as_str().unwrap().to_owned(),
        token,
    }
}

/// Creates a row below an application, and returns its number.
async fn create(api: &Api, opened: &Opened, below: &str, body: &str) -> u64 {
    let path = format!("{}/{below}", opened.path);
    let created = post(api, &opened.token, &path, body).await;
    assert_eq!(
        created.status,
        StatusCode::CREATED,
        "{path}: {}",
        created.text()
    );
    let location = created.header("location");
    let (_, number) = location.rsplit_once('/').unwrap();
    number.parse().unwrap()
}

fn parent(dataset: &str, key: &[&str]) -> ParentRow {
    ParentRow {
        dataset: dataset.to_owned(),
        key: key.iter().map(ToString::to_string).collect(),
    }
}
