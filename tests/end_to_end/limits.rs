//! The rate limit of tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use landfall_local::Sql;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use crate::http::Api;
use crate::support::start;

/// Seconds of a window, and the requests that the token may make in it.
const WINDOW: u64 = 5;
const ALLOWANCE: usize = 10;
/// Number of concurrent requests. Each instance of the function processes one at a time.
const CONCURRENCY: usize = 40;
/// The maximum number of rounds of such requests until one is refused.
const ROUNDS: usize = 20;

fn window() -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    usize::try_from(now.as_secs() / WINDOW).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_together_enforce_the_rate_limit_of_a_token() {
    let stack = start(Sql::Sqlite, &[("TokenRequestsPerSecond", "2")]).await;
    let api = Api::new(&stack);
    let first = window();
    let mut admitted = 0;
    let mut wait = None;
    for _ in 0..ROUNDS {
        let answers = join_all((0..CONCURRENCY).map(|_| api.get("session").send())).await;
        for answer in answers {
            let answer = answer.unwrap();
            if answer.status() == StatusCode::OK {
                admitted += 1;
            } else {
                assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
                let seconds: u64 = answer.headers()[RETRY_AFTER]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                // Of answers before and after the end of a window, those after it have the longer time.
                wait = wait.max(Some(seconds));
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
