//! Destinations: what they are, what waits for them, and what operators do with them.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::Breaker;
use landfall_domain::{ChangeState, JobId, ObjectOrder, RowVersion, Value};
use landfall_ledger::{
    DestinationError, DestinationNotes, DestinationTable, TaskSelection, change_tasks,
};
use landfall_stores::{ChangeKey, ChangeSummary, ListedChange, Sent};
use serde_json::{Value as Json, json};

use crate::fakes::{Api, ApiResponse};

const SHOP: &str = r#"
dataset = "products"
url = "https://shop.example/api"
headers = { x-shop = "a plain text that may be secret" }
update = { path = "/products/{{ sku }}" }
limits = { per_second = 7 }
"#;

async fn send(
    api: &Api,
    token: &str,
    method: Method,
    path: &str,
    body: Option<&Json>,
) -> ApiResponse {
    let bearer = format!("Bearer {}", api.others[token].reveal());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", bearer)
        .header("content-type", "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    api.send(request.body(body).unwrap()).await
}

async fn post(api: &Api, token: &str, path: &str) -> ApiResponse {
    send(api, token, Method::POST, path, None).await
}

async fn redrive(api: &Api, body: &Json) -> ApiResponse {
    send(
        api,
        "writer",
        Method::POST,
        "/destinations/shop/redrive",
        Some(body),
    )
    .await
}

fn put(api: &Api, name: &str, definition: &str) {
    let key = format!("destinations/{name}.toml");
    api.buckets.put_text("config", &key, definition);
}

fn api_with_shop() -> Api {
    let api = Api::new();
    put(&api, "shop", SHOP);
    let summary = ChangeSummary {
        waiting: 9,
        due: 4,
        leased: 2,
        set_aside: 3,
        unknown: 1,
        recorded: 5,
        oldest_wanted_at: Some(Timestamp::now() - SignedDuration::from_secs(90)),
    };
    let mut summaries = api.changes.summaries.lock().unwrap();
    summaries.insert("shop".to_owned(), summary);
    drop(summaries);
    api
}

fn version() -> RowVersion {
    ObjectOrder::first(JobId::for_object("inbox", "products", "1")).at(1)
}

fn change(sku: &str, sent: Option<Sent>) -> ListedChange {
    let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    ListedChange {
        key: ChangeKey {
            values: vec![Value::Text(sku.into())],
            place: 1,
        },
        wanted: version(),
        wanted_at: at,
        sent,
        attempts: 2,
        due_at: at + SignedDuration::from_secs(1),
        is_leased: false,
        is_uncertain: false,
        holds: true,
        answer: Some("422: no price".to_owned()),
    }
}

#[tokio::test]
async fn a_destination_shows_what_waits_for_it_and_what_went_wrong() {
    let api = api_with_shop();
    let shop = api.get("/destinations/shop").await;
    assert_eq!(shop.status, StatusCode::OK, "{}", shop.text());
    assert!(!shop.text().contains("plain text"), "{}", shop.text());
    let mut shop = shop.json();
    let lag = shop["lag_seconds"].take().as_u64().unwrap();
    assert!((90..120).contains(&lag), "{lag}");
    assert!(shop["oldest_wanted_at"].take().is_string());
    assert_eq!(
        shop,
        json!({
            "name": "shop", "dataset": "products", "paused": null, "circuit": "closed", "problem": null,
            "url": "https://shop.example/api", "per_second": 7.0, "waiting": 9, "due": 4, "leased": 2,
            "set_aside": 3, "unknown": 1, "recorded": 5, "oldest_wanted_at": null, "lag_seconds": null,
            "last_errors": [], "tasks": [],
        })
    );

    let mut breaker = Breaker::default();
    for _ in 0..5 {
        breaker.failed(Timestamp::now(), "503", None, 0.5, false);
    }
    api.table.save_breaker("shop", &breaker, 0).await.unwrap();
    let mut notes = DestinationNotes::default();
    let error = |message: &str| DestinationError::new(Timestamp::now(), message);
    notes.add([error("500"), error("503")]);
    api.table.save_notes("shop", &notes).await.unwrap();
    let shop = api.get("/destinations/shop").await.json();
    assert_eq!(shop["circuit"], "open");
    assert!(shop["problem"].as_str().unwrap().contains("503"), "{shop}");
    let errors: Vec<_> = shop["last_errors"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&errors[0]["message"], &errors[1]["message"]),
        (&json!("503"), &json!("500"))
    );
    notes.problem = Some(error("there is no secret shop_token"));
    api.table.save_notes("shop", &notes).await.unwrap();
    let listed = api.get("/destinations").await.json();
    assert_eq!(
        listed["destinations"][0]["problem"],
        "there is no secret shop_token"
    );

    put(&api, "new", SHOP);
    let fresh = api.get("/destinations/new").await.json();
    assert_eq!(
        (&fresh["waiting"], &fresh["lag_seconds"]),
        (&json!(0), &Json::Null)
    );
    assert!(
        fresh["problem"]
            .as_str()
            .unwrap()
            .contains("within a minute")
    );
    let all = json!({"all": true});
    let refused = send(
        &api,
        "writer",
        Method::POST,
        "/destinations/new/redrive",
        Some(&all),
    );
    assert_eq!(refused.await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn destinations_are_listed_page_by_page_for_the_datasets_of_the_token() {
    let api = api_with_shop();
    put(&api, "broken", "dataset = 1\n");
    let orders =
        "name = \"orders\"\nkey = [\"sku\"]\nfields = [{ name = \"sku\", type = \"text\" }]\n";
    api.buckets
        .put_text("config", "datasets/orders.toml", orders);
    put(&api, "others", &SHOP.replace("products\"", "orders\""));
    let mut found = Vec::new();
    let mut path = "/destinations?limit=1".to_owned();
    loop {
        let page = api.get(&path).await.json();
        for list in ["destinations", "broken"] {
            let names = page[list].as_array().unwrap().iter();
            found
                .extend(names.map(|listed| format!("{list} {}", listed["name"].as_str().unwrap())));
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/destinations?limit=1&cursor={next}");
    }
    assert_eq!(
        found,
        ["broken broken", "destinations others", "destinations shop"]
    );

    let covered = send(&api, "stranger", Method::GET, "/destinations", None)
        .await
        .json();
    assert_eq!(covered["broken"], json!([]));
    assert_eq!(covered["destinations"].as_array().unwrap().len(), 1);
    assert_eq!(covered["destinations"][0]["name"], "others");
    let broken = api.get("/destinations/broken").await;
    assert_eq!(broken.status, StatusCode::CONFLICT);
    assert!(broken.detail().contains("destinations/broken.toml:1"));
    for path in [
        "shop",
        "shop/changes?state=waiting",
        "shop/tasks/1",
        "broken",
        "none",
    ] {
        let path = format!("/destinations/{path}");
        let hidden = send(&api, "stranger", Method::GET, &path, None);
        assert_eq!(hidden.await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn changes_are_listed_page_by_page_with_the_answers_of_the_service() {
    let api = api_with_shop();
    let has = |exists| Sent {
        version: version(),
        exists,
        id: exists.then(|| "77".to_owned()),
    };
    let changes = vec![
        change("a", Some(has(true))),
        change("b", Some(has(false))),
        change("c", None),
    ];
    api.changes
        .listed
        .lock()
        .unwrap()
        .insert(ChangeState::SetAside, changes);
    let page = api
        .get("/destinations/shop/changes?state=set_aside&limit=2")
        .await
        .json();
    assert_eq!(
        page["changes"][0],
        json!({
            "key": {"sku": "a"}, "wanted_at": "2026-11-20T08:00:00.000Z", "due_at": "2026-11-20T08:00:01.000Z",
            "attempts": 2, "sent": true, "remote_id": "77", "is_leased": false, "is_uncertain": false,
            "holds": true, "answer": "422: no price",
        })
    );
    assert_eq!(page["changes"][1]["sent"], false);
    let next = page["next"].as_str().unwrap();
    let path = format!("/destinations/shop/changes?state=set_aside&limit=2&cursor={next}");
    let last = api.get(&path).await.json();
    assert_eq!(last["changes"][0]["key"], json!({"sku": "c"}));
    assert_eq!(last["next"], Json::Null);
    let none = api
        .get("/destinations/shop/changes?state=unknown")
        .await
        .json();
    assert_eq!(none, json!({"changes": [], "next": null}));
    for wrong in [
        "",
        "?state=sent",
        "?state=waiting&limit=101",
        "?state=waiting&cursor=x",
    ] {
        let refused = api.get(&format!("/destinations/shop/changes{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_redrive_is_a_task_that_is_the_same_until_it_is_finished() {
    let api = api_with_shop();
    let by_answer = json!({"state": "waiting", "answer_contains": "503"});
    let first = redrive(&api, &by_answer).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.text());
    let first = first.json();
    assert_eq!(
        (&first["id"], &first["kind"], &first["keys"]),
        (&json!(1), &json!("redrive"), &json!(0))
    );
    assert_eq!(first["requested_by"], "writer");
    assert_eq!(redrive(&api, &by_answer).await.json(), first);
    let by_key = redrive(&api, &json!({"keys": [{"sku": "a"}]})).await.json();
    assert_eq!(by_key["id"], 2);
    let all = redrive(&api, &json!({"all": true})).await.json();
    assert_eq!(all["id"], 3);
    let sync = post(&api, "writer", "/destinations/shop/sync").await.json();
    assert_eq!((&sync["id"], &sync["kind"]), (&json!(4), &json!("sync")));

    let tasks = api.table.tasks("shop").await.unwrap().tasks;
    let tasks: Vec<_> = tasks.open().cloned().collect();
    // Those of the nine that wait which are neither due nor leased; those that are set aside or unknown.
    let most: Vec<_> = tasks.iter().map(|task| task.most).collect();
    assert_eq!(most, [Some(3), Some(1), Some(4), None]);
    let keys = TaskSelection::Keys(vec![vec!["a".to_owned()]]);
    assert_eq!(tasks[1].selection, Some(keys));

    let finished = change_tasks(&*api.table, "shop", |tasks| {
        tasks.update(1, |task| {
            task.keys = 3;
            task.finish(Timestamp::now(), None);
        });
        Some(())
    });
    finished.await.unwrap();
    let task = send(
        &api,
        "reader",
        Method::GET,
        "/destinations/shop/tasks/1",
        None,
    )
    .await
    .json();
    assert_eq!((&task["keys"], &task["problem"]), (&json!(3), &Json::Null));
    assert!(task["finished_at"].is_string());
    assert_eq!(redrive(&api, &by_answer).await.json()["id"], 5);
    let shop = api.get("/destinations/shop").await.json();
    let ids: Vec<_> = shop["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["id"])
        .collect();
    assert_eq!(ids, [5, 4, 3, 2, 1]);
    for id in ["9", "x"] {
        let missing = api.get(&format!("/destinations/shop/tasks/{id}")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn redrives_are_checked_and_bounded() {
    let api = api_with_shop();
    let many: Vec<_> = (0..101)
        .map(|sku| json!({"sku": sku.to_string()}))
        .collect();
    for wrong in [
        json!({}),
        json!({"all": true, "state": "unknown"}),
        json!({"state": "sent"}),
        json!({"keys": []}),
        json!({"keys": many}),
        json!({"keys": [{"name": "a"}]}),
        json!({"keys": [{"sku": "a", "name": "b"}]}),
        json!({"keys": [{"sku": null}]}),
        json!({"keys": [{"sku": "a".repeat(20_000)}]}),
        json!({"keys": [{"sku": "a"}], "answer_contains": "503"}),
        json!({"all": true, "answer_contains": ""}),
        json!({"all": true, "where": "x"}),
    ] {
        let refused = redrive(&api, &wrong).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{wrong}: {}",
            refused.text()
        );
    }
    for sku in 0..16 {
        let body = json!({"keys": [{"sku": sku.to_string()}]});
        assert_eq!(redrive(&api, &body).await.status, StatusCode::ACCEPTED);
    }
    let refused = redrive(&api, &json!({"all": true})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.detail().contains("16 unfinished tasks"));
}

#[tokio::test]
async fn a_paused_destination_says_so_until_it_is_resumed() {
    let api = api_with_shop();
    let first = post(&api, "operator", "/destinations/shop/pause")
        .await
        .json();
    assert_eq!(first["name"], "shop");
    assert_eq!(first["paused"]["by"], "operator");
    let again = post(&api, "operator", "/destinations/shop/pause")
        .await
        .json();
    assert_eq!(again, first);
    let listed = api.get("/destinations").await.json();
    assert_eq!(listed["destinations"][0]["paused"], first["paused"]);
    let resumed = post(&api, "operator", "/destinations/shop/resume")
        .await
        .json();
    assert_eq!(resumed, json!({"name": "shop", "paused": null}));
    let shop = api.get("/destinations/shop").await.json();
    assert_eq!(shop["paused"], Json::Null);
}

#[tokio::test]
async fn readers_change_nothing_and_only_operators_pause() {
    let api = api_with_shop();
    let body = json!({"all": true});
    for (path, allowed, status) in [
        ("redrive", "writer", StatusCode::ACCEPTED),
        ("sync", "writer", StatusCode::ACCEPTED),
        ("pause", "operator", StatusCode::OK),
        ("resume", "operator", StatusCode::OK),
    ] {
        let path = format!("/destinations/shop/{path}");
        for token in ["reader", "writer", "operator"] {
            let answer = send(&api, token, Method::POST, &path, Some(&body)).await;
            // Operators may do everything.
            let expected = if token == allowed || token == "operator" {
                status
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(answer.status, expected, "{token} {path}");
        }
    }
}
