use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_aws::AwsError;
use landfall_domain::{RejectsOrigin, is_name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::accepted::Accepted;
use super::fixed_rejects;
use super::row_writes::refuse_numbered;
use crate::auth::Caller;
use crate::extract::Json;
use crate::responses::{BodyErrors, CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// The maximum size of an upload. Larger objects are not ingested.
pub(crate) const MAX_UPLOAD_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// The maximum size of an upload by form.
const MAX_POST_BYTES: u64 = 100 * 1000 * 1000;
/// Size of each part except the last.
const PART_BYTES: u64 = 32 * 1024 * 1024;
/// How long a form is valid.
const POST_VALID: Duration = Duration::from_hours(1);
/// How long the URLs of parts are valid. The function's credentials, which sign them, may expire sooner.
const PARTS_VALID: Duration = Duration::from_hours(6);
/// URLs that are signed concurrently.
const CONCURRENT_SIGNATURES: usize = 16;
/// The maximum length of the file name in a key.
const MAX_NAME: usize = 100;

/// A file to be uploaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upload {
    /// Its dataset.
    #[schema(example = "products")]
    dataset: String,
    /// Its name. The extension determines the format.
    #[schema(example = "products.csv")]
    name: String,
    /// Its exact size in bytes.
    #[schema(minimum = 1, maximum = 34_359_738_368_u64)]
    size: u64,
    /// The job whose fixed rejects the file holds, as for `POST /jobs/{job}/rejects`.
    rejects_of: Option<String>,
}

/// Where to upload a file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum UploadPlace {
    /// A form for one `multipart/form-data` post, with the file last, in the field `file`.
    Post {
        /// The URL to post to.
        url: String,
        /// The other form fields.
        fields: BTreeMap<String, String>,
        /// The object's key, for `POST /uploads/complete`.
        key: String,
        /// When this expires; RFC 3339.
        expires_at: String,
    },
    /// Parts, each to be put to its URL. Keep the `ETag` of each response for `POST /uploads/complete`.
    Multipart {
        /// The upload's id.
        upload_id: String,
        /// Bytes in each part except the last.
        part_bytes: u64,
        /// The parts.
        parts: Vec<PartPlace>,
        /// The object's key.
        key: String,
        /// When this expires; RFC 3339.
        expires_at: String,
    },
}

/// Where to upload a part.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartPlace {
    /// Its number, from 1.
    number: i32,
    /// The URL to put it to.
    url: String,
}

/// A completed upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    /// The object's key.
    key: String,
    /// The upload's id, if it has parts.
    upload_id: Option<String>,
    /// The parts, if it has any.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    parts: Vec<DonePart>,
}

/// An uploaded part.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DonePart {
    /// Its number, from 1.
    #[schema(minimum = 1, maximum = 10_000)]
    number: i32,
    /// The `ETag` of the response.
    etag: String,
}

/// Begin an upload
///
/// Returns a form for files up to 100 MB, and URLs of parts for larger ones. They are valid for this key and size only.
#[utoipa::path(
    post,
    path = "/uploads",
    operation_id = "begin_upload",
    tag = "uploads",
    request_body = Upload,
    responses(
        (status = 201, description = "Where to upload the file", body = UploadPlace),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors
    )
)]
pub(crate) async fn begin(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Json(upload): Json<Upload>,
) -> Result<Response, ApiError> {
    caller.require(Scope::Write, &upload.dataset)?;
    if !(1..=MAX_UPLOAD_BYTES).contains(&upload.size) {
        return Err(ApiError::Invalid(format!(
            "size must be 1 to {MAX_UPLOAD_BYTES} bytes: split larger files"
        )));
    }
    let (dataset, _) = context.dataset(&upload.dataset).await?;
    refuse_numbered(&dataset)?;
    let key = match &upload.rejects_of {
        None => new_key(&upload.dataset, &upload.name),
        Some(job) => fixed_rejects::new_key(&context, &caller, &upload.dataset, job).await?,
    };
    let inbox = &context.inbox;
    let place = if upload.size <= MAX_POST_BYTES {
        let form = inbox.post_form(&key, upload.size, POST_VALID).await?;
        UploadPlace::Post {
            url: form.url,
            fields: form.fields,
            key,
            expires_at: format!("{:.0}", Timestamp::now() + POST_VALID),
        }
    } else {
        let upload_id = inbox.begin(&key).await?;
        let (key_of_parts, id) = (&key, &upload_id);
        let parts: Vec<PartPlace> = stream::iter(parts_of(upload.size))
            .map(|(number, bytes)| async move {
                let url = inbox.part_url(key_of_parts, id, number, bytes, PARTS_VALID);
                let url = url.await?;
                Ok::<_, AwsError>(PartPlace { number, url })
            })
            .buffered(CONCURRENT_SIGNATURES)
            .try_collect()
            .await?;
        UploadPlace::Multipart {
            upload_id: format!("{}.{upload_id}", parts.len()),
            part_bytes: PART_BYTES,
            parts,
            key,
            expires_at: format!("{:.0}", Timestamp::now() + PARTS_VALID),
        }
    };
    Ok((StatusCode::CREATED, axum::Json(place)).into_response())
}

/// Complete an upload
///
/// Joins the parts, if there are any, and returns the job that ingests the file. It can be repeated. A posted form is
/// ingested without it.
#[utoipa::path(
    post,
    path = "/uploads/complete",
    operation_id = "complete_upload",
    tag = "uploads",
    request_body = Complete,
    responses(
        (status = 202, description = "The file is an object in the inbox", body = Accepted),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors
    )
)]
pub(crate) async fn complete(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Json(complete): Json<Complete>,
) -> Result<Response, ApiError> {
    let dataset = dataset_of(&complete.key).ok_or_else(|| {
        caller
            .readable()
            .err()
            .filter(|_| !caller.0.has(Scope::Write))
            .unwrap_or_else(|| ApiError::Invalid("key is not from POST /uploads".to_owned()))
    })?;
    caller.require(Scope::Write, dataset)?;
    let mut is_joined = true;
    if let Some(upload_id) = &complete.upload_id {
        let (count, upload_id) = decode_id(upload_id)
            .ok_or_else(|| ApiError::Invalid("upload_id is not from POST /uploads".to_owned()))?;
        let parts = complete.parts.into_iter();
        let mut parts: Vec<(i32, String)> = parts.map(|part| (part.number, part.etag)).collect();
        parts.sort_unstable_by_key(|(number, _)| *number);
        let numbers = parts.iter().map(|(number, _)| *number);
        if !numbers.eq(1..=count) {
            return Err(ApiError::Invalid(format!(
                "parts must have each number from 1 to {count} once: the file would lack rows otherwise"
            )));
        }
        let joined = context.inbox.complete(&complete.key, upload_id, &parts);
        is_joined = joined.await?;
    }
    // If this request joins no parts, an earlier one may have joined them.
    let stored = context.inbox.latest(&complete.key).await?;
    let stored = stored.ok_or_else(|| {
        if is_joined {
            ApiError::NotFound("there is no file with this key yet: post it first".to_owned())
        } else {
            ApiError::Conflict(
                "the upload does not exist, or a part is missing or too small: put each part and send its ETag, or \
                begin again"
                    .to_owned(),
            )
        }
    })?;
    Ok(Accepted::response(&context, "../", complete.key, stored))
}

/// Returns the number of parts of an upload, and its id in S3. S3 signs the size of each part but not their number, and
/// would join any of them.
fn decode_id(id: &str) -> Option<(i32, &str)> {
    let (parts, upload_id) = id.split_once('.')?;
    Some((parts.parse().ok()?, upload_id))
}

/// Returns a unique key. Only plain characters of the name are kept.
fn new_key(dataset: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
            _ => '_',
        })
        .collect();
    // The end is kept, because it has the extension.
    let start = plain.len().saturating_sub(MAX_NAME);
    let plain = plain[start..].trim_start_matches('.');
    let plain = if plain.is_empty() { "file" } else { plain };
    format!("{dataset}/uploads/{}/{plain}", Uuid::new_v4())
}

/// Returns the dataset of a key from [`begin`].
fn dataset_of(key: &str) -> Option<&str> {
    let segments: Vec<&str> = key.split('/').collect();
    if RejectsOrigin::job_of(key).is_some() {
        return segments.first().copied().filter(|name| is_name(name));
    }
    let [dataset, "uploads", id, name] = segments[..] else {
        return None;
    };
    let is_key = is_name(dataset)
        && Uuid::try_parse(id).is_ok()
        && !name.is_empty()
        && name.len() <= MAX_NAME;
    is_key.then_some(dataset)
}

/// Returns the number and size of each part.
fn parts_of(size: u64) -> impl Iterator<Item = (i32, u64)> {
    let sizes =
        (0..size.div_ceil(PART_BYTES)).map(move |index| PART_BYTES.min(size - index * PART_BYTES));
    (1..).zip(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_its_dataset_whatever_the_file_name() {
        for name in [
            "products.csv",
            "../../orders/x.csv",
            "",
            "..",
            "ä ö/ü?.csv",
            &"x".repeat(500),
        ] {
            let key = new_key("products", name);
            assert_eq!(dataset_of(&key), Some("products"), "{key}");
            assert!(!key.contains("/."), "{key}");
        }
        assert!(new_key("products", "a b.csv").ends_with("/a_b.csv"));
        for wrong in [
            "products/a.csv",
            "products/uploads/x/a.csv",
            "Products/uploads/6a0e4bd2-9d1c-4d1b-9a7c-2f110f0b3a0a/a.csv",
            "",
        ] {
            assert_eq!(dataset_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_parts_add_up_to_the_file() {
        for size in [1, PART_BYTES, PART_BYTES + 1, MAX_UPLOAD_BYTES] {
            let parts: Vec<_> = parts_of(size).collect();
            assert_eq!(parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), size);
            assert!(parts.len() <= 10_000);
            assert_eq!(parts[0].0, 1);
        }
    }
}
