use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// What can go wrong between a function and an AWS service.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// The service did not answer, not in time, or asked to slow down. Try again.
    #[error("{operation} of {subject}: {reason}")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// What it was done with: a key, a queue.
        subject: String,
        /// What the client says.
        reason: String,
    },
    /// The service refused: a permission, a name, a request that it does not take.
    #[error("{operation} of {subject} was refused: {reason}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// What it was done with.
        subject: String,
        /// What the client says.
        reason: String,
    },
    /// That version of the object is no longer there.
    #[error("{0} is no longer there")]
    Gone(String),
    /// The answer is not what was asked for.
    #[error("{operation} of {subject} answered something else: {reason}")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// What it was done with.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl AwsError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Answer { .. })
    }

    pub(crate) fn unavailable(
        operation: &'static str,
        subject: &str,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::Unavailable {
            operation,
            subject: subject.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn answer(
        operation: &'static str,
        subject: &str,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::Answer {
            operation,
            subject: subject.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What a failed call means: refused where the service says that the request is at fault.
    pub(crate) fn of<E>(operation: &'static str, subject: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        const REFUSALS: [&str; 8] = [
            "AccessDenied",
            "AccessDeniedException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "InvalidParameterException",
            "NoSuchBucket",
            "QueueDoesNotExist",
            "ResourceNotFoundException",
            "ValidationException",
        ];
        let reason = DisplayErrorContext(error).to_string();
        let refused = matches!(error, SdkError::ConstructionFailure(_))
            || error.code().is_some_and(|code| REFUSALS.contains(&code));
        if refused {
            Self::Refused {
                operation,
                subject: subject.to_owned(),
                reason,
            }
        } else {
            Self::unavailable(operation, subject, reason)
        }
    }
}
