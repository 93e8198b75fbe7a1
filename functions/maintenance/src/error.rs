use landfall_aws::{AwsError, DefinitionError, MessageError};
use landfall_domain::StoreKind;
use landfall_ledger::LedgerError;
use landfall_runtime::Retryable;
use landfall_stores::StoreError;

/// Why a message could not be processed.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The event is neither a batch of messages nor that of a schedule.
    #[error("the event cannot be read: {0}")]
    Event(serde_json::Error),
    /// The body is not a message of the maintenance queue.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The definition could not be read.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message for the rest could not be sent.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The end could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another invocation works on the dataset, or the server still works on what one began.
    #[error("{0} is busy with the dataset: the message returns later")]
    Busy(StoreKind),
}

impl Retryable for MaintenanceError {
    /// SQS redelivers the message in either case.
    fn retryable(&self) -> bool {
        match self {
            Self::Event(_) | Self::Message(_) => false,
            Self::Definition(error) => error.retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Busy(_) => true,
        }
    }
}
