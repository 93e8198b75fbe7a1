use std::time::{Duration, SystemTime};

use landfall_aws::{AwsError, Fifo, OutgoingMessage, SqsQueue, VisibilityChange};
use landfall_domain::JobId;
use landfall_runtime::{Message, Retryable};
use serde::{Deserialize, Serialize};

use crate::SocketError;

/// The longest that a message waits that has failed, in seconds. Later ones of its job wait behind it.
const LONGEST_WAIT: i32 = 30;

/// That a job is to be pushed: a message of the push queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushMessage {
    pub(crate) job: JobId,
    /// To this connection alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

impl PushMessage {
    /// Its id for dedupe: one message a second to all, and one to each connection.
    fn once(&self, second: u64) -> String {
        match &self.to {
            Some(connection) => format!("{connection}/{second}"),
            None => second.to_string(),
        }
    }
}

/// The push queue: first in, first out for each job, and one message a job and second.
#[derive(Clone, Debug)]
pub(crate) struct PushQueue {
    queue: SqsQueue,
}

impl PushQueue {
    pub(crate) fn new(queue: SqsQueue) -> Self {
        Self { queue }
    }

    /// Has pushes made when this second is over.
    pub(crate) async fn send(&self, messages: &[PushMessage]) -> Result<(), SocketError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let messages: Vec<OutgoingMessage> = messages
            .iter()
            .map(|message| {
                let fifo = Fifo {
                    group: message.job.to_string(),
                    deduplication_id: message.once(now.as_secs()),
                };
                Ok(OutgoingMessage {
                    body: serde_json::to_string(message).map_err(SocketError::Answer)?,
                    fifo: Some(fifo),
                })
            })
            .collect::<Result<_, SocketError>>()?;
        let sent = self.queue.send_messages(&messages).await;
        sent.map_err(|error| failed("SendMessageBatch", &error))
    }

    /// Has messages that failed come again soon, rather than when their visibility timeout is over.
    pub(crate) async fn put_back(&self, messages: &[Message]) -> Result<(), SocketError> {
        let changes: Vec<VisibilityChange> = messages
            .iter()
            .map(|message| VisibilityChange {
                receipt: message.receipt.clone(),
                seconds: wait(message.receive_count.unwrap_or(1)),
            })
            .collect();
        let changed = self.queue.change_visibility(&changes).await;
        changed.map_err(|error| failed("ChangeMessageVisibilityBatch", &error))
    }
}

/// Seconds after which a message comes again that was received so often: 2, and twice as many each time.
fn wait(receive_count: u32) -> i32 {
    2i32.saturating_pow(receive_count).clamp(2, LONGEST_WAIT)
}

fn failed(operation: &'static str, error: &AwsError) -> SocketError {
    SocketError::Aws {
        operation,
        reason: error.to_string(),
        retryable: error.retryable(),
    }
}

impl Retryable for SocketError {
    fn retryable(&self) -> bool {
        SocketError::retryable(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_pushed_to_all_and_to_each_connection_once_a_second() {
        let push = |to: Option<&str>| PushMessage {
            job: JobId::of("inbox", "products/a.csv", "1"),
            to: to.map(str::to_owned),
        };
        assert_eq!(push(None).once(7), push(None).once(7));
        assert_ne!(push(None).once(7), push(None).once(8));
        assert_eq!(push(Some("a")).once(7), push(Some("a")).once(7));
        assert_ne!(push(Some("a")).once(7), push(Some("b")).once(7));
        // Whoever left before the push and came back is told all the same.
        assert_ne!(push(Some("a")).once(7), push(Some("a")).once(8));
    }

    #[test]
    fn a_message_that_failed_waits_longer_each_time_but_never_long() {
        let waits = [0, 1, 2, 3, 4, 5, 31, 32, u32::MAX].map(wait);
        assert_eq!(waits, [2, 2, 4, 8, 16, 30, 30, 30, 30]);
    }
}
