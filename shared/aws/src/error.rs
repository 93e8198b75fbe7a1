use std::fmt::Display;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// Codes of requests that fail however often they are sent: a permission, a name or the request is wrong.
const REFUSED: [&str; 10] = [
    "AWS.SimpleQueueService.NonExistentQueue",
    "AccessDenied",
    "AccessDeniedException",
    "ForbiddenException",
    "InvalidParameterException",
    "NoSuchBucket",
    "PayloadTooLargeException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "ValidationException",
];

/// Codes of requests that a service rejects because it receives too many.
const THROTTLED: [&str; 8] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Why a call of an AWS service failed.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// The service did not respond in time, or failed. Retry.
    #[error("{operation} of {subject}: {reason}")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// The object, item or queue that it was called with.
        subject: String,
        /// The client's error message.
        reason: String,
    },
    /// The service receives too many requests. Retry later.
    #[error("{operation} of {subject} was throttled: {reason}")]
    Throttled {
        /// The operation.
        operation: &'static str,
        /// The object, item or queue that it was called with.
        subject: String,
        /// The client's error message.
        reason: String,
    },
    /// The service refused the request: a permission, a name or the request itself is wrong.
    #[error("{operation} of {subject} was refused: {reason}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The object, item or queue that it was called with.
        subject: String,
        /// The client's error message.
        reason: String,
    },
    /// This version of the object has been deleted or overwritten.
    #[error("{0} no longer exists")]
    Gone(String),
    /// The response is not what the operation returns.
    #[error("{operation} of {subject} returned an unexpected response: {reason}")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// The object, item or queue that it was called with.
        subject: String,
        /// What is wrong with the response.
        reason: String,
    },
}

impl AwsError {
    /// Classifies a failed call by its error code.
    pub fn from_sdk<E>(operation: &'static str, subject: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let reason = DisplayErrorContext(error);
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return Self::refused(operation, subject, reason);
        }
        Self::from_code(operation, subject, error.code(), reason)
    }

    /// Classifies a failure by its error code. Failures with an unknown code, or none, may be retried.
    pub fn from_code(
        operation: &'static str,
        subject: &str,
        code: Option<&str>,
        reason: impl Display,
    ) -> Self {
        match code {
            Some(code) if REFUSED.contains(&code) => Self::refused(operation, subject, reason),
            Some(code) if THROTTLED.contains(&code) => Self::Throttled {
                operation,
                subject: subject.to_owned(),
                reason: reason.to_string(),
            },
            _ => Self::unavailable(operation, subject, reason),
        }
    }

    /// Returns whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Throttled { .. } | Self::Answer { .. } => true,
            Self::Refused { .. } | Self::Gone(_) => false,
        }
    }

    /// Returns the error of a request that is wrong.
    pub fn refused(operation: &'static str, subject: &str, reason: impl Display) -> Self {
        Self::Refused {
            operation,
            subject: subject.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Returns the error of a service that does not respond.
    pub fn unavailable(operation: &'static str, subject: &str, reason: impl Display) -> Self {
        Self::Unavailable {
            operation,
            subject: subject.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Returns the error of an unexpected response.
    pub fn answer(operation: &'static str, subject: &str, reason: impl Display) -> Self {
        Self::Answer {
            operation,
            subject: subject.to_owned(),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_is_retried() {
        let error = |code| AwsError::from_code("SendMessage", "queue", code, "why");
        assert!(matches!(
            error(Some("AccessDeniedException")),
            AwsError::Refused { .. }
        ));
        assert!(!error(Some("ValidationException")).retryable());
        assert!(matches!(
            error(Some("SlowDown")),
            AwsError::Throttled { .. }
        ));
        assert!(error(Some("ThrottlingException")).retryable());
        assert!(matches!(
            error(Some("InternalError")),
            AwsError::Unavailable { .. }
        ));
        assert!(error(None).retryable());
    }
}
