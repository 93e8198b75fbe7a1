use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_auth::Scope;
use landfall_domain::{Dataset, Format, QueryError, RejectCode, Value, WriteOperation, WriteState};
use landfall_ledger::Write;
use serde::Deserialize;
use utoipa::IntoParams;

use super::key;
use super::post_rows::format_of;
use crate::auth::Caller;
use crate::extract::{Body, Query, Segments};
use crate::responses::{BodyErrors, CommonErrors, DatasetErrors, Forbidden, WriteErrors};
use crate::writes::{IdempotencyKey, RowWrite, WriteView, accept, wait_for_end};
use crate::{ApiError, Context};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteParams {
    /// Whether to wait until the stores have the row, for at most 10 seconds.
    #[serde(default)]
    pub(crate) wait: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParams {
    /// Whether to wait until the row is deleted, for at most 10 seconds.
    #[serde(default)]
    wait: bool,
    /// The value of the dataset's `order`, if it has one: a row with a greater value stays.
    order: Option<String>,
}

/// Write a row
///
/// The body is the row as a JSON object. It is read as a row of a file, with the names and the notation of the
/// definition, or with those of the API if it has the column `_landfall`. It need not have the key. Columns that it
/// lacks get their default, or null.
///
/// The answer is 202, and the row is in the stores within moments: `GET /writes/{write}` says when, for seven days. Of
/// two writes of a key, the one that is sent after the other was accepted wins. Beside files, the time decides, or the
/// dataset's `order`.
///
/// A repeated request with the same `Idempotency-Key` gets the same answer for 24 hours, and writes nothing again.
#[utoipa::path(
    put,
    path = "/datasets/{dataset}/rows/{key}",
    operation_id = "put_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, separated by commas", example = "0001"),
        ("idempotency-key" = Option<String>, Header, description = "Identifies the request among those of the token"),
        WriteParams
    ),
    request_body(description = "The row", content = std::collections::BTreeMap<String, serde_json::Value>),
    responses(
        (status = 200, description = "With wait: the stores have the row", body = WriteView,
            headers(("location" = String, description = "The write"))),
        (status = 202, description = "The row will be written", body = WriteView,
            headers(("location" = String, description = "The write"))),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors, WriteErrors
    )
)]
pub(crate) async fn put(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(path): Segments<(String, String)>,
    Query(params): Query<WriteParams>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let request = Request {
        caller,
        path,
        operation: WriteOperation::Put,
        order: None,
        headers,
        waits: params.wait,
    };
    request.write(&context, Some(&body)).await
}

/// Write some columns of a row
///
/// Only for datasets with `mode = "merge"`: columns that the body lacks keep their values. The rest is as for `PUT`.
#[utoipa::path(
    patch,
    path = "/datasets/{dataset}/rows/{key}",
    operation_id = "patch_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, separated by commas", example = "0001"),
        ("idempotency-key" = Option<String>, Header, description = "Identifies the request among those of the token"),
        WriteParams
    ),
    request_body(description = "Columns of the row", content = std::collections::BTreeMap<String, serde_json::Value>),
    responses(
        (status = 200, description = "With wait: the stores have the columns", body = WriteView,
            headers(("location" = String, description = "The write"))),
        (status = 202, description = "The columns will be written", body = WriteView,
            headers(("location" = String, description = "The write"))),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors, WriteErrors
    )
)]
pub(crate) async fn patch(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(path): Segments<(String, String)>,
    Query(params): Query<WriteParams>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let request = Request {
        caller,
        path,
        operation: WriteOperation::Patch,
        order: None,
        headers,
        waits: params.wait,
    };
    request.write(&context, Some(&body)).await
}

/// Delete a row
///
/// The delete is remembered for 30 days: an older row of the key that comes later stays deleted. The rest is as for
/// `PUT`. There need not be a row.
#[utoipa::path(
    delete,
    path = "/datasets/{dataset}/rows/{key}",
    operation_id = "delete_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, separated by commas", example = "0001"),
        ("idempotency-key" = Option<String>, Header, description = "Identifies the request among those of the token"),
        DeleteParams
    ),
    responses(
        (status = 200, description = "With wait: the row is deleted", body = WriteView,
            headers(("location" = String, description = "The write"))),
        (status = 202, description = "The row will be deleted", body = WriteView,
            headers(("location" = String, description = "The write"))),
        CommonErrors, Forbidden, DatasetErrors, WriteErrors
    )
)]
pub(crate) async fn delete(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(path): Segments<(String, String)>,
    Query(params): Query<DeleteParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let request = Request {
        caller,
        path,
        operation: WriteOperation::Delete,
        order: params.order,
        headers,
        waits: params.wait,
    };
    request.write(&context, None).await
}

/// A request to write or delete a row.
struct Request {
    caller: Caller,
    /// The dataset, and the segment with the key.
    path: (String, String),
    operation: WriteOperation,
    /// The value of the dataset's `order` in a delete.
    order: Option<String>,
    headers: HeaderMap,
    waits: bool,
}

impl Request {
    async fn write(self, context: &Context, body: Option<&[u8]>) -> Result<Response, ApiError> {
        let (name, segment) = &self.path;
        self.caller.require(Scope::Write, name)?;
        let (dataset, reference) = context.dataset(name).await?;
        refuse_numbered(&dataset)?;
        let json = body.map(|body| json_of(&self.headers, body)).transpose()?;
        let idempotency_key = IdempotencyKey::of(&self.headers)?;
        let key = key::values(&dataset, segment)?;
        let order = match (dataset.order(), self.order) {
            (Some(field), Some(text)) => {
                let value = Value::from_text(field.kind, &text);
                let field = field.name.clone();
                Some(value.map_err(|error| QueryError::Value {
                    field,
                    message: error.to_string(),
                })?)
            }
            // The row is refused.
            (None, Some(text)) => Some(Value::Text(text.as_str().into())),
            (_, None) => None,
        };
        let new = RowWrite::new((dataset, reference), self.operation, key, order, json)?;
        let by = &self.caller.0.name;
        let mut write = accept(context, &new, by, idempotency_key).await?;
        if self.waits {
            write = wait_for_end(context, write).await?;
        }
        // The path has four segments.
        respond(write, self.waits, 4)
    }
}

/// Fails if rows of a dataset have tokens or numbers.
pub(super) fn refuse_numbered(dataset: &Dataset) -> Result<(), ApiError> {
    if dataset.is_numbered() {
        return Err(ApiError::Conflict(format!(
            "rows of {} have tokens or numbers: create and change them at the paths below their token, which \
             /openapi.json lists",
            dataset.name
        )));
    }
    Ok(())
}

/// Returns the response to a write that is accepted, and perhaps has ended, at a path with so many segments.
pub(crate) fn respond(write: Write, waits: bool, segments: usize) -> Result<Response, ApiError> {
    let status = match (write.state, &write.problem) {
        (WriteState::Failed, Some(problem)) if waits => {
            let message = format!("write {} has failed: {}", write.write, problem.message);
            return Err(ApiError::WriteFailed(message));
        }
        (WriteState::Stored, _) if waits => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    // Relative to the route, which holds whatever prefix a gateway has added to the path.
    let root = "../".repeat(segments.saturating_sub(1));
    let location = format!("{root}writes/{}", write.write);
    let view = Json(WriteView::from(write));
    Ok((status, [(header::LOCATION, location)], view).into_response())
}

pub(crate) fn json_of(headers: &HeaderMap, body: &[u8]) -> Result<String, ApiError> {
    if format_of(headers)? != Format::Json {
        return Err(ApiError::MediaType(
            "send the row with Content-Type: application/json".to_owned(),
        ));
    }
    let text = std::str::from_utf8(body).map_err(|_| ApiError::Rejected {
        column: None,
        code: RejectCode::Encoding,
        message: "the row is not UTF-8".to_owned(),
    })?;
    Ok(text.to_owned())
}
