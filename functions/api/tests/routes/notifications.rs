//! Notifications: who sees them, and how they are sent again.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use landfall_destinations::JobEvent;
use landfall_domain::JobId;
use landfall_ledger::{
    Notification, NotificationClaim, NotificationEnd, NotificationPlace, NotificationState,
    NotificationTable,
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::fakes::{Api, ApiResponse};

async fn send(api: &Api, token: &str, method: Method, path: &str) -> ApiResponse {
    let bearer = format!("Bearer {}", api.others[token].reveal());
    let request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", bearer);
    api.send(request.body(Body::empty()).unwrap()).await
}

/// Records a notification of a dataset, which is due at this second.
async fn add(api: &Api, dataset: Option<&str>, due: i64) -> Uuid {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &due.to_be_bytes());
    let notification = Notification {
        id,
        event: JobEvent::Failed,
        job: JobId::for_object("inbox", "orders/1.csv", "v1"),
        dataset: dataset.map(str::to_owned),
        url: "https://a.example/hook".to_owned(),
        payload: "{\"private\":1}".to_owned(),
        created_at: "2026-11-20T08:30:00Z".to_owned(),
        state: NotificationState::Waiting,
        due_at: due * 1000,
        since: due * 1000,
        attempts: 0,
        answer: None,
        claim: None,
    };
    api.table.add_notification(&notification).await.unwrap();
    id
}

/// Records the outcome of an attempt to deliver the one that is due at this second.
async fn end(api: &Api, id: Uuid, due: i64, end: NotificationEnd) {
    let place = NotificationPlace {
        due_at: due * 1000,
        id,
    };
    let claim = NotificationClaim {
        id: "a".to_owned(),
        until: due * 1000 + 60_000,
    };
    let claimed = api.table.claim_notification(place, &claim).await;
    assert!(claimed.unwrap().is_some());
    let now = Timestamp::from_second(due + 1).unwrap();
    api.table
        .end_notification(id, "a", &end, now)
        .await
        .unwrap();
}

fn ids(page: &Json) -> Vec<String> {
    let listed = page["notifications"].as_array().unwrap();
    let ids = listed.iter().map(|listed| listed["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn notifications_are_listed_by_state_for_those_who_may_see_their_jobs() {
    let api = Api::new();
    let first = add(&api, Some("orders"), 10).await;
    let second = add(&api, Some("products"), 20).await;
    let third = add(&api, None, 30).await;
    let aside = add(&api, Some("products"), 5).await;
    let answer = "status 410: gone".to_owned();
    end(&api, aside, 5, NotificationEnd::SetAside(answer)).await;

    let waiting = "/notifications?state=waiting";
    let page = send(&api, "reader", Method::GET, waiting).await;
    assert_eq!(page.status, StatusCode::OK);
    let all = [first, second, third].map(|id| id.to_string());
    assert_eq!(ids(&page.json()), all);
    let page = send(&api, "stranger", Method::GET, waiting).await.json();
    assert_eq!(ids(&page), [first.to_string()]);
    let page = send(&api, "reader", Method::GET, &format!("{waiting}&limit=2")).await;
    let cursor = page.json()["next"].as_str().unwrap().to_owned();
    let rest = format!("{waiting}&cursor={cursor}");
    let page = send(&api, "reader", Method::GET, &rest).await.json();
    assert_eq!(
        (ids(&page), &page["next"]),
        (vec![third.to_string()], &Json::Null)
    );

    let page = send(&api, "reader", Method::GET, "/notifications").await;
    let page = page.json();
    let expected = json!({
        "id": aside, "event": "job.failed", "job": JobId::for_object("inbox", "orders/1.csv", "v1"),
        "dataset": "products", "url": "https://a.example/hook", "state": "set_aside",
        "created_at": "2026-11-20T08:30:00Z", "due_at": null, "set_aside_at": "1970-01-01T00:00:06.000Z",
        "attempts": 1, "answer": "status 410: gone",
    });
    assert_eq!(page["notifications"], json!([expected]));

    for path in [
        "/notifications?state=delivered",
        &format!("{waiting}&cursor=x"),
    ] {
        let refused = send(&api, "reader", Method::GET, path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let refused = send(&api, "writer", Method::GET, waiting).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_not_delivered_is_sent_again_on_request() {
    let api = Api::new();
    let aside = add(&api, Some("products"), 5).await;
    let answer = "status 410: gone".to_owned();
    end(&api, aside, 5, NotificationEnd::SetAside(answer)).await;
    let redrive = |id: &dyn std::fmt::Display| format!("/notifications/{id}/redrive");
    for (token, id, status) in [
        ("reader", aside.to_string(), StatusCode::FORBIDDEN),
        ("stranger", aside.to_string(), StatusCode::NOT_FOUND),
        ("writer", Uuid::nil().to_string(), StatusCode::NOT_FOUND),
        ("writer", "x".to_owned(), StatusCode::NOT_FOUND),
        ("writer", aside.to_string(), StatusCode::ACCEPTED),
    ] {
        let answer = send(&api, token, Method::POST, &redrive(&id)).await;
        assert_eq!(answer.status, status, "{token} {id}");
    }
    let waiting = send(&api, "reader", Method::GET, "/notifications?state=waiting").await;
    assert_eq!(ids(&waiting.json()), [aside.to_string()]);

    let delivered = add(&api, Some("products"), 7).await;
    end(&api, delivered, 7, NotificationEnd::Delivered).await;
    let answer = send(&api, "writer", Method::POST, &redrive(&delivered)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}
