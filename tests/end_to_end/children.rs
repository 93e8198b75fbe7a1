//! Messages are posted to chats by many clients that repeat what fails, while the api is killed.
//!
//! With `LANDFALL_MESSAGES=10000`, so many are posted over 100 chats, and workers are killed, too: their messages are
//! delivered again after minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use landfall_local::{Sql, Stack, workspace};
use rand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::http::{Api, json_of};
use crate::support::{kill, start_with};

const MESSAGES_VARIABLE: &str = "LANDFALL_MESSAGES";
const MESSAGES: u64 = 300;
/// Chats of the short form, and messages for each chat of the long one.
const CHATS: u64 = 3;
const OF_CHAT: u64 = 100;
/// Requests that are in flight at the same time.
const CLIENTS: usize = 24;
/// Requests per second of a token: more than the clients send.
const RATE: (&str, &str) = ("TokenRequestsPerSecond", "10000");
const WITHIN: Duration = Duration::from_mins(20);

async fn start() -> Arc<Stack> {
    let directory = workspace().unwrap().join("infra/examples/chats");
    Arc::new(start_with(Sql::Sqlite, &[RATE], vec![directory]).await)
}

/// Creates a row, and returns its key. Repeats the request with its idempotency key until it is answered.
async fn create(api: &Api, path: &str, body: &Value) -> Value {
    let key = Uuid::new_v4().to_string();
    loop {
        let request = api.request(Method::POST, path);
        let request = request.header("idempotency-key", &key).json(body);
        match timeout(Duration::from_secs(30), request.send()).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::CREATED => {
                return json_of(answer, StatusCode::CREATED).await;
            }
            Ok(Ok(answer)) => {
                let status = answer.status();
                let is_refused = status.is_client_error()
                    && ![StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
                assert!(
                    !is_refused,
                    "{path}: {status} {}",
                    answer.text().await.unwrap()
                );
            }
            // The api was killed.
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// Creates an application. Returns a client with its token, its path, and the token.
async fn open(stack: &Stack, name: &str) -> (Api, String, String) {
    let created = create(&Api::new(stack), "applications", &json!({ "name": name })).await;
    let token = created["token"].as_str().unwrap().to_owned();
    let api = Api::with_token(stack, &token);
    (api, format!("applications/{token}"), token)
}

/// Kills the api, and workers in the long form, again and again.
async fn kill_all(stack: Arc<Stack>, kills_workers: bool) {
    loop {
        let pause = Duration::from_millis(rand::rng().random_range(4_000..8_000));
        sleep(pause).await;
        let outputs = stack.outputs();
        if kills_workers && rand::rng().random() {
            kill(&stack, &outputs.worker_function);
        } else {
            kill(&stack, &outputs.api_function);
        }
    }
}

/// Returns the JSON of a path, or `None` after a moment if the api was killed, all of its processes are busy, or the
/// row is not stored yet.
async fn read(api: &Api, path: &str) -> Option<Value> {
    if let Ok(answer) = api.get(path).send().await {
        let status = answer.status();
        if status == StatusCode::OK {
            return answer.json().await.ok();
        }
        let is_expected = [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS].contains(&status)
            || status.is_server_error();
        assert!(is_expected, "{path}: {status}");
    }
    sleep(Duration::from_millis(100)).await;
    None
}

/// Reads counts while messages are stored. They never go back, and never exceed the numbers that are given out.
async fn watch(api: &Api, path: &str, chats: u64, is_over: &AtomicBool) {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    while !is_over.load(Relaxed) {
        for chat in 1..=chats {
            let chat_path = format!("{path}/chats/{chat}");
            let before = last.get(&chat).copied().unwrap_or_default();
            let Some(shown) = read(api, &chat_path).await else {
                continue;
            };
            let count = shown["messages_count"].as_u64().unwrap();
            // Read after the count.
            let list = read(api, &format!("{chat_path}/messages?sort=-message&limit=1")).await;
            if let Some(given) = list.and_then(|list| list["last_number"].as_u64()) {
                assert!(
                    before <= count && count <= given,
                    "{before} {count} {given}"
                );
            }
            last.insert(chat, count);
        }
    }
}

/// Returns the numbers and texts of the messages of a chat.
async fn messages(api: &Api, chat: &str) -> BTreeMap<u64, String> {
    let rows = api
        .rows(&format!("{chat}/messages?limit=100"))
        .await
        .into_iter();
    let stored = rows.map(|row| {
        let number = row["message"].as_u64().unwrap();
        (number, row["body"].as_str().unwrap().to_owned())
    });
    let count = stored.len();
    let stored: BTreeMap<_, _> = stored.collect();
    assert_eq!(stored.len(), count, "a number is listed twice");
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_numbered_and_counted_while_functions_are_killed() {
    let total = std::env::var(MESSAGES_VARIABLE).map_or(MESSAGES, |total| total.parse().unwrap());
    let chats = if total > MESSAGES {
        total / OF_CHAT
    } else {
        CHATS
    };
    let stack = start().await;
    let (api, path, _) = open(&stack, "shop").await;
    for chat in 1..=chats {
        let created = create(&api, &format!("{path}/chats"), &json!({})).await;
        assert_eq!(created["chat"], chat);
    }
    let killer = tokio::spawn(kill_all(Arc::clone(&stack), total > MESSAGES));
    let is_over = AtomicBool::new(false);
    let posts = async {
        let posts = stream::iter(0..total).map(|index| {
            let chat = index % chats + 1;
            let (api, path) = (&api, format!("{path}/chats/{chat}/messages"));
            async move {
                let body = format!("message {index}");
                let created = create(api, &path, &json!({ "body": body })).await;
                (chat, created["message"].as_u64().unwrap(), body)
            }
        });
        let acknowledged: Vec<_> = posts.buffer_unordered(CLIENTS).collect().await;
        is_over.store(true, Relaxed);
        acknowledged
    };
    let (acknowledged, ()) = tokio::join!(posts, watch(&api, &path, chats, &is_over));
    killer.abort();

    let mut expected: BTreeMap<u64, BTreeMap<u64, String>> = BTreeMap::new();
    for (chat, number, body) in acknowledged {
        let twice = expected.entry(chat).or_default().insert(number, body);
        assert_eq!(twice, None, "chat {chat} has two messages {number}");
    }
    for (chat, expected) in &expected {
        let chat_path = format!("{path}/chats/{chat}");
        let all_stored = async {
            loop {
                let stored = messages(&api, &chat_path).await;
                if expected.keys().all(|number| stored.contains_key(number)) {
                    return stored;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let stored = timeout(WITHIN, all_stored).await.unwrap();
        assert_eq!(
            &stored, expected,
            "exactly the acknowledged messages, each once"
        );
        let list = api.json(&format!("{chat_path}/messages?limit=1")).await;
        let last = list["last_number"].as_u64().unwrap();
        // A number without a message is one whose api was killed before it was sent.
        let missing: BTreeSet<u64> = (1..=last)
            .filter(|number| !stored.contains_key(number))
            .collect();
        assert!(missing.len() < stored.len(), "{missing:?}");
        let shown = api.json(&chat_path).await;
        assert_eq!(shown["messages_count"], stored.len());
        assert_eq!(shown["_last_numbers"]["messages"], last);
    }
}

/// Returns the operations below `/applications`, for the application with this token.
async fn operations(api: &Api, token: &str) -> Vec<(Method, String)> {
    let document = api.json("openapi.json").await;
    let paths = document["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(path, _)| path.starts_with("/applications"));
    let operations = paths.flat_map(|(path, methods)| {
        let path = path.replace("{token}", token);
        let path = path
            .replace("{chats_number}", "1")
            .replace("{messages_number}", "1");
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    operations.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_no_other_application_by_any_route() {
    let stack = start().await;
    let (one, one_path, _) = open(&stack, "one").await;
    let (other, other_path, other_token) = open(&stack, "secret garden").await;
    for (api, path) in [(&one, &one_path), (&other, &other_path)] {
        create(api, &format!("{path}/chats"), &json!({})).await;
        for _ in 0..2 {
            let body = json!({ "body": "secret garden" });
            create(api, &format!("{path}/chats/1/messages"), &body).await;
        }
        let stored = format!("{path}/chats/1/messages?at_least=2");
        while read(api, &stored).await.is_none() {}
    }
    let operations = operations(&one, &other_token).await;
    assert_eq!(operations.len(), 16, "{operations:?}");
    let page = other
        .json(&format!("{other_path}/chats/1/messages?limit=1"))
        .await;
    let cursor = page["next"].as_str().unwrap();
    for (method, path) in operations {
        for query in ["", "?search=garden", &format!("?limit=1&cursor={cursor}")] {
            let mut request = one.request(method.clone(), &format!("{path}{query}"));
            if [Method::POST, Method::PATCH].contains(&method) {
                request = request.json(&json!({ "name": "x", "body": "x" }));
            }
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(
                status,
                StatusCode::NOT_FOUND,
                "{method} {path}{query}: {text}"
            );
            assert!(!text.contains("garden"), "{text}");
        }
    }
    // Its own messages are found, and a cursor of the other list leads nowhere.
    let found = one
        .json(&format!("{one_path}/chats/1/messages?search=gard"))
        .await;
    assert_eq!(found["rows"].as_array().unwrap().len(), 2);
    let stolen = one.get(&format!(
        "{one_path}/chats/1/messages?limit=1&cursor={cursor}"
    ));
    let stolen = stolen.send().await.unwrap();
    assert_eq!(stolen.status(), StatusCode::BAD_REQUEST);
}
