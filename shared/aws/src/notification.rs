use aws_lambda_events::event::s3::S3EventRecord;
use jiff::Timestamp;
use landfall_domain::{JobId, ObjectOrder, ObjectRef, VersionError};
use percent_encoding::percent_decode_str;

/// An S3 notification of a created object, as plain values.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectCreated {
    /// The object.
    pub object: ObjectRef,
    /// Its job.
    pub job: JobId,
    /// Its position in the order of objects.
    pub order: ObjectOrder,
    /// When it was created.
    pub time: Timestamp,
}

/// A notification that lacks something, or is invalid.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// A required part is missing.
    #[error("the notification has no {0}")]
    Missing(&'static str),
    /// The key is not form-encoded UTF-8.
    #[error("the key of the notification is not form-encoded UTF-8")]
    Key,
    /// The size is negative.
    #[error("the size in the notification is negative: {0}")]
    Size(i64),
    /// The event time or the sequencer is invalid.
    #[error("the S3 notification cannot be ordered: {0}")]
    Order(#[from] VersionError),
}

impl TryFrom<S3EventRecord> for ObjectCreated {
    type Error = NotificationError;

    fn try_from(record: S3EventRecord) -> Result<Self, Self::Error> {
        use NotificationError::Missing;

        let entity = record.s3.object;
        let bucket = record.s3.bucket.name.ok_or(Missing("bucket name"))?;
        // `url_decoded_key` of the crate leaves `+` as it is.
        let key = decode(&entity.key.ok_or(Missing("object key"))?)?;
        let etag = entity.e_tag.unwrap_or_default();
        let etag = etag.trim_matches('"').to_owned();
        let sequencer = entity.sequencer.unwrap_or_default();
        let size = entity.size.ok_or(Missing("object size"))?;
        let version = entity
            .version_id
            .filter(|version| !version.is_empty() && version != "null");
        if etag.is_empty() && version.is_none() {
            return Err(Missing("version id and no ETag"));
        }
        let object = ObjectRef {
            size: u64::try_from(size).map_err(|_| NotificationError::Size(size))?,
            bucket,
            key,
            version,
            etag,
        };
        // Without version ids, only the sequencer distinguishes two uploads of the same bytes.
        let named = match &object.version {
            Some(version) => version.clone(),
            None => format!("{}/{sequencer}", object.etag),
        };
        let job = JobId::for_object(&object.bucket, &object.key, &named);
        let time_ms = record.event_time.timestamp_millis();
        Ok(Self {
            order: ObjectOrder::new(time_ms, &sequencer, job)?,
            time: Timestamp::from_millisecond(time_ms).map_err(|_| VersionError::Time(time_ms))?,
            object,
            job,
        })
    }
}

/// Decodes a key, which is form-encoded: `+` is a space, and `%2B` is a plus sign.
fn decode(key: &str) -> Result<String, NotificationError> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| NotificationError::Key)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::s3::S3Event;

    use super::*;

    fn notification(key: &str, version: &str) -> ObjectCreated {
        let sample = include_str!("../../../events/s3-object-created.json");
        let mut event: serde_json::Value = serde_json::from_str(sample).unwrap();
        let object = &mut event["Records"][0]["s3"]["object"];
        object["key"] = key.into();
        object["versionId"] = version.into();
        let mut event: S3Event = serde_json::from_value(event).unwrap();
        event.records.remove(0).try_into().unwrap()
    }

    #[test]
    fn keys_are_form_decoded() {
        let created = notification("products/a+b%2Bc%25+%C3%A9%27%22.csv", "v1");
        assert_eq!(created.object.key, "products/a b+c% é'\".csv");
        assert_eq!(created.object.dataset_name(), Some("products"));
    }

    #[test]
    fn each_version_is_a_job() {
        let first = notification("products/a.csv", "v1");
        assert_eq!(first, notification("products/a.csv", "v1"));
        assert_ne!(first.job, notification("products/a.csv", "v2").job);
        assert_eq!(notification("products/a.csv", "null").object.version, None);
    }
}
