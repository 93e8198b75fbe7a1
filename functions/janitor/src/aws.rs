//! The janitor's own calls of AWS.

use async_trait::async_trait;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_sdk_s3::types::ObjectVersion;
use jiff::Timestamp;
use landfall_aws::{AwsError, SqsQueue};
use landfall_domain::ObjectRef;
use serde_json::Value;

use crate::{Backlog, Inventory, Splitter, StoredVersion, VersionMarker};

const LIST: &str = "ListObjectVersions";

/// The splitter as a Lambda function.
pub(crate) struct LambdaSplitter {
    pub(crate) client: aws_sdk_lambda::Client,
    pub(crate) function: String,
}

#[async_trait]
impl Splitter for LambdaSplitter {
    async fn invoke(&self, event: &Value) -> Result<(), AwsError> {
        self.client
            .invoke()
            .function_name(&self.function)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("Invoke", &self.function, &error))
    }
}

#[async_trait]
impl Backlog for SqsQueue {
    async fn is_empty(&self) -> Result<bool, AwsError> {
        Ok(self.message_count().await? == 0)
    }
}

/// The inbox in S3.
pub(crate) struct S3Inventory {
    pub(crate) client: aws_sdk_s3::Client,
    pub(crate) bucket: String,
}

impl S3Inventory {
    fn read(&self, version: ObjectVersion) -> Result<StoredVersion, AwsError> {
        let missing = |name: &str| {
            AwsError::unexpected_response(LIST, &self.bucket, format!("a version has no {name}"))
        };
        let size = version.size.and_then(|size| u64::try_from(size).ok());
        let created_at = version.last_modified.and_then(|time| {
            let nanos = i32::try_from(time.subsec_nanos()).ok()?;
            Timestamp::new(time.secs(), nanos).ok()
        });
        let etag = version.e_tag.ok_or_else(|| missing("ETag"))?;
        Ok(StoredVersion {
            object: ObjectRef {
                bucket: self.bucket.clone(),
                key: version.key.ok_or_else(|| missing("key"))?,
                version: version.version_id.filter(|version| version != "null"),
                etag: etag.trim_matches('"').to_owned(),
                size: size.ok_or_else(|| missing("size"))?,
            },
            created_at: created_at.ok_or_else(|| missing("time"))?,
        })
    }
}

#[async_trait]
impl Inventory for S3Inventory {
    async fn versions(
        &self,
        after: Option<&VersionMarker>,
    ) -> Result<(Vec<StoredVersion>, Option<VersionMarker>), AwsError> {
        let answer = self
            .client
            .list_object_versions()
            .bucket(&self.bucket)
            .set_key_marker(after.map(|after| after.key.clone()))
            .set_version_id_marker(after.and_then(|after| after.version.clone()))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(LIST, &self.bucket, &error))?;
        let next = answer.next_key_marker.map(|key| VersionMarker {
            key,
            version: answer.next_version_id_marker,
        });
        let next = next.filter(|_| answer.is_truncated == Some(true));
        let versions = answer.versions.unwrap_or_default().into_iter();
        let versions = versions.map(|version| self.read(version));
        Ok((versions.collect::<Result<_, _>>()?, next))
    }
}
