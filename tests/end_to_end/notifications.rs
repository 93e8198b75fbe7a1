//! A webhook that a stack notifies: it checks the signatures, and refuses some of what it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use landfall_aws::Secret;
use landfall_domain::CompletionEvent;
use landfall_local::Stack;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::http::Api;
use crate::support::invoke;

/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);
const KEY: &[u8] = b"key of the webhook, 32 bytes long";

pub struct Webhook {
    url: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared(Mutex<Received>);

#[derive(Default)]
struct Received {
    /// The ids of accepted events, by the id of the notification.
    accepted: BTreeMap<String, String>,
    /// The notifications that were answered with 503 before.
    delayed: BTreeSet<String>,
    /// The notification that is answered with 410.
    refused: Option<String>,
    /// What the sender did wrong.
    wrong: Vec<String>,
}

impl Webhook {
    /// Starts it, and has the stack notify it of every job that fails.
    pub async fn start(stack: &Stack) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(Arc::clone(&shared));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        let secret = Secret::new(stack.sdk_config(), &stack.outputs().sources_secret);
        let (_, version) = secret.read_version().await.unwrap();
        let text = json!({ "hook": format!("whsec_{}", BASE64_STANDARD.encode(KEY)) });
        let replaced = secret.replace(&version, &text.to_string()).await;
        assert!(replaced.unwrap());
        let definition = format!(
            "[[notify]]\nurl = \"{url}\"\nevents = [\"job.failed\"]\nsecret = \"{{secret:hook}}\"\n"
        );
        stack.put_config("notify.toml", &definition).await.unwrap();
        Self {
            url,
            shared,
            runtime: Some(runtime),
        }
    }

    /// Waits until it has accepted these events, all but one, which is set aside and then sent again.
    pub async fn check(&self, stack: &Stack, events: &[CompletionEvent]) {
        let expected: BTreeSet<String> = events.iter().map(|event| event.id.to_string()).collect();
        self.wait(stack, expected.len() - 1).await;
        let api = Api::new(stack);
        let listed = api.json("notifications?state=set_aside").await;
        let [aside] = &listed["notifications"].as_array().unwrap()[..] else {
            panic!("one is refused: {listed}")
        };
        assert_eq!(aside["answer"], "status 410 Gone: no", "{aside}");
        assert_eq!(
            (&aside["url"], &aside["event"]),
            (&json!(self.url), &json!("job.failed"))
        );
        self.shared.0.lock().unwrap().refused = Some(String::new());
        let id = aside["id"].as_str().unwrap();
        let redrive = format!("notifications/{id}/redrive");
        api.post(&redrive, &Value::Null, reqwest::StatusCode::ACCEPTED)
            .await;
        self.wait(stack, expected.len()).await;
        let received = self.shared.0.lock().unwrap();
        assert!(received.wrong.is_empty(), "{:#?}", received.wrong);
        assert!(received.accepted.contains_key(id));
        let accepted: BTreeSet<String> = received.accepted.values().cloned().collect();
        assert_eq!(accepted, expected);
    }

    /// Runs the relay as its schedule does, until so many notifications are accepted.
    async fn wait(&self, stack: &Stack, number: usize) {
        let stop_at = Instant::now() + WITHIN;
        while self.shared.0.lock().unwrap().accepted.len() < number {
            if Instant::now() >= stop_at {
                let logs = stack.function_logs(200).await.unwrap();
                panic!("not every webhook is notified:\n{logs}");
            }
            invoke(stack, &stack.outputs().relay_function).await;
            sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Answers the first attempts of the first two notifications with 410 and 503, and accepts the others.
async fn receive(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = header("webhook-id");
    let signed = format!("{id}.{}.", header("webhook-timestamp"));
    let mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    let mac = mac.chain_update(signed).chain_update(&body);
    let mac = mac.finalize().into_bytes();
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac));
    let notification: Value = serde_json::from_slice(&body).unwrap();
    let mut received = shared.0.lock().unwrap();
    if header("webhook-signature") != expected {
        received.wrong.push(format!("the signature of {id}"));
    }
    if notification["type"] != "job.failed" || notification["data"]["state"] != "failed" {
        received.wrong.push(notification.to_string());
    }
    if received.accepted.contains_key(&id) {
        received.wrong.push(format!("{id} is sent again"));
    }
    match &received.refused {
        None => {
            received.refused = Some(id);
            return (StatusCode::GONE, "no");
        }
        Some(refused) if *refused == id => received.wrong.push(format!("{id} is sent again")),
        Some(_) => {}
    }
    if received.delayed.is_empty() {
        received.delayed.insert(id);
        return (StatusCode::SERVICE_UNAVAILABLE, "later");
    }
    let event = notification["data"]["id"].as_str().unwrap().to_owned();
    received.accepted.insert(id, event);
    (StatusCode::OK, "")
}
