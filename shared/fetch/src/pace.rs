use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_sources::Limits;
use tokio::time::{Instant, sleep_until};

/// Says when requests may be sent.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Waits until another request may be sent to a host.
    async fn wait(&self, host: &str, limits: &Limits) -> Result<(), PaceError>;
}

/// Why no request may be sent.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct PaceError {
    /// Why.
    pub reason: String,
    /// Whether another run may succeed.
    pub retryable: bool,
}

/// The pace of one process, for tools.
#[derive(Debug, Default)]
pub struct LocalPace {
    next: Mutex<Option<Instant>>,
}

#[async_trait]
impl Pace for LocalPace {
    async fn wait(&self, _: &str, limits: &Limits) -> Result<(), PaceError> {
        let slot = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let slot = next.map_or(now, |next| next.max(now));
            *next = Some(slot + Duration::from_secs_f64(1.0 / limits.requests_per_second));
            slot
        };
        sleep_until(slot).await;
        Ok(())
    }
}
