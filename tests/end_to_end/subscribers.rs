//! WebSocket subscribers: their messages, the frequency of pushes, and permissions. With `LANDFALL_SUBSCRIBERS=500`,
//! so many follow one job.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::{SinkExt, StreamExt, stream};
use landfall_auth::{Access, Scope, Token};
use landfall_domain::JobId;
use landfall_local::{Sql, Stack};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::delivery::set_delivery;
use crate::support::{add_token, completions, land, products_file, start, upload};

/// Subscribers of one job, unless `LANDFALL_SUBSCRIBERS` is set. The handshake of each takes a while.
const SUBSCRIBERS: usize = 150;
/// Number of concurrent handshakes and subscriptions. Each occupies one process of the function.
const CONCURRENCY: usize = 8;
/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(5);
/// How long to wait for messages that must not arrive. A push follows the change by a second.
const QUIET: Duration = Duration::from_secs(5);
/// Longer than the delay of a failed message, and shorter than the visibility timeout of the queue.
const WITHOUT_TIMEOUT: Duration = Duration::from_mins(2);
const KEY: &str = "products/pushed.csv";

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(stack: &Stack, token: &str) -> Result<Self, tungstenite::Error> {
        let url = format!("{}?token={token}", stack.outputs().socket_url);
        connect_async(url).await.map(|(socket, _)| Self(socket))
    }

    async fn send(&mut self, message: &Value) {
        let message = Message::text(message.to_string());
        self.0.send(message).await.unwrap();
    }

    async fn subscribe(&mut self, job: JobId) {
        self.send(&json!({"action": "subscribe", "job": job})).await;
    }

    /// Returns the next message, or `None` after the timeout.
    async fn next(&mut self, within: Duration) -> Option<Value> {
        let message = tokio::time::timeout(within, self.0.next()).await.ok()?;
        let message = message.expect("the connection was closed").unwrap();
        Some(serde_json::from_str(message.to_text().unwrap()).unwrap())
    }

    /// Returns the messages about a job until its completion, and for some time after it.
    async fn messages(&mut self, job: JobId) -> Vec<Value> {
        let mut messages = Vec::new();
        let is_other_job =
            |message: &Value| !message["job"].is_null() && message["job"]["id"] != json!(job);
        while let Some(message) = self.next(WITHIN).await {
            if is_other_job(&message) {
                continue;
            }
            let completed = message["type"] == "completed";
            messages.push(message);
            if completed {
                break;
            }
        }
        while let Some(message) = self.next(QUIET).await {
            if !is_other_job(&message) {
                messages.push(message);
            }
        }
        messages
    }
}

fn count(messages: &[Value], kind: &str) -> usize {
    messages
        .iter()
        .filter(|message| message["type"] == kind)
        .count()
}

/// Stores a subscriber whose connection the gateway does not have, and returns its key.
async fn store_subscriber(
    stack: &Stack,
    job: JobId,
    expires_at: AttributeValue,
) -> HashMap<String, AttributeValue> {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let key = HashMap::from([
        ("pk".to_owned(), text(&format!("job/{job}"))),
        ("sk".to_owned(), text("closed")),
    ]);
    aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .put_item()
        .table_name(&stack.outputs().connections_table)
        .set_item(Some(key.clone()))
        .item("datasets", text("all"))
        .item("expires_at", expires_at)
        .send()
        .await
        .unwrap();
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_subscribers_receives_the_completion_once() {
    let parameters = [
        ("ChunkBytes", "65536"),
        ("TokenRequestsPerSecond", "100000"),
    ];
    let stack = start(Sql::Sqlite, &parameters).await;
    set_delivery(&stack, false).await;
    let job = upload(&stack, KEY, products_file(30_000, 6)).await;

    let subscribers = std::env::var("LANDFALL_SUBSCRIBERS");
    let subscribers = subscribers.map_or(SUBSCRIBERS, |number| number.parse().unwrap());
    let mut clients: Vec<Client> = stream::iter(0..subscribers)
        .map(|index| {
            let stack = &stack;
            async move {
                let mut client = Client::connect(stack, stack.token()).await.unwrap();
                client.subscribe(job).await;
                let first = client.next(WITHIN).await.unwrap();
                assert_eq!(first["type"], "job");
                assert_eq!(first["job"]["id"], json!(job));
                assert_eq!(first["job"]["state"], "open");
                if index % 50 == 0 {
                    // A second subscription that covers the same job.
                    client
                        .send(&json!({"action": "subscribe", "dataset": "products"}))
                        .await;
                }
                client
            }
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    // One subscriber disconnects, one never reads, and one is gone without a disconnect.
    drop(clients.pop());
    let silent = clients.pop().unwrap();
    let never = AttributeValue::N("4102444800".to_owned());
    let dead = store_subscriber(&stack, job, never).await;

    let started = Instant::now();
    set_delivery(&stack, true).await;
    let received: Vec<Vec<Value>> =
        futures::future::join_all(clients.iter_mut().map(|client| client.messages(job))).await;
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    for messages in &received {
        assert_eq!(count(messages, "completed"), 1, "{messages:#?}");
        assert_eq!(count(messages, "error"), 0, "{messages:#?}");
        assert!(
            count(messages, "job") <= seconds + 3,
            "{seconds} s: {messages:#?}"
        );
        let completed = messages
            .iter()
            .find(|message| message["type"] == "completed");
        let view = &completed.unwrap()["job"];
        assert_eq!(view["id"], json!(job));
        assert_eq!(view["state"], "succeeded");
        assert_eq!(view["counts"], json!(event.counts));
        let done = |view: &Value| view["chunks"]["done"].as_u64().unwrap();
        let progress: Vec<u64> = messages
            .iter()
            .map(|message| done(&message["job"]))
            .collect();
        assert!(progress.is_sorted(), "{progress:?}");
    }
    drop(silent);

    let kept = aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .get_item()
        .table_name(&stack.outputs().connections_table)
        .set_key(Some(dead))
        .send()
        .await
        .unwrap();
    assert_eq!(kept.item, None, "the subscriber that is gone is removed");

    // A late subscriber receives the completion. A subscriber that has received it does not receive it again.
    let mut late = Client::connect(&stack, stack.token()).await.unwrap();
    let early = &mut clients[0];
    late.subscribe(job).await;
    early.subscribe(job).await;
    let (late, early) = tokio::join!(late.messages(job), async {
        let again = early.next(WITHIN).await.unwrap();
        (again, early.next(QUIET).await)
    });
    assert_eq!(count(&late, "completed"), 1, "{late:#?}");
    assert_eq!(late[0]["type"], "job");
    assert_eq!(late[0]["job"]["state"], "succeeded");
    assert_eq!(early.0["type"], "job");
    assert_eq!(early.1, None);

    // A subscriber that leaves before the completion, and subscribes again, receives it.
    let mut returning = Client::connect(&stack, stack.token()).await.unwrap();
    returning.subscribe(job).await;
    returning
        .send(&json!({"action": "unsubscribe", "job": job}))
        .await;
    assert_eq!(returning.next(WITHIN).await.unwrap()["type"], "job");
    tokio::time::sleep(QUIET).await;
    returning.subscribe(job).await;
    let messages = returning.messages(job).await;
    assert_eq!(count(&messages, "completed"), 1, "{messages:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_pushes_are_retried_until_they_succeed() {
    let stack = start(Sql::Sqlite, &[]).await;
    set_delivery(&stack, false).await;
    let job = upload(&stack, KEY, products_file(100, 7)).await;
    let mut client = Client::connect(&stack, stack.token()).await.unwrap();
    client.subscribe(job).await;
    assert_eq!(client.next(WITHIN).await.unwrap()["type"], "job");

    let unreadable = AttributeValue::S("never".to_owned());
    let broken = store_subscriber(&stack, job, unreadable).await;
    set_delivery(&stack, true).await;
    completions(&stack, &[job]).await;
    while let Some(message) = client.next(QUIET).await {
        // A push in progress.
        assert_eq!(message["type"], "job");
    }
    aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .delete_item()
        .table_name(&stack.outputs().connections_table)
        .set_key(Some(broken))
        .send()
        .await
        .unwrap();
    while let Some(message) = client.next(WITHOUT_TIMEOUT).await {
        if message["type"] == "completed" {
            return;
        }
    }
    panic!("the completion was not pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_a_dataset_receives_its_new_jobs() {
    let stack = start(Sql::Sqlite, &[]).await;
    let before = land(&stack, "products/before.csv", products_file(100, 1)).await;
    let mut client = Client::connect(&stack, stack.token()).await.unwrap();
    client
        .send(&json!({"action": "subscribe", "dataset": "products"}))
        .await;
    let present = client.next(WITHIN).await.unwrap();
    assert_eq!(present["type"], "job");
    assert_eq!(present["job"]["id"], json!(before.job));

    let job = upload(&stack, KEY, products_file(100, 2)).await;
    let messages = client.messages(job).await;
    assert_eq!(count(&messages, "error"), 0, "{messages:#?}");
    assert_eq!(count(&messages, "completed"), 1, "{messages:#?}");

    client
        .send(&json!({"action": "unsubscribe", "dataset": "products"}))
        .await;
    client.send(&json!({"action": "ping"})).await;
    assert_eq!(client.next(WITHIN).await.unwrap(), json!({"type": "pong"}));
    land(&stack, KEY, products_file(100, 3)).await;
    assert_eq!(client.next(QUIET).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_access_to_its_datasets_only() {
    let stack = start(Sql::Sqlite, &[]).await;
    // The token is added before the function starts and reads it.
    let orders = Access::Only(["orders".to_owned()].into());
    let token = add_token(&stack, "orders", &[Scope::Read], orders).await;
    assert!(connect_async(&stack.outputs().socket_url).await.is_err());
    let unknown = Token::random();
    assert!(Client::connect(&stack, unknown.reveal()).await.is_err());

    // The token as browsers send it.
    let mut request = stack
        .outputs()
        .socket_url
        .as_str()
        .into_client_request()
        .unwrap();
    let offered = format!("bearer.{}", token.reveal());
    request.headers_mut().insert(
        "Sec-WebSocket-Protocol",
        HeaderValue::from_str(&offered).unwrap(),
    );
    let refused = connect_async(request).await.err();
    // The function accepted the token, but the local endpoint returns no subprotocol, which clients must refuse.
    assert!(
        matches!(
            refused,
            Some(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_)
            ))
        ),
        "{refused:?}"
    );

    let mut client = Client::connect(&stack, token.reveal()).await.unwrap();
    let job = upload(&stack, KEY, products_file(100, 4)).await;
    // A job that does not exist yet looks the same as a job of another dataset.
    let early = JobId::for_object(&stack.outputs().inbox_bucket, "products/to_come.csv", "1");
    client.subscribe(early).await;
    completions(&stack, &[job]).await;
    // A job of another dataset: no response either.
    client.subscribe(job).await;
    client
        .send(&json!({"action": "subscribe", "dataset": "products"}))
        .await;
    let refused = client.next(WITHIN).await.unwrap();
    assert_eq!(refused["type"], "error", "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("dataset products"), "{detail}");
    assert_eq!(client.next(QUIET).await, None);
}
