//! Numbers, lists and counts.

use axum::http::{Method, StatusCode};
use landfall_ledger::{CheckedNumbers, ParentTable};
use serde_json::{Value as Json, json};

use super::{api, call, create, get, open, parent, post, work};

#[tokio::test]
async fn rows_are_numbered_within_their_parents_and_counted() {
    let api = api();
    let opened = open(&api, "shop").await;
    for number in 1..=2 {
        let chat = create(&api, &opened, "chats", "").await;
        assert_eq!(chat, number);
    }
    for number in 1..=3 {
        let body = json!({ "body": format!("message {number}") }).to_string();
        assert_eq!(
            create(&api, &opened, "chats/2/messages", &body).await,
            number
        );
    }
    let sent = work(&api);
    let keys: Vec<_> = sent.iter().map(|message| message.key.join(",")).collect();
    let id = &opened.id;
    assert_eq!(
        keys[..3],
        [format!("{id},1"), format!("{id},2"), format!("{id},2,1")]
    );
    assert!(sent.iter().all(|message| message.created_at.is_some()));

    let application = get(&api, &opened.token, &opened.path).await.json();
    assert_eq!(application["name"], "shop");
    assert_eq!(application["chats_count"], 2);
    assert_eq!(application["_last_numbers"], json!({ "chats": 2 }));
    assert!(!application.to_string().contains(&opened.token));
    let chats = get(&api, &opened.token, &format!("{}/chats", opened.path))
        .await
        .json();
    assert_eq!(chats["rows"][0]["messages_count"], 0);
    assert_eq!(chats["rows"][1]["messages_count"], 3);
    assert_eq!(chats["last_number"], 2);
    let message = format!("{}/chats/2/messages/3", opened.path);
    let answer = get(&api, &opened.token, &message).await;
    assert_eq!(answer.json()["body"], "message 3");
    let etag = answer.header("etag").to_owned();
    let known = [("if-none-match", &*etag)];
    let again = call(&api, &opened.token, Method::GET, &message, &known, "").await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn lists_have_pages_searches_and_voids_of_their_parent_alone() {
    let api = api();
    let (one, other) = (open(&api, "one").await, open(&api, "other").await);
    for opened in [&one, &other] {
        create(&api, opened, "chats", "").await;
        for number in 1..=5 {
            let body = json!({ "body": format!("garden {number}") }).to_string();
            create(&api, opened, "chats/1/messages", &body).await;
        }
    }
    work(&api);
    let chat = parent("chats", &[&one.id, "1"]);
    let checked = CheckedNumbers {
        from: 0,
        to: 5,
        voids: [2].into(),
    };
    assert!(
        api.table
            .record_checked(&chat, "messages", &checked)
            .await
            .unwrap()
    );
    let path = format!("{}/chats/1/messages", one.path);
    let numbers = |page: &Json| -> Vec<i64> {
        let rows = page["rows"].as_array().unwrap().iter();
        rows.map(|row| row["message"].as_i64().unwrap()).collect()
    };
    let first = get(&api, &one.token, &format!("{path}?limit=3")).await;
    let first_page = first.json();
    assert_eq!(numbers(&first_page), [1, 2, 3]);
    assert_eq!(
        (&first_page["voids"], &first_page["last_number"]),
        (&json!([2]), &json!(5))
    );
    let next = first_page["next"].as_str().unwrap();
    assert!(first.header("link").contains(next));
    let second = get(&api, &one.token, &format!("{path}?limit=3&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (numbers(&second), &second["voids"]),
        (vec![4, 5], &json!([]))
    );
    let newest = get(&api, &one.token, &format!("{path}?sort=-message&limit=2"))
        .await
        .json();
    assert_eq!(numbers(&newest), [5, 4]);
    let found = get(&api, &one.token, &format!("{path}?search=gard"))
        .await
        .json();
    assert_eq!(numbers(&found), [5, 4, 3, 2, 1]);
    assert_eq!(found["rows"][0]["_highlight"]["body"][0]["match"], true);
    let all = format!("{}/messages?search=garden", one.path);
    assert_eq!(numbers(&get(&api, &one.token, &all).await.json()).len(), 5);
    // A cursor of another list is refused.
    let stolen = format!("{}/chats/1/messages?limit=3&cursor={next}", other.path);
    assert_eq!(
        get(&api, &other.token, &stolen).await.status,
        StatusCode::BAD_REQUEST
    );
    // A void is not found.
    assert_eq!(
        get(&api, &one.token, &format!("{path}/2")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_row_that_is_not_stored_yet_is_accepted_and_one_that_is_not_given_out_is_not_found() {
    let api = api();
    let opened = open(&api, "shop").await;
    create(&api, &opened, "chats", "").await;
    let chat = format!("{}/chats/1", opened.path);
    let waiting = get(&api, &opened.token, &chat).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    assert_eq!(
        (waiting.header("retry-after"), &waiting.json()["chat"]),
        ("1", &json!(1))
    );
    for path in [
        "chats/2",
        "chats/0",
        "chats/01",
        "chats/x",
        "chats/1/files",
        "messages/1",
    ] {
        let path = format!("{}/{path}", opened.path);
        let answer = get(&api, &opened.token, &path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let beyond = get(
        &api,
        &opened.token,
        &format!("{}/chats?at_least=2", opened.path),
    )
    .await;
    assert_eq!(beyond.status, StatusCode::NOT_FOUND);
    let waits = format!("{chat}?at_least=1");
    let (waited, ()) = tokio::join!(get(&api, &opened.token, &waits), async {
        drop(work(&api));
    });
    assert_eq!(waited.status, StatusCode::OK);
    let messages = format!("{}/chats/2/messages", opened.path);
    let message = post(&api, &opened.token, &messages, "{\"body\":\"a\"}").await;
    assert_eq!(message.status, StatusCode::NOT_FOUND);
}
