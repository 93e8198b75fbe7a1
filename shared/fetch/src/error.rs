use std::time::Duration;

use http::StatusCode;
use landfall_sources::{NoToken, Refused, RevealError};

use crate::PaceError;

/// Why one request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// It may not be sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The server could not be reached, so that it has not seen the request.
    #[error("{0}")]
    Unreached(String),
    /// The server did not answer, or not to the end.
    #[error("{0}")]
    Failed(String),
}

/// Why a request has no usable answer, after all retries.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It may not be sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A secret is missing or unusable.
    #[error(transparent)]
    Reveal(#[from] RevealError),
    /// The server refuses the request.
    #[error("the server answered with status {status}: {start}")]
    Answer {
        /// The status.
        status: StatusCode,
        /// The start of the answer, without secrets.
        start: String,
    },
    /// The answer to a request for a token has none.
    #[error(transparent)]
    Token(#[from] NoToken),
    /// The last retry failed.
    #[error("{attempts} attempts failed, the last one because {reason}")]
    Failed {
        /// The number of attempts.
        attempts: u32,
        /// Why the last one failed, without secrets.
        reason: String,
    },
    /// The next request may be sent only after this time, which exceeds that of the session: the server asks for that,
    /// or the limits of the host.
    #[error("the next request may be sent in {} seconds", .0.as_secs())]
    Wait(Duration),
    /// The time of the run is over.
    #[error("the time of the run is over")]
    Time,
    /// The answer is too long to be read as a whole.
    #[error(
        "the answer has more than {0} bytes; raise limits.response_bytes, or request smaller pages"
    )]
    TooLong(u64),
    /// A redirect has no valid target.
    #[error("the server redirects to {0:?}, which is no valid URL")]
    Redirect(String),
    /// The requests cannot be paced, or there are none left today.
    #[error(transparent)]
    Pace(PaceError),
}

impl From<PaceError> for FetchError {
    fn from(error: PaceError) -> Self {
        match error {
            PaceError::Wait(wait) => Self::Wait(wait),
            other => Self::Pace(other),
        }
    }
}

impl From<TransportError> for FetchError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Refused(refused) => Self::Refused(refused),
            TransportError::Unreached(reason) | TransportError::Failed(reason) => Self::Failed {
                attempts: 1,
                reason,
            },
        }
    }
}

impl FetchError {
    /// Returns whether another run may succeed without a change of the definition, of a secret or of the server.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Wait(_) | Self::Time => true,
            Self::Pace(error) => matches!(
                error,
                PaceError::Unavailable {
                    retryable: true,
                    ..
                }
            ),
            Self::Refused(_)
            | Self::Reveal(_)
            | Self::Answer { .. }
            | Self::Token(_)
            | Self::TooLong(_)
            | Self::Redirect(_) => false,
        }
    }
}
