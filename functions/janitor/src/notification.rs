//! Notifications of created objects, in place of those that were lost.

use jiff::Timestamp;
use landfall_aws::ObjectCreated;
use landfall_domain::ObjectRef;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::JanitorError;

/// Returns the S3 event for an object that was created at this time.
pub(crate) fn of_object(object: &ObjectRef, created_at: Timestamp) -> Value {
    let key = utf8_percent_encode(&object.key, NON_ALPHANUMERIC).to_string();
    let mut entity = json!({ "key": key, "size": object.size, "eTag": object.etag });
    if let Some(version) = &object.version {
        entity["versionId"] = version.as_str().into();
    }
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": format!("{created_at:.3}"),
        "userIdentity": {},
        "requestParameters": {},
        "responseElements": {},
        "s3": { "bucket": { "name": object.bucket }, "object": entity },
    }] })
}

/// Returns the object and the job that the splitter finds in the notification.
pub(crate) fn created(event: &Value) -> Result<Vec<ObjectCreated>, JanitorError> {
    let event: aws_lambda_events::event::s3::S3Event =
        serde_json::from_value(event.clone()).map_err(JanitorError::DeadLetter)?;
    let created = event.records.into_iter().map(ObjectCreated::try_from);
    Ok(created.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use landfall_domain::JobId;

    use super::*;

    #[test]
    fn the_splitter_finds_the_same_object_and_job() {
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: "products/a b+c% é'\".csv".to_owned(),
            version: Some("v1".to_owned()),
            etag: "0123".to_owned(),
            size: 7,
        };
        let time: Timestamp = "2026-11-20T08:00:00.5Z".parse().unwrap();
        let [created] = &created(&of_object(&object, time)).unwrap()[..] else {
            panic!("one object");
        };
        assert_eq!(created.object, object);
        let job = JobId::for_object("inbox", &object.key, "v1");
        assert_eq!(created.job, job);
        let order = landfall_domain::ObjectOrder::new(time.as_millisecond(), "", job);
        assert_eq!(created.order, order.unwrap());
    }
}
