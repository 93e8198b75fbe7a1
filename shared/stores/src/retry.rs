//! Retries where other writers were in the way, and the bound on all of it.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use landfall_domain::StoreKind;

use crate::StoreError;

/// Makes attempts until one does not end as [`StoreError::Contended`], or there were eleven.
pub(crate) async fn retried<T, F>(attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
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

/// Gives up after `timeout`.
pub(crate) async fn bounded<T>(
    store: StoreKind,
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                store,
                reason: format!("no end after {} s", timeout.as_secs()),
            })
        })
}
