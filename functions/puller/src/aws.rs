//! The puller's own calls of AWS.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use landfall_aws::{AwsError, Inbox, Objects, S3Inbox, S3Objects};

use crate::Target;

/// The inbox in S3.
pub(crate) struct S3Target {
    pub(crate) client: Client,
    pub(crate) objects: S3Objects,
    pub(crate) inbox: S3Inbox,
    pub(crate) bucket: String,
}

#[async_trait]
impl Target for S3Target {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn create(&self, key: &str, media_type: &str, body: Bytes) -> Result<(), AwsError> {
        let created = self.objects.create(&self.bucket, key, media_type, body);
        created.await.map(drop)
    }

    async fn begin(&self, key: &str, media_type: &str) -> Result<String, AwsError> {
        const OPERATION: &str = "CreateMultipartUpload";
        self.client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(media_type)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, key, &error))?
            .upload_id
            .ok_or_else(|| AwsError::unexpected_response(OPERATION, key, "it has no upload id"))
    }

    async fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        body: Bytes,
    ) -> Result<String, AwsError> {
        const OPERATION: &str = "UploadPart";
        let number =
            i32::try_from(number).map_err(|error| AwsError::refused(OPERATION, key, error))?;
        let part = self.client.upload_part();
        let part = part.bucket(&self.bucket).key(key).upload_id(upload);
        let part = part.part_number(number).body(ByteStream::from(body));
        let stored = part.send().await.map_err(|error| match error.code() {
            // It was aborted, and is gone for good.
            Some(code @ "NoSuchUpload") => AwsError::refused(OPERATION, key, code),
            _ => AwsError::from_sdk(OPERATION, key, &error),
        })?;
        stored
            .e_tag
            .ok_or_else(|| AwsError::unexpected_response(OPERATION, key, "it has no ETag"))
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[String]) -> Result<(), AwsError> {
        let parts: Vec<(i32, String)> = (1..).zip(parts.iter().cloned()).collect();
        self.inbox.complete(key, upload, &parts).await.map(drop)
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), AwsError> {
        let abort = self.client.abort_multipart_upload();
        let abort = abort.bucket(&self.bucket).key(key).upload_id(upload);
        match abort.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(AwsError::from_sdk("AbortMultipartUpload", key, &error)),
        }
    }

    async fn version(&self, key: &str) -> Result<Option<String>, AwsError> {
        let stored = self.inbox.latest(key).await?;
        Ok(stored.map(|stored| stored.version))
    }
}
