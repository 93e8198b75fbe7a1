use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    ProvideCredentials, RequestChecksumCalculation, SharedCredentialsProvider,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::AwsError;

const SIGN: &str = "signing";
/// Error codes of invalid parts, and of an upload that does not exist.
const INVALID_PARTS: [&str; 6] = [
    "EntityTooSmall",
    "InvalidArgument",
    "InvalidPart",
    "InvalidPartOrder",
    "MalformedXML",
    "NoSuchUpload",
];

/// A stored version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its version id.
    pub version: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An HTML form that uploads one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostForm {
    /// The URL to post to.
    pub url: String,
    /// The fields that precede the file, which is the field `file`.
    pub fields: BTreeMap<String, String>,
}

/// The bucket that files are uploaded to. It has versions.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores an object.
    async fn put(&self, key: &str, media_type: &str, body: Bytes) -> Result<Stored, AwsError>;

    /// Returns a form that uploads one object of this key and exactly this size in bytes while it is valid.
    async fn post_form(&self, key: &str, size: u64, valid: Duration) -> Result<PostForm, AwsError>;

    /// Starts a multipart upload; returns its id.
    async fn begin(&self, key: &str) -> Result<String, AwsError>;

    /// Returns a URL to which a part of exactly this many bytes can be put while it is valid. Parts are numbered
    /// from 1.
    async fn part_url(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        bytes: u64,
        valid: Duration,
    ) -> Result<String, AwsError>;

    /// Completes a multipart upload from the numbers and `ETag`s of its parts. Returns `false` if a part is missing
    /// or too small, or if the upload does not exist.
    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[(i32, String)],
    ) -> Result<bool, AwsError>;

    /// Returns the latest version of an object, if it exists.
    async fn latest(&self, key: &str) -> Result<Option<Stored>, AwsError>;
}

/// The inbox in S3.
#[derive(Clone)]
pub struct S3Inbox {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    bucket: String,
}

impl S3Inbox {
    /// Returns the bucket with this name.
    pub fn new(config: &SdkConfig, bucket: impl Into<String>) -> Self {
        // A signed URL cannot require a checksum that the client computes.
        let client = crate::s3(config)
            .config()
            .to_builder()
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self {
            client: Client::from_conf(client),
            credentials: config.credentials_provider(),
            bucket: bucket.into(),
        }
    }

    /// Returns the public URL of the bucket, without a key.
    pub async fn url(&self) -> Result<String, AwsError> {
        const KEY: &str = "key";
        let get = self.client.get_object().bucket(&self.bucket).key(KEY);
        let signed = get
            .presigned(expires_in(Duration::from_mins(1))?)
            .await
            .map_err(|error| AwsError::from_sdk(SIGN, &self.bucket, &error))?;
        let url = signed.uri().split('?').next().unwrap_or_default();
        url.strip_suffix(KEY).map(ToOwned::to_owned).ok_or_else(|| {
            AwsError::unexpected_response(
                SIGN,
                &self.bucket,
                "the signed URL does not end with its key",
            )
        })
    }

    fn version(&self, key: &str, version: Option<String>) -> Result<String, AwsError> {
        version.filter(|version| version != "null").ok_or_else(|| {
            let reason = format!("bucket {} has no versions: enable versioning", self.bucket);
            AwsError::refused("PutObject", key, reason)
        })
    }
}

#[async_trait]
impl Inbox for S3Inbox {
    async fn put(&self, key: &str, media_type: &str, body: Bytes) -> Result<Stored, AwsError> {
        let size = body.len() as u64;
        let answer = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(media_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutObject", key, &error))?;
        Ok(Stored {
            version: self.version(key, answer.version_id)?,
            size,
        })
    }

    async fn post_form(&self, key: &str, size: u64, valid: Duration) -> Result<PostForm, AwsError> {
        let refused = |reason: String| AwsError::refused(SIGN, key, reason);
        let region = self.client.config().region();
        let region = region.ok_or_else(|| refused("no region is configured".into()))?;
        let provider = self.credentials.as_ref();
        let provider = provider.ok_or_else(|| refused("no credentials are configured".into()))?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| AwsError::unavailable(SIGN, key, error))?;
        let signer = Signer {
            id: credentials.access_key_id(),
            secret: credentials.secret_access_key(),
            session: credentials.session_token(),
            region: region.as_ref(),
        };
        let fields = signer
            .fields(&self.bucket, key, size, Timestamp::now(), valid)
            .map_err(|error| refused(error.to_string()))?;
        Ok(PostForm {
            url: self.url().await?,
            fields,
        })
    }

    async fn begin(&self, key: &str) -> Result<String, AwsError> {
        const OPERATION: &str = "CreateMultipartUpload";
        self.client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, key, &error))?
            .upload_id
            .ok_or_else(|| {
                AwsError::unexpected_response(OPERATION, key, "the response has no upload id")
            })
    }

    async fn part_url(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        bytes: u64,
        valid: Duration,
    ) -> Result<String, AwsError> {
        let length = i64::try_from(bytes).map_err(|error| AwsError::refused(SIGN, key, error))?;
        let signed = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number)
            .content_length(length)
            .presigned(expires_in(valid)?)
            .await
            .map_err(|error| AwsError::from_sdk(SIGN, key, &error))?;
        Ok(signed.uri().to_owned())
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[(i32, String)],
    ) -> Result<bool, AwsError> {
        let parts = parts.iter().map(|(number, etag)| {
            CompletedPart::builder()
                .part_number(*number)
                .e_tag(etag)
                .build()
        });
        let upload = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .multipart_upload(upload)
            .send()
            .await;
        let is_invalid = |code: &str| INVALID_PARTS.contains(&code);
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(is_invalid) => Ok(false),
            Err(error) => Err(AwsError::from_sdk("CompleteMultipartUpload", key, &error)),
        }
    }

    async fn latest(&self, key: &str) -> Result<Option<Stored>, AwsError> {
        const OPERATION: &str = "HeadObject";
        let answer = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        match answer {
            Ok(head) => Ok(Some(Stored {
                version: self.version(key, head.version_id)?,
                size: head
                    .content_length
                    .and_then(|length| u64::try_from(length).ok())
                    .ok_or_else(|| {
                        AwsError::unexpected_response(OPERATION, key, "no content length")
                    })?,
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(AwsError::from_sdk(OPERATION, key, &error)),
        }
    }
}

/// Returns whether the object does not exist. A response to HEAD has no body and therefore no error code.
fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| response.status().as_u16() == 404)
}

fn expires_in(valid: Duration) -> Result<PresigningConfig, AwsError> {
    PresigningConfig::expires_in(valid).map_err(|error| AwsError::refused(SIGN, "a URL", error))
}

/// The credentials that sign a form.
struct Signer<'a> {
    id: &'a str,
    secret: &'a str,
    session: Option<&'a str>,
    region: &'a str,
}

impl Signer<'_> {
    /// Returns the fields of a form whose policy allows only this key and size.
    ///
    /// See <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>.
    fn fields(
        &self,
        bucket: &str,
        key: &str,
        size: u64,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BTreeMap<String, String>, jiff::Error> {
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &time[..8];
        let credential = format!("{}/{day}/{}/s3/aws4_request", self.id, self.region);
        let mut fields: BTreeMap<String, String> = [
            ("key", key),
            ("success_action_status", "201"),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", &time),
        ]
        .into_iter()
        .chain(self.session.map(|token| ("x-amz-security-token", token)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let mut conditions = vec![
            json!({ "bucket": bucket }),
            json!(["content-length-range", size, size]),
        ];
        conditions.extend(fields.iter().map(|(name, value)| json!({ name: value })));
        let until = now.checked_add(valid)?;
        let policy = json!({
            "expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "conditions": conditions,
        });
        let policy = STANDARD.encode(policy.to_string());
        let signing_key =
            generate_signing_key(self.secret, SystemTime::from(now), self.region, "s3");
        let signature = calculate_signature(signing_key, policy.as_bytes());
        fields.insert("policy".to_owned(), policy);
        fields.insert("x-amz-signature".to_owned(), signature);
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_allows_one_key_and_size_until_it_expires() {
        let signer = Signer {
            id: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session: Some("session"),
            region: "us-east-1",
        };
        let now = "2026-11-20T08:30:00Z".parse().unwrap();
        let fields = signer
            .fields("inbox", "products/a.csv", 12, now, Duration::from_hours(1))
            .unwrap();
        let policy = STANDARD.decode(&fields["policy"]).unwrap();
        let policy: serde_json::Value = serde_json::from_slice(&policy).unwrap();
        assert_eq!(policy["expiration"], "2026-11-20T09:30:00Z");
        let conditions = policy["conditions"].as_array().unwrap();
        for condition in [
            json!({ "bucket": "inbox" }),
            json!({ "key": "products/a.csv" }),
            json!(["content-length-range", 12, 12]),
            json!({ "x-amz-security-token": "session" }),
        ] {
            assert!(conditions.contains(&condition), "{condition}");
        }
        // S3 refuses a form with a field that no condition covers.
        for name in fields.keys() {
            let named = conditions
                .iter()
                .any(|condition| condition[name] == fields[name].as_str());
            assert!(
                named || matches!(name.as_str(), "policy" | "x-amz-signature"),
                "{name}"
            );
        }
    }

    #[test]
    fn the_signature_matches_the_example_in_the_documentation() {
        // "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)": the policy as documented.
        let day = "2015-12-29T00:00:00Z".parse::<Timestamp>().unwrap();
        let key = generate_signing_key(
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            SystemTime::from(day),
            "us-east-1",
            "s3",
        );
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        assert_eq!(
            calculate_signature(key, policy.as_bytes()),
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        );
    }
}
