use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::{Fifo, OutgoingMessage, SqsQueue};
use landfall_domain::JobId;
use landfall_runtime::Visibility;
use serde::{Deserialize, Serialize};

use crate::SocketError;

/// The longest delay of a message that failed, in seconds. Later messages of its job wait behind it.
pub(crate) const LONGEST_DELAY: u32 = 30;

/// A message of the push queue: push the state of a job to its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushMessage {
    /// The job.
    pub job: JobId,
    /// The only connection to push to, instead of all subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl PushMessage {
    /// Returns its deduplication id, which is unique within its job. The queue accepts one message a second to
    /// all subscribers, and one to each connection.
    pub fn deduplication_id(&self, second: i64) -> String {
        match &self.to {
            Some(connection) => format!("{connection}/{second}"),
            None => second.to_string(),
        }
    }
}

/// The push queue: first in, first out for each job, and one message per job and second.
#[async_trait]
pub trait PushQueue: Visibility {
    /// Enqueues messages for delivery when the present second is over.
    async fn send(&self, messages: &[PushMessage]) -> Result<(), SocketError>;
}

#[async_trait]
impl PushQueue for SqsQueue {
    async fn send(&self, messages: &[PushMessage]) -> Result<(), SocketError> {
        let second = Timestamp::now().as_second();
        let messages: Vec<OutgoingMessage> = messages
            .iter()
            .map(|message| {
                let fifo = Fifo {
                    group: message.job.to_string(),
                    deduplication_id: message.deduplication_id(second),
                };
                Ok(OutgoingMessage {
                    body: serde_json::to_string(message).map_err(SocketError::Encode)?,
                    fifo: Some(fifo),
                })
            })
            .collect::<Result<_, SocketError>>()?;
        Ok(self.send_messages(&messages).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_accepts_one_message_a_second_to_all_and_one_to_each_connection() {
        let id = |to: Option<&str>, second| {
            let job = JobId::for_object("inbox", "products/a.csv", "1");
            let to = to.map(str::to_owned);
            PushMessage { job, to }.deduplication_id(second)
        };
        assert_eq!(id(None, 7), id(None, 7));
        assert_ne!(id(None, 7), id(None, 8));
        assert_eq!(id(Some("a"), 7), id(Some("a"), 7));
        assert_ne!(id(Some("a"), 7), id(Some("b"), 7));
        // A connection that unsubscribed before the push and subscribed again needs another one.
        assert_ne!(id(Some("a"), 7), id(Some("a"), 8));
    }
}
