//! When received messages are delivered again: soon after a failure, and not while a handler works on them.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{self, Either};
use landfall_aws::{AwsError, SqsQueue};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::Message;

/// Seconds until the first redelivery.
const FIRST_DELAY: u32 = 2;
/// Timeout for putting failed messages back; the response waits for it.
const PUT_BACK_TIMEOUT: Duration = Duration::from_secs(2);
/// The time between two heartbeats of a message that is being processed.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Seconds for which each heartbeat hides the message. A message whose worker dies returns after that.
const HIDDEN: i32 = 60;

/// Sets when the messages of a queue become visible again.
#[async_trait]
pub trait Visibility: Send + Sync {
    /// Makes received messages, given by their receipt handles, visible again after so many seconds.
    async fn change(&self, changes: &[(String, i32)]) -> Result<(), AwsError>;
}

#[async_trait]
impl Visibility for SqsQueue {
    async fn change(&self, changes: &[(String, i32)]) -> Result<(), AwsError> {
        self.change_visibility(changes).await
    }
}

/// Makes messages that failed visible again soon, instead of after their visibility timeout: after 1 to 2 seconds, and
/// twice as long each time, up to `longest` seconds.
pub async fn put_back<Q: Visibility + ?Sized>(queue: &Q, failed: &[Message], longest: u32) {
    if failed.is_empty() {
        return;
    }
    let changes: Vec<(String, i32)> = failed
        .iter()
        .map(|message| {
            let delay = delay(message.receive_count.unwrap_or(1), longest);
            let seconds = i32::try_from(jittered(delay)).unwrap_or(i32::MAX);
            (message.receipt.clone(), seconds)
        })
        .collect();
    match timeout(PUT_BACK_TIMEOUT, queue.change(&changes)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "failed messages are redelivered late"),
        Err(_) => warn!("failed messages are redelivered late: no response in time"),
    }
}

/// Runs work on a message, and hides the message until the work ends, however long it takes.
pub async fn keep_hidden<T, Q: Visibility + ?Sized>(
    queue: &Q,
    message: &Message,
    work: impl Future<Output = T>,
) -> T {
    hide_every(HEARTBEAT, queue, message, work).await
}

async fn hide_every<T, Q: Visibility + ?Sized>(
    interval: Duration,
    queue: &Q,
    message: &Message,
    work: impl Future<Output = T>,
) -> T {
    let heartbeat = async {
        loop {
            // At once: the queue's own timeout, after which the message of a dead worker returns, is longer.
            if let Err(error) = queue.change(&[(message.receipt.clone(), HIDDEN)]).await {
                warn!(%error, "a message may be redelivered while it is processed");
            }
            sleep(interval).await;
        }
    };
    match future::select(pin!(work), pin!(heartbeat)).await {
        Either::Left((result, _)) => result,
        Either::Right((never, _)) => never,
    }
}

/// Returns the maximum number of seconds until a message is redelivered that failed after so many receives.
fn delay(receive_count: u32, longest: u32) -> u32 {
    let doublings = receive_count.saturating_sub(1);
    FIRST_DELAY
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(longest)
}

/// Returns a random number of seconds from half the delay, so that messages that failed together are spread.
pub fn jittered(delay: u32) -> u32 {
    rand::random_range(delay.div_ceil(2)..=delay)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorded(Mutex<Vec<(String, i32)>>);

    #[async_trait]
    impl Visibility for Recorded {
        async fn change(&self, changes: &[(String, i32)]) -> Result<(), AwsError> {
            self.0.lock().unwrap().extend_from_slice(changes);
            Ok(())
        }
    }

    fn message(receipt: &str, receive_count: u32) -> Message {
        Message {
            id: receipt.to_owned(),
            receipt: receipt.to_owned(),
            receive_count: Some(receive_count),
            body: String::new(),
            group: None,
        }
    }

    #[tokio::test]
    async fn a_message_that_failed_waits_longer_each_time_up_to_a_limit() {
        let queue = Recorded::default();
        let counts = [0, 1, 2, 3, 4, 5, 6, 32, u32::MAX];
        let failed = counts.map(|count| message(&count.to_string(), count));
        put_back(&queue, &failed, 60).await;
        let longest = [2, 2, 4, 8, 16, 32, 60, 60, 60];
        let changes = queue.0.into_inner().unwrap();
        assert_eq!(changes.len(), longest.len());
        for ((receipt, seconds), longest) in changes.iter().zip(longest) {
            assert!(
                (longest / 2..=longest).contains(seconds),
                "{receipt}: {seconds}"
            );
        }
    }

    #[tokio::test]
    async fn a_message_is_hidden_again_and_again_until_it_is_processed() {
        let queue = Recorded::default();
        let message = message("a", 1);
        let changes = || queue.0.lock().unwrap().len();
        // A few turns of the heartbeat, however slow the machine is.
        let work = async {
            while changes() < 3 {
                sleep(Duration::from_millis(5)).await;
            }
            changes()
        };
        let done = hide_every(Duration::from_millis(1), &queue, &message, work).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(changes(), done);
        let hidden = ("a".to_owned(), HIDDEN);
        assert_eq!(queue.0.into_inner().unwrap(), vec![hidden; done]);
    }
}
