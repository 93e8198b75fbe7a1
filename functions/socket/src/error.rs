use landfall_auth::AuthError;
use landfall_aws::AwsError;
use landfall_aws::dynamo::ItemError;
use landfall_ledger::LedgerError;
use landfall_runtime::Retryable;

/// Why an event could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The event is of an unknown source.
    #[error("the event is not from the WebSocket API, the ledger's stream or the push queue")]
    UnknownSource,
    /// The event cannot be parsed as one of its source.
    #[error("the event cannot be parsed as a {origin} event: {error}")]
    Event {
        /// The service that sent it.
        origin: &'static str,
        /// What is wrong.
        #[source]
        error: serde_json::Error,
    },
    /// The event lacks something it must have.
    #[error("the event has no {0}")]
    Missing(&'static str),
    /// A response or message could not be encoded as JSON.
    #[error("a response or message could not be encoded as JSON: {0}")]
    Encode(#[source] serde_json::Error),
    /// The token could not be checked.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A call to the table of connections, the push queue or the WebSocket API failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// An item of the table of connections does not have the expected form.
    #[error("invalid item in the connections table: {0}")]
    Item(#[from] ItemError),
    /// Some subscribers did not receive the completion of a job.
    #[error("the completion could not be pushed to {0} subscribers")]
    Undelivered(usize),
}

impl Retryable for SocketError {
    fn retryable(&self) -> bool {
        match self {
            Self::Auth(error) => error.retryable(),
            Self::Ledger(error) => error.retryable(),
            Self::Aws(error) => error.retryable(),
            Self::Undelivered(_) => true,
            Self::UnknownSource
            | Self::Event { .. }
            | Self::Missing(_)
            | Self::Encode(_)
            | Self::Item(_) => false,
        }
    }
}
