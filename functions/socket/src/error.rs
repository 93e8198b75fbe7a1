use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use landfall_auth::AuthError;
use landfall_ledger::LedgerError;

/// Why a connection could not be served, or subscribers could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// An event of none of the sources that there are.
    #[error("an event of neither the WebSocket API, the ledger's stream nor the push queue")]
    Source,
    /// An event that is not of its source's form.
    #[error("not an event of its source: {0}")]
    Event(serde_json::Error),
    /// An event without what it must have.
    #[error("an event without {0}")]
    Without(&'static str),
    /// An answer or message could not be written as JSON.
    #[error("an answer could not be written as JSON: {0}")]
    Answer(serde_json::Error),
    /// The tokens.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The table of connections, the push queue or the WebSocket API.
    #[error("{operation}: {reason}")]
    Aws {
        /// The operation.
        operation: &'static str,
        /// What the client says.
        reason: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// An item of the table of connections is not as it was written.
    #[error("an item of the table of connections: {0}")]
    Item(serde_dynamo::Error),
    /// Subscribers could not be told that a job is completed.
    #[error("{0} subscribers could not be told of the completion")]
    Untold(usize),
    /// The time of the invocation ran out.
    #[error("no time is left; the message will come again")]
    Time,
}

impl SocketError {
    /// A failed call.
    pub(crate) fn of<E>(operation: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        const REFUSALS: [&str; 7] = [
            "AccessDeniedException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "ForbiddenException",
            "PayloadTooLargeException",
            "QueueDoesNotExist",
            "ResourceNotFoundException",
            "ValidationException",
        ];
        Self::Aws {
            operation,
            reason: DisplayErrorContext(error).to_string(),
            retryable: !error.code().is_some_and(|code| REFUSALS.contains(&code)),
        }
    }

    /// Whether another try may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Auth(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Aws { retryable, .. } => *retryable,
            Self::Untold(_) | Self::Time => true,
            Self::Source | Self::Event(_) | Self::Without(_) | Self::Answer(_) | Self::Item(_) => {
                false
            }
        }
    }
}
