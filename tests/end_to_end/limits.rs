//! How often a token may ask.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use landfall_local::Sql;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use crate::http::Api;
use crate::support::start;

/// Seconds of a window, and what the token may ask in it.
const WINDOW: u64 = 5;
const ALLOWANCE: usize = 10;
/// Requests under way at once: each instance of the function has one.
const AT_ONCE: usize = 40;
/// Times that so many are sent until one is refused.
const ROUNDS: usize = 20;

fn window() -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    usize::try_from(now.as_secs() / WINDOW).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_together_take_no_more_of_a_token_than_it_may_ask() {
    let stack = start(Sql::Sqlite, &[("TokenRequestsPerSecond", "2")]).await;
    let api = Api::of(&stack);
    let first = window();
    let mut admitted = 0;
    let mut wait = None;
    for _ in 0..ROUNDS {
        let answers = join_all((0..AT_ONCE).map(|_| api.get("session").send())).await;
        for answer in answers {
            let answer = answer.unwrap();
            if answer.status() == StatusCode::OK {
                admitted += 1;
            } else {
                assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
                let seconds = answer.headers()[RETRY_AFTER].to_str().unwrap().parse();
                wait = Some(seconds.unwrap());
            }
        }
        if wait.is_some() {
            break;
        }
    }
    let windows = window() - first + 1;
    assert!(admitted <= ALLOWANCE * windows, "{admitted} in {windows}");
    tokio::time::sleep(Duration::from_secs(wait.unwrap())).await;
    let answer = api.get("session").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
