use landfall_aws::AwsError;
use landfall_domain::JobId;

/// Why a ledger operation failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A call of DynamoDB failed.
    #[error("ledger table: {0}")]
    Aws(#[from] AwsError),
    /// A job or a shard does not exist.
    #[error("the ledger has no {0}")]
    Missing(String),
    /// An item does not have the form that this version writes.
    #[error("ledger item {key} is invalid: {reason}")]
    Corrupt {
        /// The key of the item.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A job was planned twice with different results: its object or its definition is not the pinned one.
    #[error("job {job} is sealed with {sealed} chunks, but a second plan has {planned}")]
    PlanChanged {
        /// The job.
        job: JobId,
        /// The number of chunks that it is sealed with.
        sealed: u32,
        /// The number of chunks in the second plan.
        planned: u32,
    },
}

impl LedgerError {
    /// Returns whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Missing(_) | Self::Corrupt { .. } | Self::PlanChanged { .. } => false,
        }
    }

    pub(crate) fn corrupt(key: &str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            key: key.to_owned(),
            reason: reason.to_string(),
        }
    }
}
