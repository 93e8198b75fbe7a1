use std::pin::pin;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use landfall_aws::{AwsError, Objects};
use landfall_domain::{ByteRange, ObjectRef, Reject, RejectsLocation};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::jobs::head_of;
use super::paging::{from_cursor, invalid_cursor, limit, next_link, to_cursor};
use crate::auth::Caller;
use crate::encode::{MAX_RESPONSE_BYTES, escaped_len};
use crate::encoding::Encoding;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, DatasetErrors, Forbidden, NotAcceptable};
use crate::{ApiError, Context};

const DEFAULT_REJECTS: u32 = 50;
const MAX_REJECTS: u32 = 1000;
/// Bytes per range read of a rejects object. A longer line is read again with a larger range.
const WINDOW: u64 = 256 * 1024;
/// The longest line that is read. It fits a response when escaped: a reject holds its record twice, as `raw` (at most
/// 64 KiB, escaped) and as `record`.
const MAX_LINE: u64 = 2 * 1024 * 1024;
/// Rejects objects read concurrently.
const CONCURRENT_READS: usize = 4;
/// The maximum number of rejects objects read for one response.
const MAX_OBJECTS: usize = 200;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RejectsParams {
    /// The maximum number of rejects. NDJSON without a limit has as many as fit.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the previous page.
    cursor: Option<String>,
}

/// A page of rejects, in the order of chunks.
#[derive(Serialize, ToSchema)]
struct RejectsPage {
    rejects: Vec<Reject>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// A place among the rejects of a job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    /// The chunk whose object holds it.
    chunk: u32,
    /// The byte offset in the object.
    byte: u64,
}

/// List rejects of a job
///
/// Lines of NDJSON can be fixed and sent to `POST /jobs/{job}/rejects`; a response has as many rejects as fit, and
/// `Link` leads to the others. Chunks finish in any order, so while the job is open, rejects may still be added before
/// the place of a cursor. List them again when the job is closed.
#[utoipa::path(
    get,
    path = "/jobs/{job}/rejects",
    operation_id = "list_rejects",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid"), RejectsParams),
    responses(
        (status = 200, description = "A page of rejects", content((RejectsPage = "application/json"), (String = "application/x-ndjson")), headers(
            ("link" = Option<String>, description = "The next page, unless this is the last")
        )),
        CommonErrors, Forbidden, DatasetErrors, NotAcceptable
    )
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(params): Query<RejectsParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let head = head_of(&context, &caller, &id).await?;
    let encoding = Encoding::negotiate(&headers, &Encoding::LINES)?;
    let most = match (params.limit, encoding) {
        (None, Encoding::Ndjson) => usize::MAX,
        (requested, _) => limit(requested, DEFAULT_REJECTS, MAX_REJECTS)? as usize,
    };
    let from: Option<Place> = params.cursor.as_deref().map(from_cursor).transpose()?;
    let (lines, next) = match &head.dataset {
        None if from.is_some() => return Err(invalid_cursor()),
        None => (Vec::new(), None),
        Some(dataset) => {
            let bucket = &context.settings.rejects_bucket;
            let location = RejectsLocation::new(bucket, &dataset.name, head.job);
            read_page(&*context.objects, &location, from, most).await?
        }
    };
    let next = next.as_ref().map(to_cursor).transpose()?;
    let link = next.as_ref().map(|next| {
        let limit = params.limit.map(|limit| format!("&limit={limit}"));
        let query = format!("cursor={next}{}", limit.unwrap_or_default());
        [(header::LINK, next_link(&query))]
    });
    if encoding == Encoding::Json {
        let rejects = lines
            .iter()
            .map(|line| serde_json::from_slice(line))
            .collect::<Result<_, _>>()
            .map_err(|error| ApiError::Internal(format!("rejects of job {}: {error}", head.job)))?;
        return Ok((link, axum::Json(RejectsPage { rejects, next })).into_response());
    }
    let mut body = BytesMut::new();
    for line in &lines {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\n");
    }
    let media_type = [(header::CONTENT_TYPE, encoding.media_type())];
    Ok((link, media_type, body.freeze()).into_response())
}

/// Reads up to `most` lines that fit a response, starting at the place of a cursor. Also returns the place of the next
/// line, if there is one.
async fn read_page(
    objects: &dyn Objects,
    location: &RejectsLocation,
    cursor: Option<Place>,
    most: usize,
) -> Result<(Vec<Bytes>, Option<Place>), ApiError> {
    let from = cursor.unwrap_or(Place { chunk: 0, byte: 0 });
    // The listing starts after this key, so that it includes the object of the place itself.
    let before = from.chunk.checked_sub(1).map(|chunk| location.key(chunk));
    let listed = objects
        .list(&location.bucket, &location.prefix, before.as_deref())
        .await?;
    let mut chunks: Vec<(Place, ObjectRef)> = listed
        .into_iter()
        .filter_map(|listed| {
            let chunk = chunk_of(location, &listed.key)?;
            let byte = if chunk == from.chunk { from.byte } else { 0 };
            let object = ObjectRef {
                bucket: location.bucket.clone(),
                key: listed.key,
                version: None,
                etag: listed.etag,
                size: listed.size,
            };
            Some((Place { chunk, byte }, object))
        })
        .collect();
    if cursor.is_some() && !is_line(objects, from, chunks.first()).await? {
        return Err(invalid_cursor());
    }
    // The next page reads the remaining objects.
    let remaining = chunks.get(MAX_OBJECTS).map(|(place, _)| *place);
    chunks.truncate(MAX_OBJECTS);
    let lines = stream::iter(chunks)
        .map(|(place, object)| async move {
            let start = window(objects, &object, place.byte, WINDOW).await?;
            Ok::<_, ApiError>(lines_of(objects, object, place, start))
        })
        .buffered(CONCURRENT_READS)
        .try_flatten();
    let mut lines = pin!(lines);
    let mut page = Vec::new();
    let mut bytes = 0;
    while let Some((place, line)) = lines.try_next().await? {
        bytes += escaped_len(&line) + escaped_len(b"\n");
        let is_too_large = bytes > MAX_RESPONSE_BYTES && !page.is_empty();
        if is_too_large || page.len() >= most {
            return Ok((page, Some(place)));
        }
        page.push(line);
    }
    Ok((page, remaining))
}

/// Returns whether a line begins at a place. The object of its chunk is the first that is left, if it exists.
async fn is_line(
    objects: &dyn Objects,
    place: Place,
    first: Option<&(Place, ObjectRef)>,
) -> Result<bool, AwsError> {
    let object = match first {
        Some((first, object)) if first.chunk == place.chunk => object,
        _ => return Ok(false),
    };
    let is_line = match place.byte.checked_sub(1) {
        None => true,
        Some(before) => window(objects, object, before, 1).await? == b"\n"[..],
    };
    Ok(is_line && place.byte < object.size)
}

/// Returns the lines of an object from a place, without their ends, each with its place. `bytes` are those at the place
/// that have been read.
fn lines_of(
    objects: &dyn Objects,
    object: ObjectRef,
    place: Place,
    bytes: Bytes,
) -> impl Stream<Item = Result<(Place, Bytes), ApiError>> {
    stream::try_unfold(
        (object, place, bytes),
        move |(object, mut place, mut bytes)| async move {
            while place.byte < object.size {
                let is_last = place.byte + bytes.len() as u64 >= object.size;
                let end = bytes.iter().position(|byte| *byte == b'\n');
                if let Some(length) = end.or(is_last.then_some(bytes.len())) {
                    let line = (place, bytes.split_to(length));
                    let line_end = bytes.split_to(bytes.len().min(1));
                    place.byte += (length + line_end.len()) as u64;
                    if length > 0 {
                        return Ok(Some((line, (object, place, bytes))));
                    }
                } else if bytes.len() as u64 >= MAX_LINE {
                    let reason = format!("{}: a line over {MAX_LINE} bytes", object.key);
                    return Err(ApiError::Internal(reason));
                } else {
                    let length = (2 * bytes.len() as u64).clamp(WINDOW, MAX_LINE);
                    bytes = window(objects, &object, place.byte, length).await?;
                }
            }
            Ok(None)
        },
    )
}

/// Reads a part of an object.
async fn window(
    objects: &dyn Objects,
    object: &ObjectRef,
    start: u64,
    length: u64,
) -> Result<Bytes, AwsError> {
    // The start comes from a cursor, and may be any number.
    let range = ByteRange {
        start: start.min(object.size),
        end: start.saturating_add(length).min(object.size),
    };
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    objects.read(object, range).await
}

/// Returns the chunk whose rejects are in the object with this key.
fn chunk_of(location: &RejectsLocation, key: &str) -> Option<u32> {
    let name = key.strip_prefix(&location.prefix)?;
    name.strip_suffix(".ndjson")?.parse().ok()
}
