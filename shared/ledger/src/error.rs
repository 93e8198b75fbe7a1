use landfall_domain::JobId;

use crate::PruneError;

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The table did not answer, or not in time. Try again.
    #[error("ledger table: {operation} of {key}: {reason}")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// The item.
        key: String,
        /// What the client says.
        reason: String,
    },
    /// The table refused the operation: a permission, a table that is not there.
    #[error("ledger table refused {operation} of {key}: {reason}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The item.
        key: String,
        /// What the client says.
        reason: String,
    },
    /// There is no such job, or no such shard of it.
    #[error("the ledger has no {0}")]
    Missing(String),
    /// An item is not of the shape that this version writes.
    #[error("ledger item {key} is not readable: {reason}")]
    Corrupt {
        /// The item.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A job was planned twice with different results: its object or definition is not what was pinned.
    #[error("job {job} was sealed with {sealed} chunks and is now planned with {planned}")]
    PlanChanged {
        /// The job.
        job: JobId,
        /// The number it is sealed with.
        sealed: u32,
        /// The number of the second plan.
        planned: u32,
    },
    /// The completion event could not be published. Try again.
    #[error("completion event of job {job} could not be published: {reason}")]
    Publish {
        /// The job.
        job: JobId,
        /// What the publisher says.
        reason: String,
    },
    /// What a snapshot does not have could not be deleted.
    #[error("job {job}, what its snapshot does not have: {error}")]
    Prune {
        /// The job.
        job: JobId,
        /// What the store says.
        error: PruneError,
    },
}

impl LedgerError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Publish { .. } => true,
            Self::Prune { error, .. } => error.retryable,
            Self::Refused { .. }
            | Self::Missing(_)
            | Self::Corrupt { .. }
            | Self::PlanChanged { .. } => false,
        }
    }
}
