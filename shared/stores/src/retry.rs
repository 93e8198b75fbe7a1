//! Retries after contention, and the time limit for all attempts.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use landfall_domain::StoreKind;

use crate::error::{Result, StoreError};

/// Repeats an attempt that ends as [`StoreError::Contended`], up to ten times.
pub(crate) async fn with_retries<T, F>(attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(10)
        .with_jitter();
    attempt
        .retry(backoff)
        .when(|error| matches!(error, StoreError::Contended { .. }))
        .notify(|error, delay| tracing::debug!(%error, ?delay, "trying again"))
        .await
}

/// Fails as [`StoreError::Unavailable`] after `timeout`.
pub(crate) async fn with_timeout<T>(
    store: StoreKind,
    timeout: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| {
            let reason = format!("no result after {} ms", timeout.as_millis());
            Err(StoreError::unavailable(store, reason))
        })
}
