//! Rows that are written one by one over HTTP, in the order in which they are accepted.

use landfall_local::Stack;
use reqwest::header::LOCATION;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::http::{Api, json_of};
use crate::support::land;

const PARTS: &str = r#"
name = "parts"
key = ["sku"]
mode = "merge"
search = ["name"]
fields = [
    { name = "sku", type = "text" },
    { name = "name", type = "text" },
    { name = "pieces", type = "integer", required = true },
]
"#;
const PATH: &str = "datasets/parts/rows/a";

/// Sends a write, and returns the response, which must have this status, with its location as a path of the API.
async fn send(request: RequestBuilder, status: StatusCode) -> (Value, String) {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get(LOCATION);
    let location = location.map(|location| location.to_str().unwrap().to_owned());
    let location = answer.url().join(&location.unwrap_or_default()).unwrap();
    let path = location.path().split("/writes/").nth(1);
    let path = path.map(|write| format!("writes/{write}"));
    (json_of(answer, status).await, path.unwrap_or_default())
}

/// Returns the row in both stores, without unknown columns.
async fn row(api: &Api) -> Option<Value> {
    let mut rows = Vec::new();
    for store in ["sql", "mongodb"] {
        let answer = api
            .get(&format!("{PATH}?store={store}"))
            .send()
            .await
            .unwrap();
        rows.push(match answer.status() {
            StatusCode::NOT_FOUND => None,
            _ => Some(json_of(answer, StatusCode::OK).await),
        });
    }
    assert_eq!(rows[0], rows[1]);
    rows.swap_remove(0)
}

/// Returns the parts of the name that a search finds, if it finds the row.
async fn found_by(api: &Api, search: &str) -> Option<Value> {
    let page = api
        .json(&format!("datasets/parts/rows?search={search}"))
        .await;
    let row = page["rows"].as_array().unwrap().first().cloned();
    row.map(|row| row["_highlight"]["name"].clone())
}

pub async fn rows_are_written_one_by_one(stack: &Stack, api: &Api) {
    stack.put_dataset("parts", PARTS).await.unwrap();
    land(stack, "parts/1.csv", b"sku,name,pieces\na,Ant,1\n".to_vec()).await;
    let put = |row: Value| {
        api.request(Method::PUT, &format!("{PATH}?wait=true"))
            .json(&row)
    };

    // The row is in both stores when the response arrives, although a page without it was cached.
    assert_eq!(row(api).await.unwrap()["pieces"], 1);
    let (write, path) = send(put(json!({"name": "Bee", "pieces": 2})), StatusCode::OK).await;
    assert_eq!(
        (&write["state"], &write["operation"]),
        (&json!("stored"), &json!("put"))
    );
    assert_eq!(
        write["stores"],
        json!({"mongodb": "updated", "sqlite": "updated"})
    );
    let found = row(api).await.unwrap();
    assert_eq!(
        (&found["name"], &found["pieces"]),
        (&json!("Bee"), &json!(2))
    );
    assert_eq!(api.json(&path).await, write);
    let bee = json!([{ "text": "Be", "match": true }, { "text": "e", "match": false }]);
    assert_eq!(found_by(api, "be*").await, Some(bee));
    assert_eq!(found_by(api, "ant").await, None);

    let patch = api.request(Method::PATCH, &format!("{PATH}?wait=true"));
    send(patch.json(&json!({"pieces": 3})), StatusCode::OK).await;
    let found = row(api).await.unwrap();
    assert_eq!(
        (&found["name"], &found["pieces"]),
        (&json!("Bee"), &json!(3))
    );

    let (problem, _) = send(
        put(json!({"pieces": "many"})),
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    assert_eq!(
        problem["reject"],
        json!({"code": "type", "column": "pieces"})
    );
    assert_eq!(row(api).await.unwrap(), found);

    // Many writes end in the order in which they were accepted.
    for pieces in 4..24 {
        let request = api
            .request(Method::PUT, PATH)
            .json(&json!({"pieces": pieces}));
        send(request, StatusCode::ACCEPTED).await;
    }
    let large = "x".repeat(700_000);
    let repeated = || put(json!({"name": large, "pieces": 24})).header("Idempotency-Key", "large");
    let (first, _) = send(repeated(), StatusCode::OK).await;
    let (again, _) = send(repeated(), StatusCode::OK).await;
    assert_eq!(first, again);
    let other = put(json!({"pieces": 25})).header("Idempotency-Key", "large");
    send(other, StatusCode::UNPROCESSABLE_ENTITY).await;
    let found = row(api).await.unwrap();
    assert_eq!(
        (&found["name"], &found["pieces"]),
        (&json!(large), &json!(24))
    );

    let explained = api.json(&format!("{PATH}/origin")).await;
    let origin = &explained["origins"][0];
    assert_eq!(origin["write"]["write"], first["write"], "{explained}");
    assert_eq!(origin["source"], Value::Null, "{explained}");

    let delete = api.request(Method::DELETE, &format!("{PATH}?wait=true"));
    let (deleted, _) = send(delete, StatusCode::OK).await;
    assert_eq!(row(api).await, None);
    assert_eq!(found_by(api, "xxx").await, None);
    let explained = api.json(&format!("{PATH}/origin")).await;
    assert_eq!(explained["state"], "deleted", "{explained}");
    assert_eq!(explained["origins"][0]["write"]["write"], deleted["write"]);
    // A file that comes later has a later row.
    land(
        stack,
        "parts/2.csv",
        b"sku,name,pieces\na,Cow,25\n".to_vec(),
    )
    .await;
    assert_eq!(row(api).await.unwrap()["name"], "Cow");
    let cow = json!([{ "text": "Cow", "match": true }]);
    assert_eq!(found_by(api, "COW").await, Some(cow));
}
