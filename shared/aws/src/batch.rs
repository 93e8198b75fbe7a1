//! Batches whose entries succeed or fail one by one, although the call itself succeeds.

use std::time::Duration;

use backon::{BackoffBuilder, DefaultSleeper, ExponentialBuilder, Sleeper};
use tracing::warn;

use crate::AwsError;

/// How often rejected entries are sent again.
const RETRIES: usize = 5;
const FIRST_DELAY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// An entry that the service did not accept.
pub(crate) struct RejectedEntry {
    /// Its position in the batch.
    pub(crate) index: usize,
    pub(crate) error: AwsError,
}

/// Sends a batch, and then its rejected entries until the service has accepted all of them.
///
/// `send` sends entries and returns the rejected ones. Fails at once if an entry cannot succeed later, or if a call
/// itself fails: the SDK has retried it already.
pub(crate) async fn send_batch<T, F>(
    mut entries: Vec<T>,
    send: impl Fn(Vec<T>) -> F,
) -> Result<(), AwsError>
where
    T: Clone,
    F: Future<Output = Result<Vec<RejectedEntry>, AwsError>>,
{
    let backoff = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_times(RETRIES);
    let mut delays = backoff.build();
    loop {
        let mut rejected = send(entries.clone()).await?;
        // Errors that cannot be retried come first.
        rejected.sort_by_key(|entry| entry.error.retryable());
        let Some(RejectedEntry { error, .. }) = rejected.first() else {
            return Ok(());
        };
        let delay = delays.next().filter(|_| error.retryable());
        let Some(delay) = delay else {
            return Err(rejected.swap_remove(0).error);
        };
        warn!(%error, ?delay, "rejected entries of a batch are sent again");
        DefaultSleeper::default().sleep(delay).await;
        entries = rejected
            .iter()
            .filter_map(|entry| entries.get(entry.index).cloned())
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;

    use super::*;

    fn rejected(index: usize, code: &str) -> RejectedEntry {
        let error = AwsError::from_code("SendMessageBatch", "queue", Some(code), code);
        RejectedEntry { index, error }
    }

    #[tokio::test]
    async fn only_rejected_entries_are_sent_again() {
        let sent = Mutex::new(Vec::new());
        let result = send_batch(vec!["a", "b", "c"], |entries| {
            let mut sent = sent.lock().unwrap();
            sent.push(entries);
            ready(Ok(match sent.len() {
                1 => vec![rejected(0, "InternalError"), rejected(2, "SlowDown")],
                2 => vec![rejected(1, "InternalError")],
                _ => Vec::new(),
            }))
        });
        result.await.unwrap();
        let sent = sent.into_inner().unwrap();
        assert_eq!(sent, [vec!["a", "b", "c"], vec!["a", "c"], vec!["c"]]);
    }

    /// Sends two entries with this answer to each call. Returns the error and the number of calls.
    async fn fail(answer: impl Fn() -> Result<Vec<RejectedEntry>, AwsError>) -> (AwsError, usize) {
        let calls = Mutex::new(0);
        let result = send_batch(vec![1, 2], |_| {
            *calls.lock().unwrap() += 1;
            ready(answer())
        });
        let error = result.await.unwrap_err();
        (error, calls.into_inner().unwrap())
    }

    #[tokio::test]
    async fn an_entry_that_is_refused_fails_the_batch_at_once() {
        let refused = || vec![rejected(0, "InternalError"), rejected(1, "AccessDenied")];
        let (error, calls) = fail(|| Ok(refused())).await;
        assert!(!error.retryable());
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn a_failed_call_and_entries_that_stay_rejected_are_errors() {
        let down = || AwsError::unavailable("SendMessageBatch", "queue", "down");
        let (_, calls) = fail(|| Err(down())).await;
        assert_eq!(calls, 1);
        let (error, calls) = fail(|| Ok(vec![rejected(0, "InternalError")])).await;
        assert!(error.retryable());
        assert_eq!(calls, 1 + RETRIES);
    }
}
