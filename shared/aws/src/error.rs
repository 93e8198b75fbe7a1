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
    /// The call failed, or its response is not what the operation returns.
    #[error("{operation} of {subject}{failure}: {reason}")]
    Call {
        /// How it failed.
        failure: Failure,
        /// The operation.
        operation: &'static str,
        /// The object, item or queue that it was called with.
        subject: String,
        /// The client's error message, or what is wrong with the response.
        reason: String,
    },
    /// This version of the object has been deleted or overwritten.
    #[error("{0} no longer exists")]
    Gone(String),
    /// The text that this packed object was unpacked to has expired.
    #[error("the unpacked text of {0} has expired: upload the file again")]
    Expired(String),
    /// The content of a secret is invalid. The error does not quote it.
    #[error("secret {id} is invalid: {reason}")]
    InvalidSecret {
        /// Name or ARN of the secret.
        id: String,
        /// What is wrong with its content.
        reason: String,
    },
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The service did not respond in time, or failed. Retry.
    #[error(" failed")]
    Unavailable,
    /// The service receives too many requests. Retry later.
    #[error(" was throttled")]
    Throttled,
    /// The service refused the request: a permission, a name or the request itself is wrong.
    #[error(" was refused")]
    Refused,
    /// The response is not what the operation returns.
    #[error(" returned an unexpected response")]
    UnexpectedResponse,
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
    pub(crate) fn from_code(
        operation: &'static str,
        subject: &str,
        code: Option<&str>,
        reason: impl Display,
    ) -> Self {
        let failure = match code {
            Some(code) if REFUSED.contains(&code) => Failure::Refused,
            Some(code) if THROTTLED.contains(&code) => Failure::Throttled,
            _ => Failure::Unavailable,
        };
        Self::call(failure, operation, subject, reason)
    }

    /// Returns whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Call { failure, .. } => *failure != Failure::Refused,
            Self::Gone(_) | Self::Expired(_) | Self::InvalidSecret { .. } => false,
        }
    }

    /// Returns the error of a request that is wrong.
    pub fn refused(operation: &'static str, subject: &str, reason: impl Display) -> Self {
        Self::call(Failure::Refused, operation, subject, reason)
    }

    /// Returns the error of a service that does not respond.
    pub fn unavailable(operation: &'static str, subject: &str, reason: impl Display) -> Self {
        Self::call(Failure::Unavailable, operation, subject, reason)
    }

    /// Returns the error of an unexpected response.
    pub fn unexpected_response(
        operation: &'static str,
        subject: &str,
        reason: impl Display,
    ) -> Self {
        Self::call(Failure::UnexpectedResponse, operation, subject, reason)
    }

    fn call(
        failure: Failure,
        operation: &'static str,
        subject: &str,
        reason: impl Display,
    ) -> Self {
        Self::Call {
            failure,
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
        for (code, expected, retryable) in [
            (Some("AccessDeniedException"), " was refused", false),
            (Some("ValidationException"), " was refused", false),
            (Some("SlowDown"), " was throttled", true),
            (Some("ThrottlingException"), " was throttled", true),
            (Some("InternalError"), " failed", true),
            (None, " failed", true),
        ] {
            let error = AwsError::from_code("SendMessage", "queue", code, "why");
            let expected = format!("SendMessage of queue{expected}: why");
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.retryable(), retryable, "{code:?}");
        }
    }
}
