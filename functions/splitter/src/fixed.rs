//! Objects with fixed rejects.

use landfall_domain::{ObjectRef, Problem, ProblemCode, RejectsOrigin};
use landfall_ledger::JobHead;

use crate::{Context, SplitError};

/// Returns the head of the job whose fixed rejects the object holds.
pub(crate) async fn first_job(
    context: &Context,
    object: &ObjectRef,
) -> Result<Option<JobHead>, SplitError> {
    let Some(job) = RejectsOrigin::job_of(&object.key) else {
        return Ok(None);
    };
    let head = context.ledger.head(job).await?;
    // Fixed rejects that were rejected again are still those of the first job.
    Ok(head.filter(|head| {
        head.rejects_of.is_none()
            && head.object.bucket == object.bucket
            && head.object.dataset_name() == object.dataset_name()
    }))
}

/// Returns the problem of an object whose key is reserved, but names no job with rejects.
pub(crate) fn unknown_job(object: &ObjectRef) -> Problem {
    let message = match RejectsOrigin::job_of(&object.key) {
        Some(job) => format!(
            "the dataset has no job {job} whose rejects could be fixed: jobs are kept for 90 days, and rejects that \
             were rejected again belong to the first job"
        ),
        None => "keys like <dataset>/_rejects/... are reserved for fixed rejects: send those to \
                 POST /jobs/<job>/rejects, and upload other files with another key"
            .to_owned(),
    };
    Problem::new(ProblemCode::UnknownJob, message)
}
