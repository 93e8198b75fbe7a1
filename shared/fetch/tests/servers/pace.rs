//! Pauses that servers request, and limits that are used up.

use std::sync::Mutex;
use std::time::Duration;

use landfall_fetch::{FetchError, Pace, PaceError};
use landfall_sources::Limits;

use crate::{Server, answer, fetch_at, here, source};

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
