//! Buckets in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use landfall_aws::{AwsError, Inbox, Listed, Objects, PostForm, Stored};
use landfall_domain::{ByteRange, ObjectRef};

/// Buckets, with all versions of objects in the inbox.
#[derive(Default)]
pub(crate) struct Buckets {
    pub(crate) objects: Mutex<BTreeMap<(String, String), Bytes>>,
    versions: AtomicUsize,
    /// All texts that were put, by version.
    texts: Mutex<Vec<((String, String), Bytes)>>,
    /// Whether the function lacks the permission to join parts.
    pub(crate) is_denied: AtomicBool,
}

impl Buckets {
    pub(crate) fn put_text(&self, bucket: &str, key: &str, text: &str) {
        self.put_bytes(bucket, key, Bytes::from(text.to_owned()));
    }

    fn put_bytes(&self, bucket: &str, key: &str, bytes: Bytes) {
        let place = (bucket.to_owned(), key.to_owned());
        let text = (place.clone(), bytes.clone());
        self.texts.lock().unwrap().push(text);
        self.objects.lock().unwrap().insert(place, bytes);
    }

    /// Returns the latest version of a text.
    pub(crate) fn version(&self, bucket: &str, key: &str) -> Option<String> {
        let texts = self.texts.lock().unwrap();
        let is_it = |((of, name), _): &((String, String), Bytes)| of == bucket && name == key;
        texts.iter().rposition(is_it).map(|at| at.to_string())
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let place = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().get(&place).cloned()
    }
}

#[async_trait]
impl Objects for Buckets {
    async fn read(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError> {
        let bytes = self.get(&object.bucket, &object.key);
        let bytes = bytes.ok_or_else(|| AwsError::Gone(object.key.clone()))?;
        let at = |place: u64| usize::try_from(place).unwrap();
        Ok(bytes.slice(at(range.start)..at(range.end)))
    }

    async fn read_latest(
        &self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Bytes, AwsError> {
        let bytes = self.get(bucket, key);
        let bytes = bytes.ok_or_else(|| AwsError::Gone(key.to_owned()))?;
        let at = |place: u64| usize::try_from(place).unwrap();
        Ok(bytes.slice(at(range.start)..at(range.end)))
    }

    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        _: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        let version = version.map(ToOwned::to_owned);
        let version = version.or_else(|| self.version(bucket, key));
        let found = match &version {
            Some(version) => {
                let at: usize = version.parse().unwrap();
                Some(self.texts.lock().unwrap()[at].1.clone())
            }
            None => self.get(bucket, key),
        };
        Ok(found.map(|bytes| (String::from_utf8(bytes.to_vec()).unwrap(), version)))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, AwsError> {
        let objects = self.objects.lock().unwrap();
        let listed = objects.iter().filter(|((of, key), _)| {
            of == bucket && key.starts_with(prefix) && after.is_none_or(|after| &**key > after)
        });
        Ok(listed
            .map(|((_, key), bytes)| Listed {
                key: key.clone(),
                etag: String::new(),
                size: bytes.len() as u64,
            })
            .collect())
    }

    async fn write(&self, bucket: &str, key: &str, _: &str, body: Bytes) -> Result<(), AwsError> {
        self.put_bytes(bucket, key, body);
        Ok(())
    }

    async fn create(
        &self,
        bucket: &str,
        key: &str,
        _: &str,
        body: Bytes,
    ) -> Result<bool, AwsError> {
        let is_new = self.get(bucket, key).is_none();
        if is_new {
            self.put_bytes(bucket, key, body);
        }
        Ok(is_new)
    }
}

#[async_trait]
impl Inbox for Buckets {
    async fn put(&self, key: &str, _: &str, body: Bytes) -> Result<Stored, AwsError> {
        let size = body.len() as u64;
        self.put_bytes("inbox", key, body);
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        Ok(Stored {
            version: format!("v{version}"),
            size,
        })
    }

    async fn post_form(&self, key: &str, size: u64, _: Duration) -> Result<PostForm, AwsError> {
        let fields = [
            ("key".to_owned(), key.to_owned()),
            ("size".to_owned(), size.to_string()),
        ];
        Ok(PostForm {
            url: "http://inbox".to_owned(),
            fields: fields.into(),
        })
    }

    async fn begin(&self, key: &str) -> Result<String, AwsError> {
        Ok(format!("upload of {key}"))
    }

    async fn part_url(
        &self,
        key: &str,
        _: &str,
        number: i32,
        bytes: u64,
        _: Duration,
    ) -> Result<String, AwsError> {
        Ok(format!("http://inbox/{key}?number={number}&bytes={bytes}"))
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[(i32, String)],
    ) -> Result<bool, AwsError> {
        if self.is_denied.load(Ordering::Relaxed) {
            let operation = "CompleteMultipartUpload";
            return Err(AwsError::refused(operation, key, "AccessDenied"));
        }
        if upload_id != format!("upload of {key}") || self.get("inbox", key).is_some() {
            return Ok(false);
        }
        let etags: Vec<&str> = parts.iter().map(|(_, etag)| etag.as_str()).collect();
        self.put_text("inbox", key, &etags.join("+"));
        Ok(true)
    }

    async fn latest(&self, key: &str) -> Result<Option<Stored>, AwsError> {
        Ok(self.get("inbox", key).map(|bytes| Stored {
            version: "v1".to_owned(),
            size: bytes.len() as u64,
        }))
    }
}
