use landfall_aws::{AwsError, NotificationError};
use landfall_ledger::LedgerError;

/// Why a notification could not be processed. Problems of the object itself are reported by its job instead.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The event is not an S3 event.
    #[error("not an S3 event: {0}")]
    Event(#[from] serde_json::Error),
    /// The notification is invalid.
    #[error(transparent)]
    Notification(#[from] NotificationError),
    /// S3 or SQS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The definition that the job was planned with was deleted.
    #[error("the definition of dataset {0} that the job was planned with no longer exists")]
    DefinitionGone(String),
    /// Sending chunk messages failed; that error is returned instead.
    #[error("chunk messages can no longer be sent")]
    QueueClosed,
}

impl SplitError {
    /// Returns whether another attempt may succeed. Lambda retries in either case.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::QueueClosed => true,
            Self::Event(_) | Self::Notification(_) | Self::DefinitionGone(_) => false,
        }
    }
}
