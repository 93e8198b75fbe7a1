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

    /// Holds back all requests to a host for this time, because its server asks for that.
    async fn pause(&self, host: &str, pause: Duration) -> Result<(), PaceError>;
}

/// Why no request may be sent.
#[derive(Debug, thiserror::Error)]
pub enum PaceError {
    /// Nothing says when.
    #[error("the pace of requests is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// Whether another run may succeed.
        retryable: bool,
    },
    /// The next request may be sent only after this time, which is long.
    #[error("the next request may be sent in {} seconds", .0.as_secs())]
    Wait(Duration),
    /// All requests of the day are sent.
    #[error("today (UTC), {most} requests were sent to {host}, which is limits.requests_per_day")]
    Day {
        /// The host.
        host: String,
        /// The limit.
        most: u64,
    },
}

/// The pace of one process, for tools. It counts no requests per day.
#[derive(Debug, Default)]
pub struct LocalPace {
    next: Mutex<Option<Instant>>,
}

impl LocalPace {
    /// Takes the next slot, and returns its time. The one after it follows after `length`.
    fn take(&self, length: Duration) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let slot = next.map_or(now, |next| next.max(now));
        *next = Some(slot + length);
        slot
    }
}

#[async_trait]
impl Pace for LocalPace {
    async fn wait(&self, _: &str, limits: &Limits) -> Result<(), PaceError> {
        sleep_until(self.take(Duration::from_secs_f64(1.0 / limits.requests_per_second))).await;
        Ok(())
    }

    async fn pause(&self, _: &str, pause: Duration) -> Result<(), PaceError> {
        self.take(pause);
        Ok(())
    }
}
