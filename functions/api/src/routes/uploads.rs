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
use landfall_domain::is_name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::take::{Taken, taken};
use crate::auth::Caller;
use crate::extract::Json;
use crate::openapi::{OfDataset, Refused, WithBody};
use crate::{ApiError, Context};

/// The most bytes of an upload: no larger object is taken in.
pub(crate) const MAX_UPLOAD_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// The most bytes that go in one piece.
const MAX_POST_BYTES: u64 = 100 * 1000 * 1000;
/// Bytes of each part but the last.
const PART_BYTES: u64 = 32 * 1024 * 1024;
/// How long a form can be posted.
const POST_VALID: Duration = Duration::from_hours(1);
/// How long parts can be put. The function's own credentials, which sign them, may end sooner.
const PARTS_VALID: Duration = Duration::from_hours(6);
/// URLs that are signed at the same time.
const AT_ONCE: usize = 16;
/// The most letters of a file's name that are kept.
const MAX_NAME: usize = 100;

/// A file that is to be uploaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upload {
    /// The dataset that it is of.
    #[schema(example = "products")]
    dataset: String,
    /// Its name; the ending says what it is.
    #[schema(example = "products.csv")]
    name: String,
    /// Exactly how many bytes it has.
    #[schema(minimum = 1, maximum = 34_359_738_368_u64)]
    size: u64,
}

/// Where to put a file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum UploadPlace {
    /// In one piece: a form to be posted as `multipart/form-data`, the file last, in the field `file`.
    Post {
        /// Where to.
        url: String,
        /// The other fields of the form.
        fields: BTreeMap<String, String>,
        /// The object's key; `POST /uploads/complete` wants it.
        key: String,
        /// Until when; RFC 3339.
        expires_at: String,
    },
    /// In parts, each to be put to its URL; the answer's `ETag` is wanted in the end.
    Multipart {
        /// The upload's id.
        upload_id: String,
        /// Bytes of each part but the last.
        part_bytes: u64,
        /// The parts.
        parts: Vec<PartPlace>,
        /// The object's key.
        key: String,
        /// Until when; RFC 3339.
        expires_at: String,
    },
}

/// Where to put a part.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartPlace {
    /// Its number, from 1.
    number: i32,
    /// Where to.
    url: String,
}

/// An upload that is complete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    /// The object's key.
    key: String,
    /// The upload's id, where it came in parts.
    upload_id: Option<String>,
    /// The parts, where it came in parts.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    parts: Vec<DonePart>,
}

/// A part that was put.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DonePart {
    /// Its number, from 1.
    #[schema(minimum = 1, maximum = 10_000)]
    number: i32,
    /// The `ETag` that was answered.
    etag: String,
}

/// Ask for a place to put a file
///
/// Up to 100 MB it is a form for one post, above that URLs for parts. Either takes this key and this size alone.
#[utoipa::path(
    post,
    path = "/uploads",
    operation_id = "begin_upload",
    tag = "uploads",
    request_body = Upload,
    responses((status = 201, description = "Where the file goes", body = UploadPlace), Refused, OfDataset, WithBody)
)]
pub(crate) async fn begin(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Json(upload): Json<Upload>,
) -> Result<Response, ApiError> {
    caller.may(Scope::Write, &upload.dataset)?;
    if !(1..=MAX_UPLOAD_BYTES).contains(&upload.size) {
        return Err(ApiError::Invalid(format!(
            "size is 1 to {MAX_UPLOAD_BYTES} bytes: cut a larger file into several"
        )));
    }
    context.dataset(&upload.dataset).await?;
    let key = new_key(&upload.dataset, &upload.name);
    let inbox = &context.inbox;
    let place = if upload.size <= MAX_POST_BYTES {
        let form = inbox.post_form(&key, upload.size, POST_VALID).await?;
        UploadPlace::Post {
            url: form.url,
            fields: form.fields,
            key,
            expires_at: after(POST_VALID)?,
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
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        UploadPlace::Multipart {
            upload_id: id_of(parts.len(), &upload_id),
            part_bytes: PART_BYTES,
            parts,
            key,
            expires_at: after(PARTS_VALID)?,
        }
    };
    Ok((StatusCode::CREATED, axum::Json(place)).into_response())
}

/// Tell that a file is uploaded
///
/// Joins the parts, where it came in parts, and tells the job that takes the file in. It may be repeated. Not
/// needed for a posted form, but that it tells the job.
#[utoipa::path(
    post,
    path = "/uploads/complete",
    operation_id = "complete_upload",
    tag = "uploads",
    request_body = Complete,
    responses((status = 202, description = "The file is an object of the inbox", body = Taken), Refused, OfDataset, WithBody)
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
            .unwrap_or_else(|| {
                ApiError::Invalid("key is not one that POST /uploads gave".to_owned())
            })
    })?;
    caller.may(Scope::Write, dataset)?;
    if let Some(upload_id) = &complete.upload_id {
        let (count, upload_id) = of_id(upload_id).ok_or_else(|| {
            ApiError::Invalid("upload_id is not one that POST /uploads gave".to_owned())
        })?;
        let mut parts: Vec<(i32, String)> = complete
            .parts
            .into_iter()
            .map(|part| (part.number, part.etag))
            .collect();
        parts.sort_unstable_by_key(|(number, _)| *number);
        let numbers = parts.iter().map(|(number, _)| *number);
        if !numbers.eq(1..=count) {
            return Err(ApiError::Invalid(format!(
                "parts must be each of 1 to {count}, once: without one, the file would lack rows"
            )));
        }
        let is_joined = context
            .inbox
            .complete(&complete.key, upload_id, &parts)
            .await?;
        if !is_joined {
            // Joined before, if the object is there: then its answer got lost.
            return match context.inbox.latest(&complete.key).await? {
                Some(stored) => taken(&context, "../", complete.key, stored),
                None => Err(ApiError::Conflict(
                    "there is no such upload, or a part is missing or too small: put each part and send its ETag, or begin again"
                        .to_owned(),
                )),
            };
        }
    }
    let stored = context.inbox.latest(&complete.key).await?;
    let stored = stored.ok_or_else(|| {
        ApiError::NotFound("there is no file of this key yet: post it first".to_owned())
    })?;
    taken(&context, "../", complete.key, stored)
}

/// The id of an upload in so many parts. S3 would join any of them, and tells nobody how many were signed; the
/// size of each is signed.
fn id_of(parts: usize, upload_id: &str) -> String {
    format!("{parts}.{upload_id}")
}

/// The number of parts of an upload, and its id at S3.
fn of_id(id: &str) -> Option<(i32, &str)> {
    let (parts, upload_id) = id.split_once('.')?;
    Some((parts.parse().ok()?, upload_id))
}

fn after(valid: Duration) -> Result<String, ApiError> {
    let until = Timestamp::now()
        .checked_add(valid)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(format!("{until:.0}"))
}

/// A key that no other upload has. Of the name no more is left than what is plain everywhere.
fn new_key(dataset: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => letter,
            _ => '_',
        })
        .collect();
    // The end of it, which says what the file is.
    let start = plain.len().saturating_sub(MAX_NAME);
    let plain = plain[start..].trim_start_matches('.');
    let plain = if plain.is_empty() { "file" } else { plain };
    format!("{dataset}/uploads/{}/{plain}", Uuid::new_v4())
}

/// The dataset of a key as [`new_key`] makes them.
fn dataset_of(key: &str) -> Option<&str> {
    let mut segments = key.split('/');
    let (dataset, uploads, id, name) = (
        segments.next()?,
        segments.next()?,
        segments.next()?,
        segments.next()?,
    );
    let is_key = segments.next().is_none()
        && is_name(dataset)
        && uploads == "uploads"
        && Uuid::try_parse(id).is_ok()
        && !name.is_empty()
        && name.len() <= MAX_NAME;
    is_key.then_some(dataset)
}

/// Number and bytes of each part.
fn parts_of(size: u64) -> impl Iterator<Item = (i32, u64)> {
    let starts = (0..size).step_by(usize::try_from(PART_BYTES).unwrap_or(usize::MAX));
    (1..).zip(starts.map(move |start| PART_BYTES.min(size - start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_their_dataset_whatever_the_file_is_called() {
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
    fn parts_add_up_to_the_file() {
        for size in [1, PART_BYTES, PART_BYTES + 1, MAX_UPLOAD_BYTES] {
            let parts: Vec<_> = parts_of(size).collect();
            assert_eq!(parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), size);
            assert!(parts.len() <= 10_000);
            assert_eq!(parts[0].0, 1);
        }
    }
}
