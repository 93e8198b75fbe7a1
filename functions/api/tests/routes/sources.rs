//! Sources: what they are, their runs, and what operators do with them.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_domain::{JobId, JobState};
use landfall_ledger::SourceTable;
use landfall_sources::{Outcome, Phase, Record, RunEntry, Source, State, WalkProgress};
use serde_json::{Value as Json, json};

use crate::fakes::{Api, ApiResponse};

const FEED: &str = r#"
dataset = "products"
url = "https://shop.example/products"
every = "10 minutes"
records = "products"
headers = { x-shop = "a plain text that may be secret" }
paging = { kind = "cursor", parameter = "after", cursor = "next" }
auth = { kind = "bearer", token = "{secret:shop_token}" }
"#;

async fn send(api: &Api, token: &str, method: Method, path: &str) -> ApiResponse {
    let bearer = format!("Bearer {}", api.others[token].reveal());
    let request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", bearer);
    api.send(request.body(Body::empty()).unwrap()).await
}

async fn post(api: &Api, token: &str, path: &str) -> ApiResponse {
    send(api, token, Method::POST, path).await
}

fn put(api: &Api, name: &str, definition: &str) {
    let key = format!("sources/{name}.toml");
    api.buckets.put_text("config", &key, definition);
}

fn api_with_feed() -> Api {
    let api = Api::new();
    put(&api, "feed", FEED);
    api
}

fn feed() -> Source {
    Source::from_toml("feed", "feed.toml", FEED).unwrap()
}

/// Records runs with the numbers 1 to `runs`, a minute apart.
async fn record_runs(api: &Api, runs: u64) -> Record {
    let mut record = Record::default();
    let since: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    for number in 1..=runs {
        let started = since + SignedDuration::from_mins(i64::try_from(number).unwrap());
        record.start(
            &feed(),
            started,
            started + SignedDuration::from_mins(10),
            false,
        );
        let run = record.run.clone().unwrap();
        let ended = started + SignedDuration::from_secs(5);
        let mut entry: RunEntry = run.entry(&feed(), ended, Outcome::Empty, None);
        entry.progress = WalkProgress {
            pages: 1,
            bytes: 20,
            ..WalkProgress::default()
        };
        api.table.add_source_run("feed", &entry).await.unwrap();
        record.succeed(State::default());
    }
    api.table.save_source("feed", &record, 0).await.unwrap();
    record
}

#[tokio::test]
async fn a_source_shows_its_definition_its_schedule_and_its_runs_but_no_secrets() {
    let api = api_with_feed();
    let fresh = api.get("/sources/feed").await;
    assert_eq!(fresh.status, StatusCode::OK, "{}", fresh.text());
    assert!(!fresh.text().contains("plain text"), "{}", fresh.text());
    let fresh = fresh.json();
    assert_eq!(
        fresh["definition"],
        json!({
            "url": "https://shop.example/products", "method": "GET", "schedule": "every 10 minutes",
            "paging": "cursor", "incremental": false, "complete": false, "secrets": ["shop_token"],
        })
    );
    assert_eq!(fresh["dataset"], "products");
    for nothing in [
        "problem",
        "paused",
        "next_run_at",
        "current_run",
        "last_run",
    ] {
        assert_eq!(fresh[nothing], Json::Null, "{nothing}");
    }

    let mut record = record_runs(&api, 2).await;
    let source = api.get("/sources/feed").await.json();
    assert_eq!(source["activity"], "waiting");
    assert_eq!(source["next_run_at"], "2026-11-20T08:12:00Z");
    assert_eq!(source["last_run"]["number"], 2);
    assert_eq!(source["last_run"]["outcome"], "empty");
    assert_eq!(source["last_run"]["started_at"], "2026-11-20T08:02:00.000Z");

    let now = Timestamp::now();
    record.start(&feed(), now, now, false);
    let job = JobId::for_object("inbox", "products/sources/feed/1.ndjson", "1");
    record.run.as_mut().unwrap().phase = Phase::Ingesting {
        job,
        proposal: State::default(),
    };
    api.table.save_source("feed", &record, 1).await.unwrap();
    let source = api.get("/sources/feed").await.json();
    assert_eq!(source["activity"], "ingesting");
    assert_eq!(source["current_run"]["number"], 3);
    assert_eq!(source["last_run"]["number"], 2);

    let run = record.run.clone().unwrap();
    let outcome = record.settle(JobState::Failed).unwrap();
    let reason = Some("the job is failed".to_owned());
    let entry = run.entry(&feed(), now, outcome, reason);
    api.table.add_source_run("feed", &entry).await.unwrap();
    api.table.save_source("feed", &record, 2).await.unwrap();
    let last = api.get("/sources/feed").await.json()["last_run"].take();
    assert_eq!(last["outcome"], "job_failed");
    assert_eq!(last["reason"], "the job is failed");
    assert_eq!(last["job"], job.to_string());
}

#[tokio::test]
async fn runs_are_listed_page_by_page_newest_first() {
    let api = api_with_feed();
    let none = api.get("/sources/feed/runs").await.json();
    assert_eq!(none, json!({ "runs": [], "next": null }));
    record_runs(&api, 45).await;
    let mut numbers = Vec::new();
    let mut path = "/sources/feed/runs".to_owned();
    loop {
        let page = api.get(&path).await.json();
        let runs = page["runs"].as_array().unwrap();
        assert!(runs.len() <= 20);
        numbers.extend(runs.iter().map(|run| run["number"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/sources/feed/runs?cursor={next}");
    }
    assert_eq!(numbers, (1..=45).rev().collect::<Vec<_>>());
    let all = api.get("/sources/feed/runs?limit=100").await.json();
    assert_eq!(all["runs"].as_array().unwrap().len(), 45);
    for wrong in ["limit=0", "limit=101", "cursor=x", "page=1"] {
        let refused = api.get(&format!("/sources/feed/runs?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn sources_are_listed_page_by_page_with_what_is_wrong_with_them() {
    let api = api_with_feed();
    put(&api, "broken", "dataset = 1\n");
    put(&api, "others", &FEED.replace("products\"", "orders\""));
    put(&api, "zoo", FEED);
    let mut found = Vec::new();
    let mut path = "/sources?limit=1".to_owned();
    loop {
        let page = api.get(&path).await.json();
        for (list, kind) in [("sources", "problem"), ("broken", "message")] {
            for source in page[list].as_array().unwrap() {
                let text = source[kind].as_str().unwrap_or("none").to_owned();
                found.push((source["name"].as_str().unwrap().to_owned(), text));
            }
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/sources?limit=1&cursor={next}");
    }
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["broken", "feed", "others", "zoo"]);
    assert!(found[0].1.contains("sources/broken.toml:1"), "{found:?}");
    assert_eq!(found[1].1, "none");
    assert_eq!(found[2].1, "there is no dataset orders");

    let covered = send(&api, "stranger", Method::GET, "/sources").await.json();
    assert_eq!(covered["broken"], json!([]));
    assert_eq!(covered["sources"].as_array().unwrap().len(), 1);
    assert_eq!(covered["sources"][0]["name"], "others");
    let broken = api.get("/sources/broken").await;
    assert_eq!(broken.status, StatusCode::CONFLICT);
    assert!(broken.detail().contains("sources/broken.toml:1"));
    let misfit = post(&api, "writer", "/sources/others/run").await;
    assert_eq!(misfit.status, StatusCode::CONFLICT);
    for (token, name) in [
        ("stranger", "feed"),
        ("stranger", "broken"),
        ("reader", "none"),
    ] {
        let hidden = send(&api, token, Method::GET, &format!("/sources/{name}")).await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn a_requested_run_is_due_at_once() {
    let api = api_with_feed();
    let record = record_runs(&api, 1).await;
    let before = Timestamp::now();
    let answer = post(&api, "writer", "/sources/feed/run").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(answer.json()["source"], "feed");
    assert_eq!(
        api.get("/sources/feed").await.json()["next_run_at"],
        Json::Null
    );
    let requested = api.table.source("feed").await.unwrap().requested_at;
    let requested = requested.and_then(|at| Timestamp::from_millisecond(at).ok());
    assert!(requested.unwrap() + SignedDuration::from_millis(1) > before);
    let early: Timestamp = "2026-11-20T08:02:00Z".parse().unwrap();
    let step = record.step(&feed(), early, requested);
    assert!(matches!(step, landfall_sources::Step::Start { .. }));
}

#[tokio::test]
async fn a_paused_source_says_so_and_does_not_run_until_it_is_resumed() {
    let api = api_with_feed();
    let first = post(&api, "operator", "/sources/feed/pause").await.json();
    assert_eq!(first["source"], "feed");
    assert_eq!(first["paused"]["by"], "operator");
    let again = post(&api, "operator", "/sources/feed/pause").await.json();
    assert_eq!(again, first);
    let source = api.get("/sources/feed").await.json();
    assert_eq!(source["paused"], first["paused"]);
    let refused = post(&api, "writer", "/sources/feed/run").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.detail().contains("resume it first"));

    let resumed = post(&api, "operator", "/sources/feed/resume").await;
    let expected = json!({ "source": "feed", "paused": Json::Null });
    assert_eq!(resumed.json(), expected);
    let source = api.get("/sources/feed").await.json();
    assert_eq!(source["paused"], Json::Null);
    let accepted = post(&api, "writer", "/sources/feed/run").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn only_operators_pause_sources() {
    let api = api_with_feed();
    for action in ["pause", "resume"] {
        let path = format!("/sources/feed/{action}");
        for token in ["reader", "writer", "stranger"] {
            let refused = post(&api, token, &path).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token}");
        }
        assert_eq!(post(&api, "operator", &path).await.status, StatusCode::OK);
    }
}
