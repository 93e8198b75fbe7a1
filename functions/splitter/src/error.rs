use landfall_aws::{AwsError, NotificationError};
use landfall_ledger::LedgerError;
use landfall_runtime::Retryable;

/// Why a notification or a message could not be processed. Problems of the object itself are reported by its job
/// instead.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The event or the message has another form, or the state of a scanner has none.
    #[error("not an event of S3, nor of the split queue: {0}")]
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
    /// The segments of an object ended without its end, which is a defect.
    #[error("the segments of the object ended early")]
    NoEnd,
    /// Sending chunk messages failed; that error is returned instead.
    #[error("chunk messages can no longer be sent")]
    QueueClosed,
}

impl Retryable for SplitError {
    /// Returns whether another attempt may succeed. Lambda and the queue retry in either case.
    fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::QueueClosed | Self::NoEnd => true,
            Self::Event(_) | Self::Notification(_) | Self::DefinitionGone(_) => false,
        }
    }
}
