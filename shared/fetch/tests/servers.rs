//! Sessions with real HTTP servers on this machine.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as Received;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response as Reply;
use landfall_domain::Codec;
use landfall_fetch::{FetchError, HttpTransport, LocalPace, Pace, PaceError, Response, Session};
use landfall_sources::{Limits, Policy, Refused, Secrets, Source};
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

/// Sends at once, and records the pauses.
#[derive(Default)]
struct Pauses(Mutex<Vec<(String, Duration)>>);

#[async_trait::async_trait]
impl Pace for Pauses {
    async fn wait(&self, _: &str, _: &Limits) -> Result<(), PaceError> {
        Ok(())
    }

    async fn pause(&self, host: &str, pause: Duration) -> Result<(), PaceError> {
        self.0.lock().unwrap().push((host.to_owned(), pause));
        Ok(())
    }
}

#[tokio::test]
async fn a_pause_that_a_server_asks_for_holds_back_all_requests_to_its_host() {
    let busy = |seconds: &str| answer(429, &[("retry-after", seconds)], "");
    let server = Server::start(vec![
        answer(503, &[], ""),
        busy("1"),
        answer(200, &[], "[]"),
        busy("86400"),
    ])
    .await;
    let (source, pauses) = (source(&server.url, ""), Pauses::default());
    fetch_at(&source, &here(), &pauses).await.unwrap();
    let error = fetch_at(&source, &here(), &pauses).await.unwrap_err();
    assert!(matches!(error, FetchError::Wait(_)), "{error}");
    let pauses = pauses.0.into_inner().unwrap();
    let host = "127.0.0.1".to_owned();
    let expected = [
        (host.clone(), Duration::from_secs(1)),
        (host, Duration::from_hours(1)),
    ];
    assert_eq!(pauses, expected);
}

#[tokio::test]
async fn a_source_without_requests_left_on_a_day_fails() {
    struct Spent;

    #[async_trait::async_trait]
    impl Pace for Spent {
        async fn wait(&self, host: &str, _: &Limits) -> Result<(), PaceError> {
            let host = host.to_owned();
            Err(PaceError::Day { host, most: 7 })
        }

        async fn pause(&self, _: &str, _: Duration) -> Result<(), PaceError> {
            Ok(())
        }
    }

    let server = Server::start(vec![]).await;
    let error = fetch_at(&source(&server.url, ""), &here(), &Spent)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "today (UTC), 7 requests were sent to 127.0.0.1, which is limits.requests_per_day"
    );
    assert!(!error.retryable() && server.uris().is_empty());
}

fn packed(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut reply = answer(status, headers, "");
    *reply.body_mut() = Body::from(body.to_vec());
    reply
}

#[tokio::test]
async fn answers_in_gzip_are_unpacked() {
    let text = format!("[{}1]", "1,".repeat(400));
    let once = landfall_packed::pack(Codec::Gzip, text.as_bytes());
    let twice = landfall_packed::pack(Codec::Gzip, &once);
    let encoded = [("content-encoding", "gzip")];
    let server = Server::start(vec![
        packed(200, &encoded, &once),
        // A file, as a download has it.
        packed(200, &[("content-type", "application/gzip")], &once),
        packed(200, &encoded, &twice),
        packed(204, &encoded, b""),
    ])
    .await;
    let source = source(&server.url, "");
    for _ in 0..3 {
        let response = fetch(&source, &here()).await.unwrap();
        assert_eq!(String::from_utf8(response.body).unwrap(), text);
    }
    assert!(fetch(&source, &here()).await.unwrap().body.is_empty());
    assert_eq!(server.header(0, "accept-encoding").as_deref(), Some("gzip"));
}

#[tokio::test]
async fn answers_in_gzip_are_limited_by_what_they_unpack_to_and_repeated_if_they_break_off() {
    let long = landfall_packed::pack(Codec::Gzip, "x".repeat(2_000).as_bytes());
    assert!(long.len() < 1000);
    let short = landfall_packed::pack(Codec::Gzip, b"[]");
    let server = Server::start(vec![
        packed(200, &[], &long),
        packed(200, &[], &short[..short.len() - 1]),
        packed(200, &[("content-encoding", "br")], b"[]"),
        packed(200, &[], &short),
    ])
    .await;
    let source = source(&server.url, "");
    let error = fetch(&source, &here()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong(1000)), "{error}");
    let response = fetch(&source, &here()).await.unwrap();
    assert_eq!(
        (response.body.as_slice(), server.uris().len()),
        (b"[]".as_slice(), 4)
    );
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
