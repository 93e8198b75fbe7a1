//! WebSocket subscribers: what they are told, how often, and who may know what.

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

use crate::delivery::deliver;
use crate::support::{add_token, completions, drop_object, land, products_file, start};

const SUBSCRIBERS: usize = 500;
/// Handshakes and subscriptions under way at once: each is a process of the function's.
const AT_ONCE: usize = 8;
/// Longer than anything takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(5);
/// How long to listen for what must not come. Pushes are made a second after what they are about.
const QUIET: Duration = Duration::from_secs(5);
/// Longer than a failed message waits, and shorter than the queue's visibility timeout.
const WITHOUT_TIMEOUT: Duration = Duration::from_mins(2);
const KEY: &str = "products/told.csv";

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

    /// The next message; none when none comes in time.
    async fn next(&mut self, within: Duration) -> Option<Value> {
        let message = tokio::time::timeout(within, self.0.next()).await.ok()?;
        let message = message.expect("the connection was closed").unwrap();
        Some(serde_json::from_str(message.to_text().unwrap()).unwrap())
    }

    /// What is told of a job until its completion, and in some time after it.
    async fn all_told(&mut self, job: JobId) -> Vec<Value> {
        let mut told = Vec::new();
        let of_another =
            |message: &Value| !message["job"].is_null() && message["job"]["id"] != json!(job);
        while let Some(message) = self.next(WITHIN).await {
            if of_another(&message) {
                continue;
            }
            let completed = message["type"] == "completed";
            told.push(message);
            if completed {
                break;
            }
        }
        while let Some(message) = self.next(QUIET).await {
            if !of_another(&message) {
                told.push(message);
            }
        }
        told
    }
}

fn count(told: &[Value], kind: &str) -> usize {
    told.iter()
        .filter(|message| message["type"] == kind)
        .count()
}

/// Notes a subscriber whose connection the gateway does not know; gives its key.
async fn note_subscriber(
    stack: &Stack,
    job: JobId,
    expires_at: AttributeValue,
) -> HashMap<String, AttributeValue> {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let key = HashMap::from([
        ("pk".to_owned(), text(&format!("job/{job}"))),
        ("sk".to_owned(), text("bygone")),
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
async fn each_of_500_subscribers_is_told_of_the_completion_once() {
    let stack = start(Sql::Sqlite, &[("ChunkBytes", "65536")]).await;
    deliver(&stack, false).await;
    let job = drop_object(&stack, KEY, products_file(30_000, 6)).await;

    let mut clients: Vec<Client> = stream::iter(0..SUBSCRIBERS)
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
                    // Twice the same job, by two ways.
                    client
                        .send(&json!({"action": "subscribe", "dataset": "products"}))
                        .await;
                }
                client
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // One leaves, one never looks, and one is dead without anybody knowing.
    drop(clients.pop());
    let deaf = clients.pop().unwrap();
    let never = AttributeValue::N("4102444800".to_owned());
    let dead = note_subscriber(&stack, job, never).await;

    let started = Instant::now();
    deliver(&stack, true).await;
    let told: Vec<Vec<Value>> =
        futures::future::join_all(clients.iter_mut().map(|client| client.all_told(job))).await;
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    for told in &told {
        assert_eq!(count(told, "completed"), 1, "{told:#?}");
        assert_eq!(count(told, "error"), 0, "{told:#?}");
        assert!(count(told, "job") <= seconds + 3, "{seconds} s: {told:#?}");
        let completed = told.iter().find(|told| told["type"] == "completed");
        let view = &completed.unwrap()["job"];
        assert_eq!(view["id"], json!(job));
        assert_eq!(view["state"], "succeeded");
        assert_eq!(view["counts"], json!(event.counts));
        let done = |view: &Value| view["chunks"]["done"].as_u64().unwrap();
        let progress: Vec<u64> = told.iter().map(|told| done(&told["job"])).collect();
        assert!(progress.is_sorted(), "{progress:?}");
    }
    drop(deaf);

    let kept = aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .get_item()
        .table_name(&stack.outputs().connections_table)
        .set_key(Some(dead))
        .send()
        .await
        .unwrap();
    assert_eq!(kept.item, None, "the dead one is forgotten");

    // Who comes late is told how it ended; who has been told is not told again.
    let mut late = Client::connect(&stack, stack.token()).await.unwrap();
    let early = &mut clients[0];
    late.subscribe(job).await;
    early.subscribe(job).await;
    let (late, early) = tokio::join!(late.all_told(job), async {
        let again = early.next(WITHIN).await.unwrap();
        (again, early.next(QUIET).await)
    });
    assert_eq!(count(&late, "completed"), 1, "{late:#?}");
    assert_eq!(late[0]["type"], "job");
    assert_eq!(late[0]["job"]["state"], "succeeded");
    assert_eq!(early.0["type"], "job");
    assert_eq!(early.1, None);

    // Who leaves before that, and comes back, is told after all.
    let mut back = Client::connect(&stack, stack.token()).await.unwrap();
    back.subscribe(job).await;
    back.send(&json!({"action": "unsubscribe", "job": job}))
        .await;
    assert_eq!(back.next(WITHIN).await.unwrap()["type"], "job");
    tokio::time::sleep(QUIET).await;
    back.subscribe(job).await;
    let back = back.all_told(job).await;
    assert_eq!(count(&back, "completed"), 1, "{back:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_failed_are_made_when_what_kept_them_is_over() {
    let stack = start(Sql::Sqlite, &[]).await;
    deliver(&stack, false).await;
    let job = drop_object(&stack, KEY, products_file(100, 7)).await;
    let mut client = Client::connect(&stack, stack.token()).await.unwrap();
    client.subscribe(job).await;
    assert_eq!(client.next(WITHIN).await.unwrap()["type"], "job");

    let unreadable = AttributeValue::S("never".to_owned());
    let spoilt = note_subscriber(&stack, job, unreadable).await;
    deliver(&stack, true).await;
    completions(&stack, &[job]).await;
    while let Some(told) = client.next(QUIET).await {
        // One that was under way.
        assert_eq!(told["type"], "job");
    }
    aws_sdk_dynamodb::Client::new(stack.sdk_config())
        .delete_item()
        .table_name(&stack.outputs().connections_table)
        .set_key(Some(spoilt))
        .send()
        .await
        .unwrap();
    while let Some(told) = client.next(WITHOUT_TIMEOUT).await {
        if told["type"] == "completed" {
            return;
        }
    }
    panic!("not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_a_dataset_is_told_of_the_jobs_that_come() {
    let stack = start(Sql::Sqlite, &[]).await;
    let before = land(&stack, "products/before.csv", products_file(100, 1)).await;
    let mut client = Client::connect(&stack, stack.token()).await.unwrap();
    client
        .send(&json!({"action": "subscribe", "dataset": "products"}))
        .await;
    let present = client.next(WITHIN).await.unwrap();
    assert_eq!(present["type"], "job");
    assert_eq!(present["job"]["id"], json!(before.job));

    let job = drop_object(&stack, KEY, products_file(100, 2)).await;
    let told = client.all_told(job).await;
    assert_eq!(count(&told, "error"), 0, "{told:#?}");
    assert_eq!(count(&told, "completed"), 1, "{told:#?}");

    client
        .send(&json!({"action": "unsubscribe", "dataset": "products"}))
        .await;
    client.send(&json!({"action": "ping"})).await;
    assert_eq!(client.next(WITHIN).await.unwrap(), json!({"type": "pong"}));
    land(&stack, KEY, products_file(100, 3)).await;
    assert_eq!(client.next(QUIET).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_and_tells_no_more_than_its_datasets() {
    let stack = start(Sql::Sqlite, &[]).await;
    // Before the function starts, which then reads the tokens.
    let orders = Access::Only(["orders".to_owned()].into());
    let token = add_token(&stack, "orders", &[Scope::Read], orders).await;
    assert!(connect_async(&stack.outputs().socket_url).await.is_err());
    let unknown = Token::random();
    assert!(Client::connect(&stack, unknown.reveal()).await.is_err());

    // As browsers send it.
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
    // The local endpoint answers with no subprotocol, which clients must refuse: so the function let it in.
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
    let job = drop_object(&stack, KEY, products_file(100, 4)).await;
    // Before it is there, which nobody can tell from a job of another dataset.
    let early = JobId::of(&stack.outputs().inbox_bucket, "products/to_come.csv", "1");
    client.subscribe(early).await;
    completions(&stack, &[job]).await;
    // The same silence.
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
