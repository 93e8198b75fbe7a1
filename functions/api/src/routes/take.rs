use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_auth::Scope;
use landfall_aws::Stored;
use landfall_domain::{Dataset, Format, JobId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Caller;
use crate::extract::{Body, Segments, media_type};
use crate::openapi::{OfDataset, Refused, WithBody};
use crate::{ApiError, Context};

/// A file that was taken, and its job.
#[derive(Serialize, ToSchema)]
pub(crate) struct Taken {
    /// The job that takes it in. It begins within seconds.
    job: JobId,
    object: TakenObject,
    /// The path under the address of the API where the job is told of.
    status_url: String,
}

/// A version of an object in the inbox.
#[derive(Serialize, ToSchema)]
struct TakenObject {
    bucket: String,
    key: String,
    version: String,
    /// Bytes.
    size: u64,
}

/// Hand in rows
///
/// The body becomes an object of the inbox, which is then taken in like every file.
#[utoipa::path(
    post,
    path = "/datasets/{dataset}/rows",
    operation_id = "send_rows",
    tag = "rows",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products")),
    request_body(description = "A JSON array of rows, or rows as NDJSON, CSV or TSV; at most 4 MiB", content(
        (Vec<std::collections::BTreeMap<String, serde_json::Value>> = "application/json"),
        (String = "application/x-ndjson"), (String = "text/csv"), (String = "text/tab-separated-values")
    )),
    responses(
        (status = 202, description = "The rows are an object of the inbox", body = Taken, headers(("location" = String, description = "Where the job is told of"))),
        Refused, OfDataset, WithBody
    )
)]
pub(crate) async fn rows(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.may(Scope::Write, &name)?;
    let (dataset, _) = context.dataset(&name).await?;
    let format = format_of(&headers)?;
    check(&dataset, format, &body)?;
    let key = format!("{name}/api/{}.{}", Uuid::new_v4(), format.as_str());
    let stored = context.inbox.put(&key, media_type_of(format), body).await?;
    taken(&context, "../../", key, stored)
}

/// The answer that a file was taken. `root` leads from the route to the root of the API, whatever a gateway has
/// put before it.
pub(super) fn taken(
    context: &Context,
    root: &str,
    key: String,
    stored: Stored,
) -> Result<Response, ApiError> {
    let bucket = context.settings.inbox_bucket.clone();
    let job = JobId::of(&bucket, &key, &stored.version);
    let location = HeaderValue::try_from(format!("{root}jobs/{job}"))
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let taken = Taken {
        job,
        object: TakenObject {
            bucket,
            key,
            version: stored.version,
            size: stored.size,
        },
        status_url: format!("/jobs/{job}"),
    };
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, location, Json(taken)).into_response())
}

/// The byte order mark that some programs put before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

fn format_of(headers: &HeaderMap) -> Result<Format, ApiError> {
    // Gateways decode a body by what it says of itself: bytes of another charset would arrive as other texts.
    if charset(headers).is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return Err(ApiError::MediaType("send UTF-8".to_owned()));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::MediaType(
            "send the rows as they are, without Content-Encoding".to_owned(),
        ));
    }
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(Format::Json),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            Ok(Format::Ndjson)
        }
        Some("text/csv") => Ok(Format::Csv),
        Some("text/tab-separated-values") => Ok(Format::Tsv),
        _ => Err(ApiError::MediaType(
            "send Content-Type: application/json, application/x-ndjson, text/csv or text/tab-separated-values"
                .to_owned(),
        )),
    }
}

/// The charset that a body is said to be of.
fn charset(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = text
        .split(';')
        .skip(1)
        .filter_map(|one| one.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"'))
}

fn media_type_of(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
        Format::Tsv => "text/tab-separated-values",
    }
}

/// Refuses what its job would only fail for.
fn check(dataset: &Dataset, format: Format, body: &[u8]) -> Result<(), ApiError> {
    if let Some(only) = dataset.format
        && only != format
    {
        return Err(ApiError::MediaType(format!(
            "dataset {} is of the format {} alone: send Content-Type: {}",
            dataset.name,
            only.as_str(),
            media_type_of(only)
        )));
    }
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let wrong = |message: &str| Err(ApiError::Invalid(message.to_owned()));
    match (first, format) {
        (None, _) => wrong("the body is empty: send rows"),
        (Some(b'['), Format::Json) if dataset.json.path.is_empty() => Ok(()),
        (Some(_), Format::Json) if dataset.json.path.is_empty() => {
            wrong("the body must be a JSON array of rows")
        }
        (Some(b'{'), Format::Json) => Ok(()),
        (Some(_), Format::Json) => wrong(&format!(
            "the body must be a JSON object with the rows at {}, as the dataset's definition says",
            dataset.json.path.join(".")
        )),
        (Some(_), _) => Ok(()),
    }
}
