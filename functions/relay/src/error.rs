use landfall_aws::AwsError;
use landfall_ledger::LedgerError;
use landfall_requests::{Refused, RevealError};
use landfall_stores::StoreError;

/// Why the changes of a destination are not sent.
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
}
