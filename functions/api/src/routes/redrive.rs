use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use landfall_auth::Scope;
use landfall_closing::{RedriveError, redrive_job, redrive_with_latest};
use landfall_ledger::JobView;
use serde::Deserialize;
use utoipa::ToSchema;

use super::jobs::head_for;
use crate::auth::Caller;
use crate::extract::{Body, Segments};
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// How to redrive a job.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveRequest {
    /// The definition to use; by default the one that the job was planned with.
    #[serde(default)]
    definition: Definition,
}

/// A definition of a dataset.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Definition {
    /// The one that the job was planned with.
    #[default]
    Planned,
    /// The latest one.
    Latest,
}

/// Redrive a job
///
/// Processes the dead chunks of a closed job again, and no others, with the definition that the job was planned with.
/// The rows keep the place of their file in the order of files, so they never overwrite newer ones. The job is open
/// meanwhile. When it closes, its event has another id and the next `attempt`. May be repeated.
///
/// With `{"definition": "latest"}`, another job processes the dead chunks with the latest definition, and the response
/// shows that job. It has a `redrive_of`; the first job stays as it is, and lists it in `redrives`.
///
/// The response is 409 if the latest definition would divide the file into other records, or if the job is open, has no
/// dead chunks, is older than 14 days, or was cancelled before its file was read to the end.
#[utoipa::path(
    post,
    path = "/jobs/{job}/redrive",
    operation_id = "redrive_job",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    request_body(content = Option<RedriveRequest>, description = "May be empty"),
    responses(
        (status = 202, description = "The job is open again", body = JobView),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn redrive(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let head = head_for(&context, &caller, &id, Scope::Write).await?;
    let request: Option<RedriveRequest> = match &*body {
        [] => None,
        body => serde_json::from_slice(body)
            .map_err(|error| ApiError::Invalid(format!("body: {error}")))?,
    };
    let (ledger, queue, by) = (&context.ledger, &*context.queue, &caller.0.name);
    let head = match request.unwrap_or_default().definition {
        Definition::Planned => redrive_job(ledger, queue, head, by).await?,
        Definition::Latest => {
            redrive_with_latest(ledger, &context.datasets, queue, head, by).await?
        }
    };
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
