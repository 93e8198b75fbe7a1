//! How jobs close: after crashes at every step, and with snapshots.

mod cancelled;
mod crashes;
mod held;
mod snapshots;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// Returns a time until which a prune ends.
fn far() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

/// Runs calls, one of which may die.
struct Caller {
    /// Pauses so far: one before each step and one after it.
    pauses: Cell<usize>,
    /// The pause in which a call dies.
    dies_in: Option<usize>,
}

impl Caller {
    fn new(dies_in: Option<usize>) -> Self {
        Self {
            pauses: Cell::default(),
            dies_in,
        }
    }

    /// Returns the result of a call, or `None` if it dies.
    async fn call<T, E: std::fmt::Debug>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        let mut call = pin!(call);
        poll_fn(|context| {
            if let Poll::Ready(result) = call.as_mut().poll(context) {
                return Poll::Ready(Some(result.unwrap()));
            }
            let pause = self.pauses.replace(self.pauses.get() + 1);
            if self.dies_in == Some(pause) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }
}
