use landfall_aws::AwsError;
use landfall_domain::{Problem, ProblemCode};

use crate::SplitError;

/// Why planning stops before the end of the object.
pub(crate) enum Stop {
    /// The object has a problem. The chunks before it remain.
    Problem(Problem),
    /// No time is left.
    OutOfTime,
    /// Something else failed. The next attempt continues from the last checkpoint.
    Error(SplitError),
}

impl<E: Into<SplitError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Turns a missing object into a problem of the job.
pub(crate) fn or_gone<T>(result: Result<T, AwsError>) -> Result<T, Stop> {
    result.map_err(|error| match error {
        AwsError::Gone(_) => Problem::new(
            ProblemCode::ObjectGone,
            "the object was deleted or overwritten before it was read completely",
        )
        .into(),
        AwsError::Expired(_) => Problem::new(ProblemCode::ObjectGone, error.to_string()).into(),
        error => error.into(),
    })
}
