//! The text of objects, whether they are packed or not.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use landfall_domain::{ByteRange, Content, Packed};

use crate::{AwsError, Objects};

/// Parts that one read requests at the same time.
const PARTS_AT_ONCE: usize = 4;
const MEDIA_TYPE: &str = "application/octet-stream";

/// Reads the text of objects. What a packed object unpacks to is in parts in the work bucket.
#[derive(Clone)]
pub struct Contents {
    objects: Arc<dyn Objects>,
    work_bucket: String,
}

impl Contents {
    /// Returns the text of these objects, with the parts of packed ones in this bucket.
    pub fn new(objects: Arc<dyn Objects>, work_bucket: impl Into<String>) -> Self {
        Self {
            objects,
            work_bucket: work_bucket.into(),
        }
    }

    /// Reads a range of the text of an object, all of it or an error.
    ///
    /// # Errors
    /// [`AwsError::Gone`] if the object no longer exists, and [`AwsError::Expired`] if its unpacked text does not.
    pub async fn read(&self, content: Content<'_>, range: ByteRange) -> Result<Bytes, AwsError> {
        let Some(packed) = content.packed else {
            return self.objects.read(content.object, range).await;
        };
        let read = |(part, within): (u64, ByteRange)| {
            let key = packed.part_key(part);
            async move {
                let bytes = self.objects.read_latest(&self.work_bucket, &key, within);
                bytes.await.map_err(|error| match error {
                    AwsError::Gone(_) => AwsError::Expired(content.object.key.clone()),
                    error => error,
                })
            }
        };
        let mut parts = stream::iter(packed.parts(range).map(read)).buffered(PARTS_AT_ONCE);
        let Some(first) = parts.try_next().await? else {
            return Ok(Bytes::new());
        };
        // Most ranges lie in one part, or they are chunks, whose size fits in memory.
        let Ok(length) = usize::try_from(range.len()) else {
            let reason = "the range does not fit in memory";
            return Err(AwsError::refused("reading", &content.object.key, reason));
        };
        if first.len() == length {
            return Ok(first);
        }
        let mut text = BytesMut::with_capacity(length);
        text.extend_from_slice(&first);
        drop(first);
        while let Some(part) = parts.try_next().await? {
            text.extend_from_slice(&part);
        }
        Ok(text.freeze())
    }

    /// Stores a part of the text of a packed object. It can be repeated, as the part is always the same.
    pub async fn store_part(
        &self,
        packed: &Packed,
        part: u64,
        text: Bytes,
    ) -> Result<(), AwsError> {
        let key = packed.part_key(part);
        let written = self
            .objects
            .write(&self.work_bucket, &key, MEDIA_TYPE, text);
        written.await
    }
}
