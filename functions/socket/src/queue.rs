use std::time::{Duration, SystemTime};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::SocketError;

const OPERATION: &str = "SendMessageBatch";
const MAX_BATCH: usize = 10;

/// That a job is to be pushed: a message of the push queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushMessage {
    pub(crate) job: JobId,
    /// To this connection alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
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
            let once = message.to.clone().unwrap_or_else(|| second.to_string());
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(serde_json::to_string(message).map_err(SocketError::Answer)?)
                .message_group_id(message.job.to_string())
                .message_deduplication_id(once)
                .build()
                .map_err(|error| wrong(&error, false))?;
            request = request.entries(entry);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| SocketError::of(OPERATION, &error))?;
        for failed in answer.failed() {
            warn!(code = failed.code(), "a push was not queued");
        }
        // Whoever asked asks again for all; what was taken is not taken twice.
        match answer.failed().first() {
            Some(failed) => Err(wrong(&failed.code(), !failed.sender_fault())),
            None => Ok(()),
        }
    }
}

fn wrong(reason: &dyn std::fmt::Display, retryable: bool) -> SocketError {
    SocketError::Aws {
        operation: OPERATION,
        reason: reason.to_string(),
        retryable,
    }
}
