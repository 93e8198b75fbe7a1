use landfall_aws::{AwsError, NotificationError};
use landfall_ledger::LedgerError;

/// Why a notification could not be worked off. The object itself is never at fault: that is told by its job.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The event is not one of S3's.
    #[error("not an S3 event: {0}")]
    Event(#[from] serde_json::Error),
    /// The notification says too little, or nothing sensible.
    #[error(transparent)]
    Notification(#[from] NotificationError),
    /// S3 or SQS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The definition that the job was planned with can no longer be read.
    #[error("the definition of dataset {0} that the job was started with is no longer there")]
    DefinitionGone(String),
    /// The sending of messages has ended before the planning; its own error says why.
    #[error("chunk messages are no longer being sent")]
    QueueClosed,
}

impl SplitError {
    /// Whether another try may succeed. Lambda tries again either way; the log says whether to hope.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::QueueClosed => true,
            Self::Event(_) | Self::Notification(_) | Self::DefinitionGone(_) => false,
        }
    }
}
