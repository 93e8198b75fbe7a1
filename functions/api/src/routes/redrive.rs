use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use landfall_auth::Scope;
use landfall_closing::{RedriveError, redrive_job};
use landfall_ledger::JobView;

use super::jobs::head_for;
use crate::auth::Caller;
use crate::extract::Segments;
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// Redrive a job
///
/// Processes the dead chunks of a closed job again, and no others, with the definition that the job was planned with. The
/// rows keep the place of their file in the order of files, so they never overwrite newer ones. The job is open
/// meanwhile. When it closes, its event has another id and the next `attempt`. May be repeated.
///
/// The response is 409 if the job is open, has no dead chunks, is older than 14 days, or was cancelled before its file
/// was read to the end.
#[utoipa::path(
    post,
    path = "/jobs/{job}/redrive",
    operation_id = "redrive_job",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    responses(
        (status = 202, description = "The job is open again", body = JobView),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn redrive(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let head = head_for(&context, &caller, &id, Scope::Write).await?;
    let head = redrive_job(&context.ledger, &*context.queue, head, &caller.0.name).await?;
    let view = JobView::read(&*context.jobs, &head).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

impl From<RedriveError> for ApiError {
    fn from(error: RedriveError) -> Self {
        match error {
            RedriveError::Refused(refusal) => Self::Conflict(refusal.to_string()),
            RedriveError::Ledger(error) => error.into(),
            RedriveError::Aws(error) => error.into(),
        }
    }
}
