use async_trait::async_trait;
use bytes::Bytes;
use landfall_aws::AwsError;

/// The number of bytes from which records are stored as a part. Parts other than the last need 5 MiB.
pub const PART_BYTES: usize = 8 << 20;

/// Where the objects of walks are created: the inbox, which has versions.
#[async_trait]
pub trait Target: Send + Sync {
    /// Returns the name of the bucket.
    fn bucket(&self) -> &str;

    /// Creates an object, unless there is one with this key.
    async fn create(&self, key: &str, media_type: &str, body: Bytes) -> Result<(), AwsError>;

    /// Starts a multipart upload. Returns its id.
    async fn begin(&self, key: &str, media_type: &str) -> Result<String, AwsError>;

    /// Stores a part, which has a number from 1. Returns its `ETag`.
    async fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        body: Bytes,
    ) -> Result<String, AwsError>;

    /// Creates the object from its parts. Does nothing if the upload no longer exists, or if a part was replaced.
    async fn complete(&self, key: &str, upload: &str, parts: &[String]) -> Result<(), AwsError>;

    /// Aborts an upload, if it exists.
    async fn abort(&self, key: &str, upload: &str) -> Result<(), AwsError>;

    /// Returns the version of an object, if it exists.
    async fn version(&self, key: &str) -> Result<Option<String>, AwsError>;
}
