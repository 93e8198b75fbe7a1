use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{FixedReject, Format, RejectsOrigin};
use landfall_ledger::JobHead;
use uuid::Uuid;

use super::accepted::Accepted;
use super::jobs::head_of;
use super::post_rows::{BOM, format_of, media_type_of};
use crate::auth::Caller;
use crate::extract::{Body, Segments};
use crate::responses::{BodyErrors, CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// Send fixed rejects
///
/// The body has lines of `GET /jobs/{job}/rejects`, each with its `record` fixed and everything else unchanged. It
/// becomes an object in the inbox, with a job whose `rejects_of` is the first job. Its rows have the versions of the
/// original records, so they never overwrite newer rows. They never delete rows that a snapshot lacks. A record that
/// has become a row stays as it is if its line is sent again.
#[utoipa::path(
    post,
    path = "/jobs/{job}/rejects",
    operation_id = "send_fixed_rejects",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    request_body(description = "Lines of rejects, at most 4 MiB", content((String = "application/x-ndjson"))),
    responses(
        (status = 202, description = "The rejects are an object in the inbox",
            body = Accepted, headers(("location" = String, description = "The job of the fixed rejects"))),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors
    )
)]
pub(crate) async fn post(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let (dataset, origin) = origin_of(&head_of(&context, &caller, &id).await?)?;
    caller.require(Scope::Write, &dataset)?;
    context.dataset(&dataset).await?;
    if format_of(&headers)? != Format::Ndjson || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::MediaType(
            "send Content-Type: application/x-ndjson, uncompressed".to_owned(),
        ));
    }
    check(&body, &origin)?;
    let key = RejectsOrigin::new_key(&dataset, origin.job, Uuid::new_v4());
    let stored = context
        .inbox
        .put(&key, media_type_of(Format::Ndjson), body)
        .await?;
    Ok(Accepted::response(&context, "../../", key, stored))
}

/// Returns a key for an upload of fixed rejects of a job, which must be of the dataset.
pub(super) async fn new_key(
    context: &Context,
    caller: &Caller,
    dataset: &str,
    job: &str,
) -> Result<String, ApiError> {
    let (name, origin) = origin_of(&head_of(context, caller, job).await?)?;
    if name != dataset {
        return Err(ApiError::Invalid(format!(
            "rejects_of is a job of dataset {name}, not of {dataset}"
        )));
    }
    Ok(RejectsOrigin::new_key(dataset, origin.job, Uuid::new_v4()))
}

/// Returns the dataset of a job, and the origin of its rejects, which may be an earlier job.
fn origin_of(head: &JobHead) -> Result<(String, RejectsOrigin), ApiError> {
    let dataset = head.dataset.clone().ok_or_else(|| {
        ApiError::Conflict("the dataset of the job was not defined: upload the file again".into())
    })?;
    let origin = head.rejects_of.clone();
    let origin = origin.unwrap_or_else(|| head.as_origin());
    Ok((dataset.name, origin))
}

/// Refuses a body with a line that is not a reject of the job, before any of them is ingested.
fn check(body: &[u8], origin: &RejectsOrigin) -> Result<(), ApiError> {
    let body = std::str::from_utf8(body.strip_prefix(BOM).unwrap_or(body))
        .map_err(|_| ApiError::Invalid("the body is not UTF-8".to_owned()))?;
    let mut is_empty = true;
    for (line, number) in body.split('\n').map(str::trim).zip(1_u32..) {
        if line.is_empty() {
            continue;
        }
        is_empty = false;
        FixedReject::parse(line, origin)
            .map_err(|error| ApiError::Invalid(format!("line {number}: {error}")))?;
    }
    if is_empty {
        return Err(ApiError::Invalid(
            "the body is empty: send lines of rejects".to_owned(),
        ));
    }
    Ok(())
}
