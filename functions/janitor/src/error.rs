use landfall_aws::{AwsError, MessageError, NotificationError};
use landfall_ledger::LedgerError;
use landfall_runtime::Retryable;

/// Why a part of the janitor's work failed.
#[derive(Debug, thiserror::Error)]
pub enum JanitorError {
    /// The event is neither a schedule nor a batch of a queue.
    #[error("not an event of the janitor: {0}")]
    Event(#[source] serde_json::Error),
    /// The body of a message is not one of a dead-letter queue.
    #[error("not a dead letter: {0}")]
    DeadLetter(#[source] serde_json::Error),
    /// The dead letter is neither a message of the chunk queue nor a failed notification.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// S3, SQS or Lambda failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The notification in a dead letter, or an object of the inbox, is invalid.
    #[error(transparent)]
    Notification(#[from] NotificationError),
    /// The saved position of a task is invalid.
    #[error("the cursor of {task} is invalid: {source}")]
    Cursor {
        /// The task.
        task: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl Retryable for JanitorError {
    fn retryable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.retryable(),
            Self::Aws(error) => error.retryable(),
            Self::Event(_)
            | Self::DeadLetter(_)
            | Self::Message(_)
            | Self::Notification(_)
            | Self::Cursor { .. } => false,
        }
    }
}
