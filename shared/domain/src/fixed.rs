//! Fixed rejects: how they reach the inbox, and how each row keeps the place of its record.
//!
//! A line of rejects says where its record is. With its `record` fixed, and the rest unchanged, it becomes a row with
//! the version that the record would have had. It therefore never overwrites a newer row.
//!
//! Objects with fixed rejects have keys like `products/_rejects/<job>/<name>.ndjson`. Anybody may upload
//! under such a key: the job must belong to the same dataset, and each line must name a place in its object.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::dataset::Format;
use crate::excerpt::excerpt;
use crate::job::{JobId, ObjectRef};
use crate::reject::RejectCode;

/// The second segment of keys of objects with fixed rejects.
const SEGMENT: &str = "_rejects";
/// The maximum number of bytes in a line of fixed rejects.
pub const MAX_FIXED_BYTES: u64 = 8 * 1024 * 1024;

/// The job whose rejects are fixed, and its object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsOrigin {
    /// The job.
    pub job: JobId,
    /// Its object.
    pub object: ObjectRef,
    /// Whether the object is packed, so that its text has another size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_packed: bool,
}

impl RejectsOrigin {
    /// Returns a key for an object with fixed rejects of a job.
    pub fn new_key(dataset: &str, job: JobId, id: Uuid) -> String {
        format!("{dataset}/{SEGMENT}/{job}/{id}.ndjson")
    }

    /// Returns whether a key is reserved for fixed rejects, even if it names no job.
    pub fn is_key(key: &str) -> bool {
        key.split('/').nth(1) == Some(SEGMENT)
    }

    /// Returns the job that a key of fixed rejects names.
    pub fn job_of(key: &str) -> Option<JobId> {
        let segments: Vec<&str> = key.split('/').collect();
        let [_, SEGMENT, job, name] = segments[..] else {
            return None;
        };
        let id: JobId = job.parse().ok()?;
        (id.to_string() == job && !name.is_empty()).then_some(id)
    }
}

/// A line of rejects, as it is handed in again.
#[derive(Debug, Deserialize)]
pub struct FixedReject<'a> {
    #[serde(borrow)]
    bucket: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(default, borrow)]
    version: Option<Cow<'a, str>>,
    job: Option<JobId>,
    /// Byte offset of the record in the object.
    pub offset: u64,
    /// Line of the record in the object.
    pub line: u64,
    /// Why the record was rejected.
    pub code: RejectCode,
    /// Format of the object.
    pub format: Option<Format>,
    #[serde(default, borrow)]
    record: Option<&'a RawValue>,
}

/// Why a line is not a fixed reject of a job.
#[derive(Debug, thiserror::Error)]
pub enum FixedRejectError {
    /// It lacks the place of its record, or is not JSON.
    #[error(
        "the line is not one of the rejects ({0}): keep it as it was downloaded, and fix only its \"record\""
    )]
    Line(#[from] serde_json::Error),
    /// Its record is in another object.
    #[error("the record is in another file, {key:?}, and not in that of job {job}")]
    OtherJob {
        /// The key of the object.
        key: String,
        /// The job whose rejects are fixed.
        job: JobId,
    },
    /// The object does not have this offset.
    #[error("offset {offset} is beyond the {size} bytes of the file")]
    Offset {
        /// The offset.
        offset: u64,
        /// The size of the object.
        size: u64,
    },
    /// The record was never split into columns.
    #[error(
        "the line has no \"record\", because it could not be divided into columns: add one, a JSON object with the \
         columns, or remove the line"
    )]
    NoRecord,
    /// The record has no names.
    #[error("\"record\" is not a JSON object")]
    NoObject,
}

impl<'a> FixedReject<'a> {
    /// Parses a line, and checks that its record is in the object of a job.
    pub fn parse(line: &'a str, origin: &RejectsOrigin) -> Result<Self, FixedRejectError> {
        let reject: Self = serde_json::from_str(line)?;
        let RejectsOrigin { job, object, .. } = origin;
        let is_of_object = reject.bucket == object.bucket
            && reject.key == object.key
            && reject.version.as_deref() == object.version.as_deref();
        if !is_of_object || reject.job.is_some_and(|other| other != *job) {
            return Err(FixedRejectError::OtherJob {
                key: excerpt(&reject.key),
                job: *job,
            });
        }
        let (offset, size) = (reject.offset, object.size);
        if offset >= size && !origin.is_packed {
            return Err(FixedRejectError::Offset { offset, size });
        }
        let record = reject.record.ok_or(FixedRejectError::NoRecord)?;
        if !record.get().starts_with('{') {
            return Err(FixedRejectError::NoObject);
        }
        Ok(reject)
    }

    /// Returns the text of the fixed record, which is a JSON object.
    pub fn record(&self) -> &'a str {
        self.record.map_or("{}", RawValue::get)
    }

    /// Returns whether strings of the record are cells of CSV or TSV.
    pub fn has_cells(&self) -> bool {
        matches!(self.format, Some(Format::Csv | Format::Tsv))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> RejectsOrigin {
        RejectsOrigin {
            job: JobId::for_object("inbox", "products/1.csv", "v1"),
            object: ObjectRef {
                bucket: "inbox".to_owned(),
                key: "products/1.csv".to_owned(),
                version: Some("v1".to_owned()),
                etag: String::new(),
                size: 100,
            },
            is_packed: false,
        }
    }

    #[test]
    fn only_keys_that_name_a_job_are_of_fixed_rejects() {
        let job = origin().job;
        let key = RejectsOrigin::new_key("products", job, Uuid::nil());
        assert!(RejectsOrigin::is_key(&key));
        assert_eq!(RejectsOrigin::job_of(&key), Some(job));
        let simple = job.to_string().replace('-', "");
        for (key, reserved) in [
            (format!("products/{job}/1.ndjson"), false),
            (format!("_rejects/{job}/1.ndjson"), false),
            (format!("products/x/_rejects/{job}/1.ndjson"), false),
            ("products/_rejects/1.ndjson".to_owned(), true),
            (format!("products/_rejects/{job}"), true),
            (format!("products/_rejects/{job}/"), true),
            (format!("products/_rejects/{simple}/1.ndjson"), true),
            (format!("products/_rejects/{job}/x/1.ndjson"), true),
        ] {
            assert_eq!(RejectsOrigin::is_key(&key), reserved, "{key}");
            assert_eq!(RejectsOrigin::job_of(&key), None, "{key}");
        }
    }

    #[test]
    fn a_line_must_have_a_place_in_the_object_of_the_job() {
        let line = serde_json::json!({
            "bucket": "inbox", "key": "products/1.csv", "version": "v1", "offset": 99, "line": 2,
            "code": "type", "message": "", "raw": "a,x", "raw_bytes": 3, "record": {"sku": "a"},
        });
        let parse = |line: &serde_json::Value| {
            let parsed = FixedReject::parse(&line.to_string(), &origin())
                .map(|reject| (reject.offset, reject.record().to_owned()));
            parsed.map_err(|error| error.to_string())
        };
        assert_eq!(parse(&line), Ok((99, r#"{"sku":"a"}"#.to_owned())));
        for (name, value, message) in [
            ("bucket", "other".into(), "in another file"),
            ("key", "products/2.csv".into(), "\"products/2.csv\""),
            ("version", "v2".into(), "in another file"),
            ("version", serde_json::Value::Null, "in another file"),
            ("job", Uuid::nil().to_string().into(), "in another file"),
            ("offset", 100.into(), "offset 100 is beyond the 100 bytes"),
            ("offset", (-1).into(), "keep it as it was downloaded"),
            ("record", serde_json::Value::Null, "add one"),
            ("record", "a".into(), "not a JSON object"),
        ] {
            let mut changed = line.clone();
            changed[name] = value;
            let error = parse(&changed).unwrap_err();
            assert!(error.contains(message), "{name}: {error}");
        }
        let bare = parse(&line["record"]).unwrap_err();
        assert!(bare.contains("keep it as it was downloaded"), "{bare}");
    }
}
