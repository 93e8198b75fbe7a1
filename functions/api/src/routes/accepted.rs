//! The response to rows and files that were stored in the inbox.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use landfall_aws::Stored;
use landfall_domain::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Context;

/// A file in the inbox, and its job.
#[derive(Serialize, ToSchema)]
#[schema(as = Taken)]
pub(crate) struct Accepted {
    /// The job that ingests the file. It starts within seconds.
    job: JobId,
    object: AcceptedObject,
    /// The path of the job, relative to the address of the API.
    status_url: String,
}

/// A version of an object in the inbox.
#[derive(Serialize, ToSchema)]
#[schema(as = TakenObject)]
struct AcceptedObject {
    bucket: String,
    key: String,
    version: String,
    /// Bytes.
    size: u64,
}

impl Accepted {
    /// Returns the response for a stored object. `root` is the relative path from the route to the root of the API,
    /// which holds whatever prefix a gateway has added to the path.
    pub(super) fn response(context: &Context, root: &str, key: String, stored: Stored) -> Response {
        let bucket = context.settings.inbox_bucket.clone();
        let job = JobId::for_object(&bucket, &key, &stored.version);
        let accepted = Self {
            job,
            object: AcceptedObject {
                bucket,
                key,
                version: stored.version,
                size: stored.size,
            },
            status_url: format!("/jobs/{job}"),
        };
        let location = [(header::LOCATION, format!("{root}jobs/{job}"))];
        // For the log.
        let job = Extension(job);
        (StatusCode::ACCEPTED, location, job, Json(accepted)).into_response()
    }
}
