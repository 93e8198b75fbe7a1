use landfall_aws::AwsError;
use landfall_fetch::FetchError;
use landfall_ledger::LedgerError;
use landfall_sources::WalkError;

use crate::ParentsError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum PullerError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// S3 failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The rows whose children are fetched cannot be read.
    #[error("the rows of {dataset} cannot be read: {error}")]
    Parents {
        /// Their dataset.
        dataset: String,
        /// Why.
        #[source]
        error: ParentsError,
    },
    /// Another invocation has taken over.
    #[error("the lease of the source is lost")]
    Lost,
}

/// Why a walk failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkFailure {
    /// A request has no usable answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answers make no walk.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The time of the run is over.
    #[error("the run takes more than {0} seconds; raise limits.seconds")]
    Time(u64),
    /// The answer takes longer than an invocation.
    #[error("the answer did not arrive within the time of the function")]
    Unfinished,
    /// S3 refuses a part, for example because the upload was aborted. Another walk has another upload.
    #[error("the records cannot be stored: {0}")]
    Upload(AwsError),
    /// Records that were kept aside, or the object, are gone.
    #[error("what was stored of the walk is gone")]
    Gone,
    /// The dataset whose rows have children cannot be used.
    #[error("{0}")]
    Parents(String),
    /// A checkpoint is of another definition.
    #[error("the definition has changed since the walk was started")]
    Changed,
    /// The step failed.
    #[error(transparent)]
    Step(#[from] PullerError),
}

impl WalkFailure {
    /// Returns whether another walk in this run may succeed.
    pub(crate) fn retryable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.retryable(),
            // A server that turns in a circle or answers with a sign-in page may be back in order a minute later.
            Self::Walk(error) => !matches!(error, WalkError::Limit { .. }),
            // Another invocation may have more time left.
            Self::Parents(_)
            | Self::Upload(_)
            | Self::Gone
            | Self::Changed
            | Self::Unfinished
            | Self::Step(_) => true,
            Self::Time(_) => false,
        }
    }
}

impl From<AwsError> for WalkFailure {
    fn from(error: AwsError) -> Self {
        Self::Step(error.into())
    }
}
