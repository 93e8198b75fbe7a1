use landfall_aws::{AwsError, DefinitionError, MessageError};
use landfall_closing::CloseError;
use landfall_domain::{ChunkKind, DeadCode, Problem, StoreKind};
use landfall_ledger::LedgerError;
use landfall_runtime::Retryable;
use landfall_stores::StoreError;

use crate::RefusedRows;

/// Why a message could not be processed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The body is not a message of the chunk queue.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// S3 failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store refused rows.
    #[error(transparent)]
    Refused(RefusedRows),
    /// The job could not be closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// The definition that the job was planned with is not available.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The header is not the one that the splitter read.
    #[error("the header does not match the dataset: {}", .0.message)]
    Header(Problem),
    /// Splitter and worker disagree on the records of a chunk. Nothing of it was applied.
    #[error(
        "the worker decoded {found} records in this chunk, but the splitter counted {planned} (kind {kind:?})"
    )]
    RecordCount {
        /// The number in the message.
        planned: u64,
        /// The number of decoded records.
        found: u64,
        /// What the chunk holds.
        kind: ChunkKind,
    },
    /// The object of a dataset with deletes is older than these are remembered.
    #[error(
        "the rows are of a file that is more than 28 days old, so that rows deleted since could return: upload those \
         that still apply in a new file"
    )]
    TooOld,
    /// The job was cancelled.
    #[error("the job was cancelled before this chunk was processed")]
    Cancelled,
    /// The work has to wait. Its message is sent again with a delay, and this delivery does not count as a try.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// The message belongs to an earlier attempt of its job, which has closed.
    #[error("the job has been redriven since this message was sent")]
    Superseded,
    /// No time is left for another step.
    #[error("the time of the worker was over")]
    OutOfTime,
    /// The worker panicked, and panicked again when it repeated the chunk.
    #[error("the worker panicked twice, which is a defect of it; its log has the place")]
    Panicked,
    /// The row of a write does not fit the definition with which it was accepted.
    #[error("{0}")]
    Rejected(String),
    /// A reject could not be written as JSON.
    #[error("cannot write a reject as JSON: {0}")]
    Reject(serde_json::Error),
}

/// Work that has to wait, whatever becomes of an attempt.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Wait {
    /// Seconds until it is delivered again, at most 900.
    pub seconds: u32,
    /// Why, for people.
    pub reason: String,
    /// The store that is down, if it waits for one.
    pub store: Option<StoreKind>,
}

impl WorkError {
    /// Returns the store that is down, and what is known about that.
    pub(crate) fn store_down(&self) -> Option<(StoreKind, &str)> {
        match self {
            Self::Store(StoreError::Down { store, reason })
            | Self::Close(CloseError::Prune {
                source: StoreError::Down { store, reason },
                ..
            }) => Some((*store, reason)),
            _ => None,
        }
    }

    /// Returns why a chunk with this error is dead at once; `None` if the error may be temporary.
    ///
    /// A refused call of AWS may be temporary: permissions take effect with a delay, and somebody may correct them.
    pub(crate) fn dead_code(&self) -> Option<DeadCode> {
        match self {
            Self::Aws(AwsError::Gone(_) | AwsError::Expired(_)) => Some(DeadCode::ObjectGone),
            Self::Store(error) | Self::Refused(RefusedRows { source: error, .. })
                if error.needs_other_definition() =>
            {
                Some(DeadCode::SchemaMismatch)
            }
            Self::Store(StoreError::Refused { .. }) | Self::Refused(_) => {
                Some(DeadCode::StoreRefused)
            }
            Self::Definition(DefinitionError::Gone(_) | DefinitionError::Invalid(_)) => {
                Some(DeadCode::DefinitionGone)
            }
            Self::Header(_) => Some(DeadCode::HeaderMismatch),
            Self::RecordCount { .. } => Some(DeadCode::RecordCount),
            Self::TooOld => Some(DeadCode::TooOld),
            Self::Cancelled => Some(DeadCode::Cancelled),
            Self::Panicked => Some(DeadCode::Panicked),
            Self::Rejected(_) => Some(DeadCode::RowRejected),
            Self::Reject(_) => Some(DeadCode::RejectInvalid),
            Self::Message(_)
            | Self::Aws(_)
            | Self::Ledger(_)
            | Self::Store(_)
            | Self::Close(_)
            | Self::Definition(DefinitionError::Aws(_))
            | Self::Wait(_)
            | Self::Superseded
            | Self::OutOfTime => None,
        }
    }
}

impl Retryable for WorkError {
    /// SQS redelivers the message in either case. Errors that kill their chunk do not get here.
    fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Close(error) => error.retryable(),
            Self::Definition(error) => error.retryable(),
            Self::Wait(_) | Self::OutOfTime => true,
            Self::Message(_)
            | Self::Refused(_)
            | Self::Header(_)
            | Self::RecordCount { .. }
            | Self::TooOld
            | Self::Cancelled
            | Self::Superseded
            | Self::Panicked
            | Self::Rejected(_)
            | Self::Reject(_) => false,
        }
    }
}
