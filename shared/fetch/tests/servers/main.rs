//! Sessions with real HTTP servers on this machine.

#![expect(clippy::unwrap_used, reason = "a test")]

mod gzip;
mod pace;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as Received;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response as Reply;
use landfall_fetch::{FetchError, HttpTransport, LocalPace, Pace, Response, Session};
use landfall_sources::{Policy, Refused, Secrets, Source};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A server that gives prepared answers, one after the other, and records the requests.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<Mutex<VecDeque<Reply>>>;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut builder = Reply::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

impl Server {
    async fn start(answers: Vec<Reply>) -> Self {
        let answers: Answers = Arc::new(Mutex::new(answers.into()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen_bodies = Arc::clone(&bodies);
        let serve = move |request: Received| {
            let line = format!("{} {}", request.method(), request.uri());
            let uri = line.strip_prefix("GET ").unwrap_or(&line).to_owned();
            seen.lock().unwrap().push((uri, request.headers().clone()));
            let answer = answers.lock().unwrap().pop_front();
            let seen_bodies = Arc::clone(&seen_bodies);
            async move {
                let body = to_bytes(request.into_body(), 10_000).await.unwrap();
                let body = String::from_utf8(body.to_vec()).unwrap();
                seen_bodies.lock().unwrap().push(body);
                answer.unwrap_or_else(answer_unexpected)
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await });
        Self {
            url,
            requests,
            bodies,
        }
    }

    fn uris(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(uri, _)| uri.clone()).collect()
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        let requests = self.requests.lock().unwrap();
        let value = requests[request].1.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }
}

fn answer_unexpected() -> Reply {
    answer(500, &[], "no answer is prepared")
}

fn source(url: &str, rest: &str) -> Source {
    let text = format!(
        "dataset = \"orders\"\nurl = \"{url}\"\nevery = \"1 minute\"\n{rest}\n\
         [limits]\nrequests_per_second = 1000\nresponse_bytes = 1000\n"
    );
    Source::from_toml("orders", "orders.toml", &text).unwrap()
}

async fn fetch(source: &Source, policy: &Policy) -> Result<Response, FetchError> {
    fetch_at(source, policy, &LocalPace::default()).await
}

async fn fetch_at(
    source: &Source,
    policy: &Policy,
    pace: &dyn Pace,
) -> Result<Response, FetchError> {
    let secrets = Secrets::from_iter([("key", "s3cret&"), ("other", "0ther")]);
    let transport = HttpTransport::new(policy.clone()).unwrap();
    let stop_at = Instant::now() + Duration::from_secs(30);
    let mut session = Session::new(source, policy, &secrets, &transport, pace, stop_at);
    let walk = landfall_sources::Walk::start(
        source,
        &landfall_sources::State::default(),
        true,
        jiff::Timestamp::now(),
    );
    session.fetch(&walk.request(source).unwrap()).await
}

fn here() -> Policy {
    Policy::new("127.0.0.1,localhost", true).unwrap()
}

#[tokio::test]
async fn an_answer_is_read_as_a_whole() {
    let server = Server::start(vec![answer(200, &[("etag", "\"1\"")], "[1]")]).await;
    let source = source(
        &server.url,
        "query = { key = \"{secret:key}\" }\nheaders = { x-a = \"b\" }",
    );
    let response = fetch(&source, &here()).await.unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (StatusCode::OK, b"[1]".as_slice())
    );
    assert_eq!(response.headers["etag"], "\"1\"");
    assert_eq!(server.uris(), ["/?key=s3cret%26"]);
    assert_eq!(server.header(0, "x-a").as_deref(), Some("b"));
    assert!(
        server
            .header(0, "user-agent")
            .unwrap()
            .starts_with("landfall/")
    );
}

#[tokio::test]
async fn only_answers_that_may_change_are_repeated() {
    let busy = answer(429, &[("retry-after", "0")], "");
    let server = Server::start(vec![busy, answer(503, &[], ""), answer(200, &[], "[]")]).await;
    let response = fetch(&source(&server.url, ""), &here()).await.unwrap();
    assert_eq!((response.status, server.uris().len()), (StatusCode::OK, 3));

    let echo = answer(403, &[], "no access with\n key=s3cret%26, or s3cret&");
    let server = Server::start(vec![echo]).await;
    let error = fetch(&source(&server.url, ""), &here()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server answered with status 403 Forbidden: no access with key={secret:key}, or {secret:key}"
    );
    assert_eq!(server.uris().len(), 1);
    assert!(!error.retryable());
}

#[tokio::test]
async fn bodies_are_sent_and_not_repeated_at_another_place() {
    let server = Server::start(vec![
        answer(503, &[], ""),
        answer(200, &[], "{\"data\": {}}"),
        answer(200, &[], "[]"),
        answer(307, &[("location", "/there")], ""),
    ])
    .await;
    let graphql = "body = { graphql = \"query($n: Int) { items(n: $n) }\", variables = { n = 5 } }\n\
                   headers = { x-key = \"{secret:key}\" }";
    fetch(&source(&server.url, graphql), &here()).await.unwrap();
    let form = source(
        &server.url,
        "body = { form = { key = \"{secret:key}\", n = 5 } }",
    );
    fetch(&form, &here()).await.unwrap();
    let error = fetch(&form, &here()).await.unwrap_err();
    assert!(matches!(error, FetchError::Answer { .. }), "{error}");
    assert_eq!(server.uris(), ["POST /"; 4]);
    let query = r#"{"query":"query($n: Int) { items(n: $n) }","variables":{"n":5}}"#;
    let form = "key=s3cret%26&n=5";
    assert_eq!(*server.bodies.lock().unwrap(), [query, query, form, form]);
    assert_eq!(
        server.header(1, "content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(server.header(1, "x-key").as_deref(), Some("s3cret&"));
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
    let closed = Policy::new("*", false).unwrap();
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1]/",
        "http://localhost/",
    ] {
        let error = fetch(&source(url, ""), &closed).await.unwrap_err();
        assert!(matches!(error, FetchError::Refused(_)), "{url}: {error}");
        assert!(!error.retryable());
    }
}

#[tokio::test]
async fn a_wait_that_exceeds_the_time_is_left_to_the_next_run() {
    let server = Server::start(vec![answer(429, &[("retry-after", "120")], "")]).await;
    let error = fetch(&source(&server.url, ""), &here()).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Wait(wait) if wait == Duration::from_mins(2)),
        "{error}"
    );
    assert!(error.retryable());
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let server = Server::start(vec![answer(200, &[], &"x".repeat(2_000))]).await;
    let error = fetch(&source(&server.url, ""), &here()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong(1000)), "{error}");
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced_once() {
    let token = |name: &str| {
        let body = format!(
            "{{\"access_token\":\"{name}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
        );
        answer(200, &[], &body)
    };
    let auth = |url: &str| {
        format!(
            "[auth]\nkind = \"oauth2\"\ntoken_url = \"{url}/token\"\nclient_id = \"{{secret:other}}\"\n\
             client_secret = \"{{secret:key}}\"\n"
        )
    };
    let server = Server::start(vec![
        token("t1"),
        answer(200, &[], "[]"),
        answer(401, &[], ""),
        token("t2"),
        answer(200, &[], "[]"),
    ])
    .await;
    let source = source(&server.url, &auth(&server.url));
    let secrets = Secrets::from_iter([("key", "k"), ("other", "o")]);
    let policy = here();
    let (transport, pace) = (
        HttpTransport::new(policy.clone()).unwrap(),
        LocalPace::default(),
    );
    let stop_at = Instant::now() + Duration::from_secs(30);
    let mut session = Session::new(&source, &policy, &secrets, &transport, &pace, stop_at);
    let walk = landfall_sources::Walk::start(
        &source,
        &landfall_sources::State::default(),
        true,
        jiff::Timestamp::now(),
    );
    let request = walk.request(&source).unwrap();
    session.fetch(&request).await.unwrap();
    session.fetch(&request).await.unwrap();
    assert_eq!(server.uris(), ["POST /token", "/", "/", "POST /token", "/"]);
    assert_eq!(
        server.header(1, "authorization").as_deref(),
        Some("Bearer t1")
    );
    assert_eq!(
        server.header(4, "authorization").as_deref(),
        Some("Bearer t2")
    );
    assert_eq!(session.requests(), 5);

    let server = Server::start(vec![token("t1"), answer(401, &[], "no")]).await;
    let error = fetch(&self::source(&server.url, &auth(&server.url)), &here())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Answer {
                status: StatusCode::UNAUTHORIZED,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn redirects_are_followed_and_checked() {
    let target = Server::start(vec![answer(200, &[], "[2]")]).await;
    let to = format!("{}/there", target.url);
    let server = Server::start(vec![
        answer(302, &[("location", "/here")], ""),
        answer(307, &[("location", &to)], ""),
    ])
    .await;
    let source = source(&server.url, "headers = { x-key = \"{secret:key}\" }");
    let response = fetch(&source, &here()).await.unwrap();
    assert_eq!(response.body, b"[2]");
    assert_eq!(server.uris(), ["/", "/here"]);
    assert!(server.header(1, "x-key").is_some());
    assert_eq!(target.header(0, "x-key"), None);

    for to in [
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://127.1:1/",
        "http://evil.example/",
        "file:///etc/passwd",
    ] {
        let server = Server::start(vec![answer(302, &[("location", to)], "")]).await;
        let port = server.url.rsplit(':').next().unwrap();
        let policy = Policy::new(&format!("127.0.0.1:{port}"), true).unwrap();
        let error = fetch(&self::source(&server.url, ""), &policy)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::Refused(_)), "{to}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused() {
    let server = Server::start(vec![answer(200, &[], "[]")]).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    let closed = Policy::new("*", false).unwrap();
    for url in [&url, &server.url] {
        let error = fetch(&source(url, ""), &closed).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Refused(Refused::Address { .. })),
            "{url}: {error}"
        );
    }
    assert!(server.uris().is_empty());
    fetch(&source(&url, ""), &here()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let source = source(&url, "");
    let (policy, secrets, pace) = (here(), Secrets::default(), LocalPace::default());
    let transport = HttpTransport::new(policy.clone()).unwrap();
    // Less than the first pause.
    let stop_at = Instant::now() + Duration::from_millis(400);
    let mut session = Session::new(&source, &policy, &secrets, &transport, &pace, stop_at);
    let walk = landfall_sources::Walk::start(
        &source,
        &landfall_sources::State::default(),
        true,
        jiff::Timestamp::now(),
    );
    let error = session
        .fetch(&walk.request(&source).unwrap())
        .await
        .unwrap_err();
    assert!(error.retryable(), "{error}");
}
