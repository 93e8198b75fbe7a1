use landfall_aws::AwsError;
use landfall_domain::{ChunkKind, DatasetError, Problem};
use landfall_ledger::LedgerError;
use landfall_stores::StoreError;

/// Why a chunk could not be taken now.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The message is not a chunk's.
    #[error("not a chunk message: {0}")]
    Message(serde_json::Error),
    /// S3.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The definition that the job was planned with can no longer be read.
    #[error("the definition of dataset {0} that the job was started with is no longer there")]
    DefinitionGone(String),
    /// The definition that the job was planned with has an error.
    #[error("the definition that the job was started with has an error: {0}")]
    Definition(DatasetError),
    /// The header is not what the splitter saw.
    #[error("the header does not fit the dataset: {}", .0.message)]
    Header(Problem),
    /// Splitter and worker see different records. Nothing of the chunk was applied.
    #[error("{found} records where the splitter counted {planned} (of kind {kind:?})")]
    RecordCount {
        /// As the message says.
        planned: u64,
        /// As decoded.
        found: u64,
        /// What the chunk holds.
        kind: ChunkKind,
    },
    /// The rejects could not be written down.
    #[error("a reject could not be written as JSON: {0}")]
    Reject(serde_json::Error),
    /// A defect; the log has the panic.
    #[error("panicked")]
    Panic,
    /// The time of the invocation ran out.
    #[error("no time is left; the message will come again")]
    Time,
}

impl WorkError {
    /// Whether another try may succeed. SQS brings the message again either way, until the dead-letter
    /// queue takes it; the log says whether to hope.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Time => true,
            Self::Message(_)
            | Self::DefinitionGone(_)
            | Self::Definition(_)
            | Self::Header(_)
            | Self::RecordCount { .. }
            | Self::Reject(_)
            | Self::Panic => false,
        }
    }
}
