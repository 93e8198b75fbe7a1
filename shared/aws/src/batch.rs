//! Batches whose entries succeed or fail one by one, although the call itself succeeds.

use std::time::Duration;

use backon::{ExponentialBuilder, RetryableWithContext};
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

struct Failure {
    error: AwsError,
    /// False if the call itself failed: the SDK has retried it already.
    may_resend: bool,
}

/// Sends a batch, and then its rejected entries until the service has accepted all of them.
///
/// `send` sends entries and returns the rejected ones. Fails at once if an entry cannot succeed later.
pub(crate) async fn send_batch<T, F>(
    entries: Vec<T>,
    send: impl Fn(Vec<T>) -> F,
) -> Result<(), AwsError>
where
    T: Clone,
    F: Future<Output = Result<Vec<RejectedEntry>, AwsError>>,
{
    let send = &send;
    let attempt = |entries: Vec<T>| async move {
        match send(entries.clone()).await {
            Ok(rejected) => {
                let remaining = rejected
                    .iter()
                    .filter_map(|entry| entries.get(entry.index).cloned())
                    .collect();
                (remaining, first_failure(rejected))
            }
            Err(error) => {
                let may_resend = false;
                (entries, Err(Failure { error, may_resend }))
            }
        }
    };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_times(RETRIES);
    let (_, result) = attempt
        .retry(backoff)
        .context(entries)
        .when(|failure: &Failure| failure.may_resend && failure.error.retryable())
        .notify(|failure: &Failure, delay: Duration| {
            warn!(error = %failure.error, ?delay, "rejected entries of a batch are sent again");
        })
        .await;
    result.map_err(|failure| failure.error)
}

/// Prefers an error that cannot be retried.
fn first_failure(rejected: Vec<RejectedEntry>) -> Result<(), Failure> {
    let mut errors: Vec<AwsError> = rejected.into_iter().map(|entry| entry.error).collect();
    let index = errors
        .iter()
        .position(|error| !error.retryable())
        .unwrap_or(0);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure {
        error: errors.swap_remove(index),
        may_resend: true,
    })
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

    #[tokio::test]
    async fn an_entry_that_is_refused_fails_the_batch_at_once() {
        let calls = Mutex::new(0);
        let result = send_batch(vec![1, 2], |_| {
            *calls.lock().unwrap() += 1;
            ready(Ok(vec![
                rejected(0, "InternalError"),
                rejected(1, "AccessDenied"),
            ]))
        });
        assert!(matches!(result.await, Err(AwsError::Refused { .. })));
        assert_eq!(*calls.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_failed_call_and_entries_that_stay_rejected_are_errors() {
        let calls = Mutex::new(0);
        let failing = send_batch(vec![1], |_| {
            *calls.lock().unwrap() += 1;
            ready(Err(AwsError::unavailable(
                "SendMessageBatch",
                "queue",
                "down",
            )))
        });
        assert!(failing.await.is_err());
        assert_eq!(*calls.lock().unwrap(), 1);
        let rejecting = send_batch(vec![1], |_| {
            *calls.lock().unwrap() += 1;
            ready(Ok(vec![rejected(0, "InternalError")]))
        });
        assert!(rejecting.await.unwrap_err().retryable());
        assert_eq!(*calls.lock().unwrap(), 2 + RETRIES);
    }
}
