use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use landfall_auth::Scope;
use landfall_ledger::Pause;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::Segments;
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// Whether a dataset is paused.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetPause {
    dataset: String,
    /// Who paused it, and when; null if it is not paused.
    paused: Option<Pause>,
}

/// Pause a dataset
///
/// Chunks that are being written are finished; all others wait, also those of files that arrive later. Their jobs stay
/// open, with `paused`, and a job whose chunks are all processed still closes. May be repeated.
#[utoipa::path(
    post,
    path = "/datasets/{dataset}/pause",
    operation_id = "pause_dataset",
    tag = "datasets",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products")),
    responses(
        (status = 200, description = "The dataset is paused", body = DatasetPause),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn pause(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DatasetPause>, ApiError> {
    caller.require(Scope::Admin, &name)?;
    let (dataset, _) = context.dataset(&name).await?;
    let paused = context.ledger.pause(&dataset.name, &caller.0.name).await?;
    Ok(Json(DatasetPause {
        dataset: name,
        paused: Some(paused),
    }))
}

/// Resume a dataset
///
/// Its chunks continue within five minutes, and the sooner the shorter the pause was. May be repeated.
#[utoipa::path(
    post,
    path = "/datasets/{dataset}/resume",
    operation_id = "resume_dataset",
    tag = "datasets",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products")),
    responses(
        (status = 200, description = "The dataset is not paused", body = DatasetPause),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn resume(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DatasetPause>, ApiError> {
    caller.require(Scope::Admin, &name)?;
    // The definition may be invalid, or gone.
    context.ledger.resume(&name).await?;
    Ok(Json(DatasetPause {
        dataset: name,
        paused: None,
    }))
}
