use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use landfall_domain::WorkMessage;
use tracing::warn;

use crate::AwsError;

const OPERATION: &str = "SendMessageBatch";
/// The most messages of a batch.
pub const MAX_BATCH: usize = 10;
/// Times that failed entries of a batch are sent.
const TRIES: u32 = 6;

/// Where chunk messages go.
#[async_trait]
pub trait ChunkQueue: Send + Sync {
    /// Sends up to [`MAX_BATCH`] messages, each at least once.
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError>;
}

/// The chunk queue in SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }
}

#[async_trait]
impl ChunkQueue for SqsQueue {
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError> {
        let wrong = |reason: &dyn std::fmt::Display| AwsError::Refused {
            operation: OPERATION,
            subject: self.url.clone(),
            reason: reason.to_string(),
        };
        let mut entries = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(serde_json::to_string(message).map_err(|error| wrong(&error))?)
                .build()
                .map_err(|error| wrong(&error))?;
            entries.push(entry);
        }
        for attempt in 0..TRIES {
            if entries.is_empty() {
                return Ok(());
            }
            let answer = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.clone()))
                .send()
                .await
                .map_err(|error| AwsError::of(OPERATION, &self.url, &error))?;
            // Only what the queue says it has taken is sent; failures come with HTTP 200.
            entries.retain(|entry| {
                !answer
                    .successful()
                    .iter()
                    .any(|sent| sent.id() == entry.id())
            });
            for failed in answer.failed() {
                warn!(
                    code = failed.code(),
                    ours = failed.sender_fault(),
                    "a chunk message was not taken"
                );
                if failed.sender_fault() {
                    return Err(wrong(&failed.code()));
                }
            }
            if !entries.is_empty() {
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "{} of {} messages were not taken",
            entries.len(),
            messages.len()
        );
        Err(AwsError::unavailable(OPERATION, &self.url, reason))
    }
}
