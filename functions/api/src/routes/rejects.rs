use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use landfall_aws::{AwsError, Listed, Objects};
use landfall_domain::{ByteRange, ObjectRef, Reject, RejectsLocation};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::jobs::head_of;
use super::rows::next_link;
use super::{from_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::encode::{Encoding, MAX_ANSWER_BYTES, escaped_len};
use crate::extract::{Query, Segments};
use crate::openapi::{OfDataset, Refused};
use crate::{ApiError, Context};

const DEFAULT_REJECTS: u32 = 50;
const MAX_REJECTS: u32 = 1000;
/// Bytes of one read of an object of rejects; more where a line is longer.
const WINDOW: u64 = 256 * 1024;
/// The longest line that is read; an answer holds one, escaped. A reject repeats at most 64 KiB of its record, in
/// two forms, escaped.
const MAX_LINE: u64 = 2 * 1024 * 1024;
/// Objects that are read at the same time.
const AT_ONCE: usize = 4;
/// Objects that one answer looks into.
const MAX_OBJECTS: usize = 200;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RejectsParams {
    /// The most rejects; for NDJSON as many as fit unless given.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Some rejects of a job, in the order of its chunks.
#[derive(Serialize, ToSchema)]
struct RejectsPage {
    rejects: Vec<Reject>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// A place among the rejects of a job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    /// The chunk whose object it is in.
    chunk: u32,
    /// The byte of it.
    byte: u64,
}

/// Rejects of a job
///
/// As NDJSON, which can be mended and handed in again, an answer has as many as fit; `Link` tells where the others
/// are. Chunks end in any order: while the job is open, rejects may still come before the place that a cursor goes
/// on at. List them again when it has closed.
#[utoipa::path(
    get,
    path = "/jobs/{job}/rejects",
    operation_id = "list_rejects",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid"), RejectsParams),
    responses(
        (status = 200, description = "Some rejects", content((RejectsPage = "application/json"), (String = "application/x-ndjson")), headers(
            ("link" = Option<String>, description = "The next page, if there is one")
        )),
        (status = 406, body = crate::Problem, content_type = "application/problem+json",
            description = "None of the accepted media types can be given"),
        Refused, OfDataset
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
    let encoding = Encoding::of(&headers, &Encoding::LINES)?;
    let most = match (params.limit, encoding) {
        (None, Encoding::Ndjson) => usize::MAX,
        (asked, _) => limit(asked, DEFAULT_REJECTS, MAX_REJECTS)? as usize,
    };
    let from: Place = match params.cursor.as_deref() {
        None => Place { chunk: 0, byte: 0 },
        Some(cursor) => from_cursor(cursor)?,
    };
    let found = match &head.dataset {
        None => Lines::default(),
        Some(dataset) => {
            let bucket = &context.settings.rejects_bucket;
            let location = RejectsLocation::new(bucket, &dataset.name, head.job);
            lines(&*context.objects, &location, from, most).await?
        }
    };
    let next = found.next.as_ref().map(to_cursor).transpose()?;
    let mut response = if encoding == Encoding::Json {
        let rejects = found
            .all
            .iter()
            .map(|line| serde_json::from_slice(line))
            .collect::<Result<_, _>>()
            .map_err(|error| ApiError::Internal(format!("rejects of job {}: {error}", head.job)))?;
        let next = next.clone();
        axum::Json(RejectsPage { rejects, next }).into_response()
    } else {
        let mut body = BytesMut::new();
        for line in &found.all {
            body.extend_from_slice(line);
            body.extend_from_slice(b"\n");
        }
        let media_type = HeaderValue::from_static(encoding.media_type());
        ([(header::CONTENT_TYPE, media_type)], body.freeze()).into_response()
    };
    if let Some(next) = next {
        let limit = params.limit.map(|limit| format!("&limit={limit}"));
        let limit = limit.unwrap_or_default();
        let link = next_link(&format!("cursor={next}{limit}"))?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Lines of objects of rejects.
#[derive(Default)]
struct Lines {
    /// Without their ends.
    all: Vec<Bytes>,
    /// What they take in an answer.
    bytes: usize,
    /// Whether the next one has no room.
    is_full: bool,
    next: Option<Place>,
}

/// Reads lines from a place on, at most so many and no more than an answer holds.
async fn lines(
    objects: &dyn Objects,
    location: &RejectsLocation,
    from: Place,
    most: usize,
) -> Result<Lines, ApiError> {
    // The object of the place itself is listed too.
    let before = from.chunk.checked_sub(1).map(|chunk| location.key(chunk));
    let listed = objects
        .list(&location.bucket, &location.prefix, before.as_deref())
        .await?;
    let chunks: Vec<(Place, Listed)> = listed
        .into_iter()
        .filter_map(|object| {
            let chunk = chunk_of(location, &object.key)?;
            let byte = if chunk == from.chunk { from.byte } else { 0 };
            Some((Place { chunk, byte }, object))
        })
        .collect();
    let mut found = Lines::default();
    let looked_into: Vec<_> = chunks.iter().take(MAX_OBJECTS).cloned().collect();
    let mut windows = stream::iter(looked_into)
        .map(|(place, object)| async move {
            let first = window(objects, &location.bucket, &object, place.byte, WINDOW).await?;
            Ok::<_, ApiError>((place, object, first))
        })
        .buffered(AT_ONCE);
    while let Some(read) = windows.next().await {
        let (mut place, object, mut bytes) = read?;
        let mut length = WINDOW;
        while place.byte < object.size {
            let is_last = place.byte + bytes.len() as u64 >= object.size;
            let taken = found.take(&bytes, is_last, most);
            place.byte += taken as u64;
            if found.is_full(most) {
                found.next = Some(place);
                return Ok(found.settled(&chunks));
            }
            if taken == 0 {
                if length >= MAX_LINE {
                    let reason = format!("{}: a line over {MAX_LINE} bytes", object.key);
                    return Err(ApiError::Internal(reason));
                }
                length *= 2;
            }
            if place.byte < object.size {
                bytes = window(objects, &location.bucket, &object, place.byte, length).await?;
            }
        }
    }
    // What was not looked into comes with the next page.
    found.next = chunks.get(MAX_OBJECTS).map(|(place, _)| *place);
    Ok(found)
}

async fn window(
    objects: &dyn Objects,
    bucket: &str,
    object: &Listed,
    start: u64,
    length: u64,
) -> Result<Bytes, AwsError> {
    let range = ByteRange {
        start: start.min(object.size),
        end: (start.saturating_add(length)).min(object.size),
    };
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let object = ObjectRef {
        bucket: bucket.to_owned(),
        key: object.key.clone(),
        version: None,
        etag: object.etag.clone(),
        size: object.size,
    };
    objects.read(&object, range).await
}

/// The chunk whose rejects are in the object of this key.
fn chunk_of(location: &RejectsLocation, key: &str) -> Option<u32> {
    let name = key.strip_prefix(&location.prefix)?;
    name.strip_suffix(".ndjson")?.parse().ok()
}

impl Lines {
    /// Takes whole lines until there are enough; gives how many bytes they had.
    fn take(&mut self, bytes: &Bytes, is_last: bool, most: usize) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_full(most) {
            let rest = &bytes[at..];
            let length = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                None if is_last => rest.len(),
                None => break,
            };
            if length > 0 {
                let line = bytes.slice(at..at + length);
                let taken = escaped_len(&line) + escaped_len(b"\n");
                if self.bytes + taken > MAX_ANSWER_BYTES && !self.all.is_empty() {
                    self.is_full = true;
                    break;
                }
                self.bytes += taken;
                self.all.push(line);
            }
            at = (at + length + 1).min(bytes.len());
        }
        at
    }

    fn is_full(&self, most: usize) -> bool {
        self.is_full || self.all.len() >= most
    }

    /// Without a next place where nothing follows it.
    fn settled(mut self, chunks: &[(Place, Listed)]) -> Self {
        let follows = self.next.is_some_and(|next| {
            chunks
                .iter()
                .any(|(place, object)| match place.chunk.cmp(&next.chunk) {
                    std::cmp::Ordering::Less => false,
                    std::cmp::Ordering::Equal => next.byte < object.size,
                    std::cmp::Ordering::Greater => object.size > 0,
                })
        });
        if !follows {
            self.next = None;
        }
        self
    }
}
