use landfall_aws::AwsError;
use landfall_domain::InvalidDefinition;
use landfall_ledger::LedgerError;
use landfall_requests::{Refused, RevealError};
use landfall_runtime::Retryable;
use landfall_stores::StoreError;

/// Why changes or notifications are not sent.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// S3 failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A secret is missing or unusable.
    #[error(transparent)]
    Reveal(#[from] RevealError),
    /// The service may not be called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The event is neither that of the schedule nor a batch of messages, or a message is not a completion event.
    #[error("the event cannot be read: {0}")]
    Event(#[from] serde_json::Error),
    /// The webhooks of a file cannot be notified.
    #[error(transparent)]
    Webhooks(#[from] InvalidDefinition),
}

impl Retryable for RelayError {
    /// SQS redelivers the message in either case.
    fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Aws(error) => error.retryable(),
            // Somebody may correct the definition, or the secret.
            Self::Reveal(_) | Self::Refused(_) | Self::Webhooks(_) => true,
            Self::Event(_) => false,
        }
    }
}
