use landfall_aws::{AwsError, DefinitionError};
use landfall_domain::JobId;
use landfall_ledger::LedgerError;
use landfall_stores::StoreError;

/// Why a complete job could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The definition of a snapshot could not be read.
    #[error("cannot delete the rows that the snapshot of job {job} lacks: {source}")]
    Definition {
        /// The job.
        job: JobId,
        /// Why.
        source: DefinitionError,
    },
    /// A store could not delete the rows that a snapshot lacks.
    #[error("cannot delete the rows that the snapshot of job {job} lacks: {source}")]
    Prune {
        /// The job.
        job: JobId,
        /// The error of the store.
        source: StoreError,
    },
    /// The close message that continues a prune could not be sent.
    #[error("cannot continue the prune of job {job}: {source}")]
    Continue {
        /// The job.
        job: JobId,
        /// The error of the queue.
        source: AwsError,
    },
    /// The completion event could not be published.
    #[error("cannot publish the completion event of job {job}: {source}")]
    Publish {
        /// The job.
        job: JobId,
        /// The error of the event bus.
        source: AwsError,
    },
    /// The ledger returned a head without counts, number of chunks or time for a job that it closed.
    #[error("the head of closed job {0} is incomplete")]
    IncompleteHead(JobId),
}

impl CloseError {
    /// Returns whether another attempt may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.retryable(),
            Self::Definition { source, .. } => source.retryable(),
            Self::Prune { source, .. } => source.is_retryable(),
            Self::Continue { source, .. } => source.retryable(),
            // The job is closed: only another attempt publishes its event.
            Self::Publish { .. } => true,
            Self::IncompleteHead(_) => false,
        }
    }
}
