use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// The time, for code that waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the present.
    fn now(&self) -> Timestamp;

    /// Waits for this time.
    async fn sleep(&self, time: Duration);
}

/// The time of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
