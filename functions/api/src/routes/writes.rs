use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use landfall_auth::Scope;
use landfall_domain::{InvalidWriteId, WriteId};

use crate::auth::Caller;
use crate::extract::Segments;
use crate::responses::{CommonErrors, Forbidden, WriteMissing};
use crate::writes::WriteView;
use crate::{ApiError, Context};

/// Get a write of a row
///
/// Says whether the stores have it, for seven days. The response is 404 also if the token does not cover the dataset.
/// The state may change from `failed` to `stored`, if a worker was slower than another one that gave up.
#[utoipa::path(
    get,
    path = "/writes/{write}",
    operation_id = "get_write",
    tag = "rows",
    params(("write" = String, Path, description = "Id of the write")),
    responses(
        (status = 200, description = "The write", body = WriteView),
        CommonErrors, Forbidden, WriteMissing
    )
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<WriteView>, ApiError> {
    caller.require_scope(Scope::Read)?;
    let id: WriteId = id
        .parse()
        .map_err(|error: InvalidWriteId| ApiError::Invalid(error.to_string()))?;
    let write = context.writes.find_write(id).await?;
    let write = write.filter(|write| caller.0.allows(Scope::Read, Some(&write.dataset.name)));
    let write = write.ok_or_else(|| {
        ApiError::NotFound("there is no write with this id; writes are kept for 7 days".to_owned())
    })?;
    WriteView::read(&context, write).await.map(Json)
}
