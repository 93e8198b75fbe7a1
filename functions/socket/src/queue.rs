use std::time::{Duration, SystemTime};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, SendMessageBatchRequestEntry};
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::SocketError;

const SEND: &str = "SendMessageBatch";
const PUT_BACK: &str = "ChangeMessageVisibilityBatch";
const MAX_BATCH: usize = 10;
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

/// A message as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) receipt: String,
    /// How often it has been received, this time included.
    pub(crate) times: u32,
}

impl Received {
    /// Seconds after which it comes again if it fails now: 2, and twice as many each time.
    fn wait(&self) -> i32 {
        2i32.saturating_pow(self.times).clamp(2, LONGEST_WAIT)
    }
}

/// The push queue: first in, first out for each job, and one message a job and second.
#[derive(Clone, Debug)]
pub(crate) struct PushQueue {
    client: Client,
    url: String,
}

impl PushQueue {
    pub(crate) fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Has pushes made when this second is over.
    pub(crate) async fn send(&self, messages: &[PushMessage]) -> Result<(), SocketError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        for batch in messages.chunks(MAX_BATCH) {
            self.send_batch(batch, now.as_secs()).await?;
        }
        Ok(())
    }

    async fn send_batch(&self, messages: &[PushMessage], second: u64) -> Result<(), SocketError> {
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (index, message) in messages.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(serde_json::to_string(message).map_err(SocketError::Answer)?)
                .message_group_id(message.job.to_string())
                .message_deduplication_id(message.once(second))
                .build()
                .map_err(|error| wrong(SEND, &error, false))?;
            request = request.entries(entry);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| SocketError::of(SEND, &error))?;
        for failed in answer.failed() {
            warn!(code = failed.code(), "a push was not queued");
        }
        // Whoever asked asks again for all; what was taken is not taken twice.
        match answer.failed().first() {
            Some(failed) => Err(wrong(SEND, &failed.code(), !failed.sender_fault())),
            None => Ok(()),
        }
    }

    /// Has messages that failed come again soon, rather than when their visibility timeout is over.
    pub(crate) async fn put_back(&self, failed: &[Received]) -> Result<(), SocketError> {
        for batch in failed.chunks(MAX_BATCH) {
            let mut request = self
                .client
                .change_message_visibility_batch()
                .queue_url(&self.url);
            for (index, message) in batch.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&message.receipt)
                    .visibility_timeout(message.wait())
                    .build()
                    .map_err(|error| wrong(PUT_BACK, &error, false))?;
                request = request.entries(entry);
            }
            let answer = request
                .send()
                .await
                .map_err(|error| SocketError::of(PUT_BACK, &error))?;
            if let Some(failed) = answer.failed().first() {
                return Err(wrong(PUT_BACK, &failed.code(), !failed.sender_fault()));
            }
        }
        Ok(())
    }
}

fn wrong(operation: &'static str, reason: &dyn std::fmt::Display, retryable: bool) -> SocketError {
    SocketError::Aws {
        operation,
        reason: reason.to_string(),
        retryable,
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
        let waits = [0, 1, 2, 3, 4, 5, 31, 32, u32::MAX].map(|times| {
            let (id, receipt) = (String::new(), String::new());
            Received { id, receipt, times }.wait()
        });
        assert_eq!(waits, [2, 2, 4, 8, 16, 30, 30, 30, 30]);
    }
}
