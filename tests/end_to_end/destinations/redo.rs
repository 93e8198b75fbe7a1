//! What a service refuses is listed, holds later changes of its key, and is sent again once the definition is right. A
//! paused destination sends nothing. Rows that are older than a destination are synchronised. Calls can have several
//! rows, of which one that is refused does not keep the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use axum::{Json, Router};
use landfall_local::{Sql, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{WITHIN, wait_until};
use crate::http::{Api, json_of};
use crate::support::{invoke, land, start};

const DATASET: &str = r#"
name = "stock"
key = ["id"]
fields = [
    { name = "id", type = "integer" },
    { name = "name", type = "text" },
    { name = "price", type = "integer" },
]
"#;

fn definition(url: &str, body: &str) -> String {
    format!("dataset = \"stock\"\nurl = \"{url}\"\n[update]\npath = \"/rows/{{{{ id }}}}\"\n{body}")
}

/// A service that takes no row without a price.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    rows: BTreeMap<i64, Value>,
    calls: usize,
}

impl Shop {
    /// Starts the service, and returns it with its address.
    async fn start() -> (Self, String) {
        let shop = Self::default();
        let router = Router::new()
            .route("/rows/{id}", put(receive))
            .route("/rows", put(receive_many))
            .with_state(shop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (shop, url)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn calls(&self) -> usize {
        self.held().calls
    }

    fn row(&self, id: i64) -> Option<Value> {
        self.held().rows.get(&id).cloned()
    }
}

async fn receive(
    State(shop): State<Shop>,
    Path(id): Path<i64>,
    Json(row): Json<Value>,
) -> (StatusCode, String) {
    let mut held = shop.held();
    held.calls += 1;
    if row["price"].is_null() {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            "there is no price".to_owned(),
        );
    }
    held.rows.insert(id, row);
    (StatusCode::NO_CONTENT, String::new())
}

/// Receives the rows of a call, all or none.
async fn receive_many(State(shop): State<Shop>, Json(rows): Json<Vec<Value>>) -> StatusCode {
    let mut held = shop.held();
    held.calls += 1;
    if rows.iter().any(|row| row["price"].is_null()) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    for row in rows {
        held.rows.insert(row["id"].as_i64().unwrap(), row);
    }
    StatusCode::NO_CONTENT
}

struct Scenario {
    stack: Stack,
    api: Api,
}

impl Scenario {
    async fn write(&self, id: i64, name: &str) {
        let path = format!("datasets/stock/rows/{id}?wait=true");
        let row = json!({"name": name, "price": 10 * id});
        let request = self.api.request(Method::PUT, &path).json(&row);
        json_of(request.send().await.unwrap(), StatusCode::OK).await;
    }

    async fn relay(&self) {
        let relay = &self.stack.outputs().relay_function;
        let is_done = invoke(&self.stack, relay).await;
        assert!(is_done, "{}", self.stack.function_logs(100).await.unwrap());
    }

    async fn shop(&self) -> Value {
        self.api.json("destinations/shop").await
    }

    async fn post(&self, action: &str, body: &Value, status: StatusCode) -> Value {
        let path = format!("destinations/shop/{action}");
        self.api.post(&path, body, status).await
    }

    /// Requests a task, has a relay carry it out, and returns the number of its keys.
    async fn carry_out(&self, action: &str, body: &Value) -> Value {
        let task = self.post(action, body, StatusCode::ACCEPTED).await;
        self.relay().await;
        let task = self
            .api
            .json(&format!("destinations/shop/tasks/{}", task["id"]))
            .await;
        assert!(task["finished_at"].is_string(), "{task}");
        assert_eq!(task["problem"], Value::Null);
        task["keys"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_redriven_and_older_rows_are_synchronised() {
    let (shop, url) = Shop::start().await;
    let stack = start(Sql::Sqlite, &[]).await;
    stack.put_dataset("stock", DATASET).await.unwrap();
    land(
        &stack,
        "stock/1.csv",
        "id,name,price\n1,a,10\n2,b,20\n3,c,30\n"
            .as_bytes()
            .to_vec(),
    )
    .await;
    let wrong = definition(&url, "body = '{ \"name\": {{ name }} }'\n");
    stack.put_destination("shop", &wrong).await.unwrap();
    let api = Api::new(&stack);
    let scenario = Scenario { stack, api };
    // From here on, changes are recorded.
    scenario.relay().await;
    assert_eq!(shop.calls(), 0);

    scenario.write(4, "d").await;
    scenario.relay().await;
    let listed = scenario
        .api
        .json("destinations/shop/changes?state=set_aside")
        .await;
    let change = &listed["changes"][0];
    assert_eq!(
        (&change["key"], &change["holds"]),
        (&json!({"id": 4}), &json!(true))
    );
    let answer = change["answer"].as_str().unwrap();
    assert!(
        answer.contains("422") && answer.contains("there is no price"),
        "{answer}"
    );
    // A later change waits for that.
    scenario.write(4, "d2").await;
    scenario.relay().await;
    assert_eq!(shop.calls(), 1);
    let details = scenario.shop().await;
    assert_eq!(
        (&details["set_aside"], &details["waiting"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(details["last_errors"][0]["message"], answer);

    let right = definition(&url, "");
    scenario
        .stack
        .put_destination("shop", &right)
        .await
        .unwrap();
    let by_reason = json!({"state": "set_aside", "answer_contains": "no price"});
    assert_eq!(scenario.carry_out("redrive", &by_reason).await, 1);
    assert_eq!(
        shop.row(4),
        Some(json!({"id": 4, "name": "d2", "price": 40}))
    );
    assert_eq!(scenario.shop().await["set_aside"], 0);

    scenario.post("pause", &Value::Null, StatusCode::OK).await;
    scenario.write(5, "e").await;
    scenario.relay().await;
    assert_eq!(shop.row(5), None);
    assert_eq!(scenario.shop().await["recorded"], 1);
    scenario.post("resume", &Value::Null, StatusCode::OK).await;
    scenario.relay().await;
    assert_eq!(
        shop.row(5),
        Some(json!({"id": 5, "name": "e", "price": 50}))
    );

    assert_eq!(shop.calls(), 3);
    assert_eq!(scenario.carry_out("sync", &Value::Null).await, 3);
    let names = |held: &Held| -> Vec<Value> {
        let rows = held.rows.values();
        rows.map(|row| row["name"].clone()).collect()
    };
    assert_eq!(names(&shop.held()), ["a", "b", "c", "d2", "e"]);
    assert_eq!(shop.calls(), 6);
    assert_eq!(scenario.shop().await["waiting"], 0);
    send_together(&scenario).await;
}

/// Lands 60 rows that a second destination sends with 25 in a call, one of which the service refuses.
async fn send_together(scenario: &Scenario) {
    let (shop, url) = Shop::start().await;
    let definition = format!(
        "dataset = \"stock\"\nurl = \"{url}\"\n[update]\npath = \"/rows\"\n[batch]\nsize = 25\n"
    );
    let stack = &scenario.stack;
    stack.put_destination("bulk", &definition).await.unwrap();
    scenario.relay().await;
    let rows = (101..=160).map(|id| match id {
        130 => format!("{id},without a price,"),
        _ => format!("{id},row {id},{id}"),
    });
    let rows: Vec<String> = rows.collect();
    let file = format!("id,name,price\n{}\n", rows.join("\n")).into_bytes();
    land(stack, "stock/2.csv", file).await;
    // The worker has rung another relay, which may be at work.
    let is_refused = async || {
        let bulk = scenario.api.json("destinations/bulk").await;
        bulk["set_aside"] == 1 && bulk["waiting"] == 0 && bulk["recorded"] == 0
    };
    assert!(wait_until("one row is refused", WITHIN, is_refused).await);
    assert_eq!(shop.held().rows.len(), 59);
    assert_eq!(shop.row(130), None);
    // Three calls, and one for each row of the refused one.
    assert_eq!(shop.calls(), 3 + 25);
}
