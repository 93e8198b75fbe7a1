use std::collections::HashSet;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityBatchResultEntry, QueueAttributeName, SendMessageBatchRequestEntry,
    SendMessageBatchResultEntry,
};
use landfall_domain::JobId;
use serde::Serialize;

use crate::batch::{RejectedEntry, send_batch};
use crate::{AwsError, Failure, MaintenanceMessage, RelayMessage, SplitMessage, Work, WorkMessage};

const ATTRIBUTES: &str = "GetQueueAttributes";
const SEND: &str = "SendMessageBatch";
const SEND_LATER: &str = "SendMessage";
const CHANGE_VISIBILITY: &str = "ChangeMessageVisibilityBatch";
/// The maximum number of messages in a batch.
pub const MAX_BATCH: usize = 10;

/// Sends messages to the chunk queue.
#[async_trait]
pub trait ChunkQueue: Send + Sync {
    /// Sends up to [`MAX_BATCH`] messages, each at least once.
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError>;

    /// Sends work that is delivered after so many seconds, at most 900.
    async fn send_later(&self, work: &Work, seconds: u32) -> Result<(), AwsError>;
}

/// Sends messages to the split queue.
#[async_trait]
pub trait SplitQueue: Send + Sync {
    /// Has the splitter continue a job, at least once.
    async fn resume(&self, job: JobId) -> Result<(), AwsError>;
}

/// Sends messages to the maintenance queue.
#[async_trait]
pub trait MaintenanceQueue: Send + Sync {
    /// Sends a message, at least once.
    async fn request(&self, message: &MaintenanceMessage) -> Result<(), AwsError>;
}

/// Sends messages to the relay queue.
#[async_trait]
pub trait Bell: Send + Sync {
    /// Rings the relay after so many seconds, at most 900.
    async fn ring(&self, message: &RelayMessage, seconds: u32) -> Result<(), AwsError>;
}

/// A queue in SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its body.
    pub body: String,
    /// Required by FIFO queues, and refused by others.
    pub fifo: Option<Fifo>,
}

/// What a FIFO queue needs for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// Messages of a group are delivered in order, one batch at a time.
    pub group: String,
    /// Of messages with the same id, the queue accepts one in five minutes.
    pub deduplication_id: String,
}

impl SqsQueue {
    /// Returns the queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Sends any number of messages, each at least once.
    pub async fn send_messages(&self, messages: &[OutgoingMessage]) -> Result<(), AwsError> {
        for batch in messages.chunks(MAX_BATCH) {
            send_batch(batch.to_vec(), |batch| self.send_once(batch)).await?;
        }
        Ok(())
    }

    /// Returns how many messages wait, are delayed, or are being processed. May be a minute behind.
    pub async fn message_count(&self) -> Result<u64, AwsError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let names = [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        ];
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(ATTRIBUTES, &self.url, &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let counts = names.iter().map(|name| {
            let count = attributes
                .get(name)
                .and_then(|count| count.parse::<u64>().ok());
            count.ok_or_else(|| {
                let reason = format!("no {name}");
                AwsError::unexpected_response(ATTRIBUTES, &self.url, reason)
            })
        });
        counts.sum()
    }

    /// Makes received messages, given by their receipt handles, visible again after so many seconds.
    pub async fn change_visibility(&self, changes: &[(String, i32)]) -> Result<(), AwsError> {
        for batch in changes.chunks(MAX_BATCH) {
            send_batch(batch.to_vec(), |batch| self.change_once(batch)).await?;
        }
        Ok(())
    }

    async fn send_all<T: Serialize>(&self, messages: &[T]) -> Result<(), AwsError> {
        let messages: Vec<OutgoingMessage> = messages
            .iter()
            .map(|message| {
                let body =
                    serde_json::to_string(message).map_err(|error| self.refused(SEND, error))?;
                Ok(OutgoingMessage { body, fifo: None })
            })
            .collect::<Result<_, AwsError>>()?;
        self.send_messages(&messages).await
    }

    async fn send_delayed<T: Serialize>(&self, message: &T, seconds: u32) -> Result<(), AwsError> {
        let body = serde_json::to_string(message);
        let body = body.map_err(|error| self.refused(SEND_LATER, error))?;
        let seconds = i32::try_from(seconds);
        let seconds = seconds.map_err(|error| self.refused(SEND_LATER, error))?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .delay_seconds(seconds)
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk(SEND_LATER, &self.url, &error))
    }

    async fn send_once(
        &self,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<RejectedEntry>, AwsError> {
        let sent = messages.len();
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (index, message) in messages.into_iter().enumerate() {
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(message.body);
            if let Some(fifo) = message.fifo {
                entry = entry
                    .message_group_id(fifo.group)
                    .message_deduplication_id(fifo.deduplication_id);
            }
            request = request.entries(entry.build().map_err(|error| self.refused(SEND, error))?);
        }
        let response = request
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(SEND, &self.url, &error))?;
        let accepted = response
            .successful()
            .iter()
            .map(SendMessageBatchResultEntry::id);
        Ok(self.rejected(SEND, sent, accepted, response.failed()))
    }

    async fn change_once(
        &self,
        changes: Vec<(String, i32)>,
    ) -> Result<Vec<RejectedEntry>, AwsError> {
        let sent = changes.len();
        let mut request = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.url);
        for (index, (receipt, seconds)) in changes.into_iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds)
                .build()
                .map_err(|error| self.refused(CHANGE_VISIBILITY, error))?;
            request = request.entries(entry);
        }
        let response = request
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(CHANGE_VISIBILITY, &self.url, &error))?;
        let accepted = response
            .successful()
            .iter()
            .map(ChangeMessageVisibilityBatchResultEntry::id);
        Ok(self.rejected(CHANGE_VISIBILITY, sent, accepted, response.failed()))
    }

    /// Returns the entries that are not among the accepted ones: a response may omit some altogether.
    fn rejected<'a>(
        &self,
        operation: &'static str,
        sent: usize,
        accepted: impl Iterator<Item = &'a str>,
        failed: &[BatchResultErrorEntry],
    ) -> Vec<RejectedEntry> {
        let accepted: HashSet<&str> = accepted.collect();
        let rejected = (0..sent).filter(|index| !accepted.contains(index.to_string().as_str()));
        rejected
            .map(|index| {
                let id = index.to_string();
                let error = match failed.iter().find(|failed| failed.id() == id) {
                    Some(failed) => self.classify(operation, failed),
                    None => AwsError::unexpected_response(
                        operation,
                        &self.url,
                        "an entry has no result",
                    ),
                };
                RejectedEntry { index, error }
            })
            .collect()
    }

    fn classify(&self, operation: &'static str, failed: &BatchResultErrorEntry) -> AwsError {
        let code = failed.code();
        match AwsError::from_code(operation, &self.url, Some(code), code) {
            AwsError::Call {
                failure: Failure::Unavailable,
                ..
            } if failed.sender_fault() => AwsError::refused(operation, &self.url, code),
            error => error,
        }
    }

    fn refused(&self, operation: &'static str, reason: impl std::fmt::Display) -> AwsError {
        AwsError::refused(operation, &self.url, reason)
    }
}

#[async_trait]
impl ChunkQueue for SqsQueue {
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError> {
        self.send_all(messages).await
    }

    async fn send_later(&self, work: &Work, seconds: u32) -> Result<(), AwsError> {
        self.send_delayed(work, seconds).await
    }
}

#[async_trait]
impl SplitQueue for SqsQueue {
    async fn resume(&self, job: JobId) -> Result<(), AwsError> {
        self.send_all(&[SplitMessage::Resume { job }]).await
    }
}

#[async_trait]
impl Bell for SqsQueue {
    async fn ring(&self, message: &RelayMessage, seconds: u32) -> Result<(), AwsError> {
        self.send_delayed(message, seconds).await
    }
}

#[async_trait]
impl MaintenanceQueue for SqsQueue {
    async fn request(&self, message: &MaintenanceMessage) -> Result<(), AwsError> {
        let body = serde_json::to_string(message).map_err(|error| self.refused(SEND, error))?;
        let message = OutgoingMessage { body, fifo: None };
        self.send_messages(&[message]).await
    }
}
