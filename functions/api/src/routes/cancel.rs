use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use landfall_auth::Scope;
use landfall_closing::{CancelError, cancel_job};
use landfall_ledger::JobView;

use super::jobs::head_for;
use crate::auth::Caller;
use crate::extract::Segments;
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// Cancel a job
///
/// No further chunk of the job is processed; a chunk whose rows are being written is finished. The job then closes as
/// `cancelled`, with its event. Rows that are in the stores stay there, and a snapshot deletes none. May be repeated.
///
/// The response is 409 if the job is closed, or about to close because all its chunks are processed.
#[utoipa::path(
    delete,
    path = "/jobs/{job}",
    operation_id = "cancel_job",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    responses(
        (status = 202, description = "The job is cancelled, and open until the chunks in progress are done",
            body = JobView),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn cancel(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let head = head_for(&context, &caller, &id, Scope::Write).await?;
    let head = cancel_job(&context.ledger, &*context.queue, head, &caller.0.name).await?;
    let view = JobView::read(&*context.jobs, &head).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

impl From<CancelError> for ApiError {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Refused(refusal) => Self::Conflict(refusal.to_string()),
            CancelError::Ledger(error) => error.into(),
            CancelError::Aws(error) => error.into(),
        }
    }
}
