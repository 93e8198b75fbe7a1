use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_auth::Scope;
use landfall_closing::{ConfirmError, confirm_prune};
use landfall_domain::{JobId, PruneState};
use serde::Serialize;
use utoipa::ToSchema;

use super::jobs::head_for;
use crate::auth::Caller;
use crate::extract::Segments;
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// A confirmed prune.
#[derive(Serialize, ToSchema)]
struct ConfirmedPrune {
    job: JobId,
    /// How far the prune is.
    prune: Option<PruneState>,
    /// The path of the job, relative to the address of the API.
    status_url: String,
}

/// Confirm the prune of a snapshot
///
/// A snapshot that would delete more rows than its dataset allows closes with the problem `prune_held` and deletes
/// none. This deletes the rows of older files that the snapshot lacks, in every store. It takes a moment: the job's
/// `prune` is `done` afterwards, and the completion event is published again, with another id. May be repeated.
///
/// The response is 409 if no prune of the job was held back, if a newer snapshot has been pruned since, or if the
/// dataset is not loaded from snapshots any more.
#[utoipa::path(
    post,
    path = "/jobs/{job}/prune",
    operation_id = "confirm_prune",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    responses(
        (status = 202, description = "The prune is confirmed",
            body = ConfirmedPrune, headers(("location" = String, description = "The job"))),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn confirm(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, ApiError> {
    let head = head_for(&context, &caller, &id, Scope::Write).await?;
    let confirmed = confirm_prune(&context.ledger, &context.datasets, &*context.queue, head);
    let head = confirmed.await?;
    let body = ConfirmedPrune {
        job: head.job,
        prune: head.prune_state(),
        status_url: format!("/jobs/{}", head.job),
    };
    // Relative to the route, which holds whatever prefix a gateway has added to the path.
    let location = [(header::LOCATION, format!("../{}", head.job))];
    Ok((StatusCode::ACCEPTED, location, Json(body)).into_response())
}

impl From<ConfirmError> for ApiError {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Refused(refusal) => Self::Conflict(refusal.to_string()),
            ConfirmError::Ledger(error) => error.into(),
            ConfirmError::Aws(error) => error.into(),
        }
    }
}
