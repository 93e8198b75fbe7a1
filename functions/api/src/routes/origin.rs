use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use landfall_auth::Scope;
use landfall_domain::RowOrigin;

use super::key;
use super::rows::RowParams;
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::origin::explain;
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context, Problem};

/// Explain a row: the record that gave it, or deleted it
///
/// The version of a row names an object and a byte in it, and the ledger its job. The answer has both, and the record
/// as it stands in the object. A row that is merged by column is from several records. Of a key without a row, the
/// answer has the delete, for 30 days, or the newest snapshot that has deleted rows.
///
/// A row that the API wrote has `write` instead: the write, with the token and the time for seven days.
///
/// Jobs are kept for 90 days. What a row was before, which worker wrote it, and which rows a snapshot has deleted is
/// not kept. The last segment of the path before `origin` is the key, as for `GET /datasets/{dataset}/rows/{key}`.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/rows/{key}/origin",
    operation_id = "explain_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, separated by commas", example = "0001"),
        RowParams
    ),
    responses(
        (status = 200, description = "Where the row is from, or why there is none", body = RowOrigin),
        (status = 422, description = "The read takes too long", body = Problem,
            content_type = "application/problem+json"),
        CommonErrors, Forbidden, DatasetErrors
    )
)]
pub(crate) async fn origin(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, segment)): Segments<(String, String)>,
    Query(params): Query<RowParams>,
) -> Result<Json<RowOrigin>, ApiError> {
    caller.require(Scope::Read, &name)?;
    let (dataset, _) = context.dataset(&name).await?;
    let reader = context.reader(params.store)?;
    let key = key::values(&dataset, &segment)?;
    explain(&context, reader, &dataset, &key).await.map(Json)
}
