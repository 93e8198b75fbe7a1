use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use landfall_domain::{ByteRange, ObjectRef};
use tracing::warn;

use crate::AwsError;

const GET: &str = "GetObject";
const LIST: &str = "ListObjectsV2";
const PUT: &str = "PutObject";
/// How often a read is retried whose body breaks off.
const READ_RETRIES: usize = 2;
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its `ETag`, without quotes.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Objects in buckets.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Reads a range of this version of an object, all of it or an error: [`AwsError::Gone`] if the version no
    /// longer exists.
    async fn read(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError>;

    /// Reads a range of an object that has one version and never changes, all of it or an error: [`AwsError::Gone`] if
    /// it does not exist.
    async fn read_latest(
        &self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Bytes, AwsError>;

    /// Reads the text of the latest or the given version of an object of at most `limit` bytes. Returns it with its
    /// version id, if the bucket has versions; `None` if there is no such object.
    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        limit: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError>;

    /// Lists objects whose keys begin with `prefix` and come after the key `after`, in the order of keys: at most
    /// 1,000, and fewer only if no more follow.
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, AwsError>;

    /// Writes a whole object.
    async fn write(
        &self,
        bucket: &str,
        key: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError>;

    /// Writes a whole object unless there is one with this key. Returns whether there was none.
    async fn create(
        &self,
        bucket: &str,
        key: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<bool, AwsError>;
}

/// Objects in S3.
#[derive(Clone, Debug)]
pub struct S3Objects {
    client: Client,
}

impl S3Objects {
    /// Returns the objects that this client reaches.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn get(&self, bucket: &str, key: &str, range: ByteRange) -> GetObjectFluentBuilder {
        self.client
            .get_object()
            .bucket(bucket)
            .key(key)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
    }

    async fn read_once(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let get = || self.get(&object.bucket, &object.key, range);
        let answer = if object.etag.is_empty() {
            get().set_version_id(object.version.clone()).send().await
        } else {
            // The latest version, if it is the requested one: not every endpoint honours a range together with a
            // version id.
            let etag = format!("\"{}\"", object.etag);
            match (&object.version, get().if_match(etag).send().await) {
                (Some(version), Err(error)) if is_missing(&error) => {
                    get().version_id(version).send().await
                }
                (_, answer) => answer,
            }
        };
        let output = answer.map_err(|error| gone_or(&object.key, &error))?;
        collect(output, &object.key, Some(object.size), range).await
    }

    async fn read_latest_once(
        &self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Bytes, AwsError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let answer = self.get(bucket, key, range).send().await;
        let output = answer.map_err(|error| gone_or(key, &error))?;
        collect(output, key, None, range).await
    }
}

#[async_trait]
impl Objects for S3Objects {
    async fn read(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError> {
        retried(|| self.read_once(object, range)).await
    }

    async fn read_latest(
        &self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Bytes, AwsError> {
        retried(|| self.read_latest_once(bucket, key, range)).await
    }

    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        limit: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        let answer = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_version_id(version.map(ToOwned::to_owned))
            .send()
            .await;
        let output = match answer {
            Ok(output) => output,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(AwsError::from_sdk(GET, key, &error)),
        };
        let version = output.version_id.filter(|version| version != "null");
        let mut body = output.body;
        let mut text = Vec::new();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| AwsError::unavailable(GET, key, error))?;
            if text.len() + part.len() > limit {
                let reason = format!("more than {limit} bytes");
                return Err(AwsError::unexpected_response(GET, key, reason));
            }
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8(text)
            .map_err(|_| AwsError::unexpected_response(GET, key, "not UTF-8"))?;
        Ok(Some((text, version)))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, AwsError> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_start_after(after.map(ToOwned::to_owned))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(LIST, prefix, &error))?;
        let missing = |name: &str| {
            AwsError::unexpected_response(LIST, prefix, format!("an object has no {name}"))
        };
        // A listing without objects has no `contents`.
        let objects = answer.contents.unwrap_or_default().into_iter();
        objects
            .map(|object| {
                let size = object.size.and_then(|size| u64::try_from(size).ok());
                let etag = object.e_tag.ok_or_else(|| missing("ETag"))?;
                Ok(Listed {
                    key: object.key.ok_or_else(|| missing("key"))?,
                    etag: etag.trim_matches('"').to_owned(),
                    size: size.ok_or_else(|| missing("size"))?,
                })
            })
            .collect()
    }

    async fn write(
        &self,
        bucket: &str,
        key: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        self.client
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_type(media_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk(PUT, key, &error))
    }

    async fn create(
        &self,
        bucket: &str,
        key: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<bool, AwsError> {
        let put = self.client.put_object().bucket(bucket).key(key);
        let put = put.content_type(media_type).if_none_match("*");
        match put.body(ByteStream::from(body)).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(false),
            // Another write of the key is in progress.
            Err(error) if error.code() == Some("ConditionalRequestConflict") => {
                Err(AwsError::unavailable(PUT, key, error))
            }
            Err(error) => Err(AwsError::from_sdk(PUT, key, &error)),
        }
    }
}

/// Repeats a read that fails: the client's own retries end where the body begins.
async fn retried<F: Future<Output = Result<Bytes, AwsError>>>(
    read: impl FnMut() -> F,
) -> Result<Bytes, AwsError> {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_times(READ_RETRIES);
    read.retry(backoff)
        .when(AwsError::retryable)
        .notify(|error: &AwsError, delay: Duration| warn!(%error, ?delay, "a read is retried"))
        .await
}

fn gone_or(key: &str, error: &SdkError<GetObjectError>) -> AwsError {
    if is_missing(error) {
        AwsError::Gone(key.to_owned())
    } else {
        AwsError::from_sdk(GET, key, error)
    }
}

/// Returns whether the object or the requested version does not exist.
fn is_missing(error: &SdkError<GetObjectError>) -> bool {
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    matches!(
        error.code(),
        Some("NoSuchKey" | "NoSuchVersion" | "PreconditionFailed")
    ) || (matches!(status, Some(404 | 412)) && error.code() != Some("NoSuchBucket"))
}

/// Extracts the requested range from a response, of an object of this size if that is known. Some endpoints return the
/// whole object.
async fn collect(
    output: GetObjectOutput,
    key: &str,
    size: Option<u64>,
    range: ByteRange,
) -> Result<Bytes, AwsError> {
    let wrong = |reason: String| AwsError::unexpected_response(GET, key, reason);
    let wanted = usize::try_from(range.len())
        .map_err(|_| wrong(format!("{} bytes do not fit in memory", range.len())))?;
    let mut skip = match output.content_range() {
        Some(text) => {
            let (start, total) =
                content_range(text).ok_or_else(|| wrong(format!("content range {text:?}")))?;
            if let Some(size) = size.filter(|size| *size != total) {
                return Err(wrong(format!("the object has {total} bytes, not {size}")));
            }
            range
                .start
                .checked_sub(start)
                .ok_or_else(|| wrong(format!("content range {text:?} starts late")))?
        }
        // Status 200: the bytes of the whole object follow.
        None => range.start,
    };
    let mut body = output.body;
    let mut bytes = BytesMut::with_capacity(wanted);
    while bytes.len() < wanted {
        let Some(part) = body.next().await else {
            return Err(wrong(format!(
                "the body ended {} bytes early",
                wanted - bytes.len()
            )));
        };
        let mut part = part.map_err(|error| AwsError::unavailable(GET, key, error))?;
        let skipped = usize::try_from(skip).map_or(part.len(), |skip| skip.min(part.len()));
        skip -= skipped as u64;
        let mut rest = part.split_off(skipped);
        rest.truncate(wanted - bytes.len());
        bytes.extend_from_slice(&rest);
    }
    Ok(bytes.freeze())
}

/// Parses the first byte and the size of the object from a content range like `bytes 5-9/20`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split('-').next()?.parse().ok()?, total.parse().ok()?))
}
