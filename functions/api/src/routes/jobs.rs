use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_domain::{JobId, JobState};
use landfall_ledger::{JobHead, JobView, JobsCursor, JobsQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{MAX_LISTED, from_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::openapi::{Forbidden, OfDataset, Refused};
use crate::{ApiError, Context};

const DEFAULT_JOBS: u32 = 20;
/// Jobs whose progress is read at the same time.
const AT_ONCE: usize = 8;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsParams {
    /// Jobs of this dataset alone.
    dataset: Option<String>,
    /// Jobs in this state alone.
    #[param(inline)]
    state: Option<JobState>,
    /// The most jobs.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Some jobs, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobsPage {
    /// May be fewer than asked for, or none, also where more follow.
    jobs: Vec<JobView>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// Jobs, newest first
///
/// A job that began less than a second ago may still be missing.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(JobsParams),
    responses((status = 200, description = "Some jobs", body = JobsPage), Refused, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Query(params): Query<JobsParams>,
) -> Result<Json<JobsPage>, ApiError> {
    let datasets = match params.dataset {
        None => caller.readable()?,
        Some(dataset) => {
            caller.may(Scope::Read, &dataset)?;
            // The empty name is no key of an index, and no job's.
            Some(
                Some(dataset)
                    .filter(|name| !name.is_empty())
                    .into_iter()
                    .collect(),
            )
        }
    };
    let after: Option<JobsCursor> = params.cursor.as_deref().map(from_cursor).transpose()?;
    if let Some(after) = &after
        && after.created_at.parse::<Timestamp>().is_err()
    {
        return Err(ApiError::Invalid(
            "the cursor is not one of this list: start again without one".into(),
        ));
    }
    let query = JobsQuery {
        datasets,
        state: params.state,
        limit: limit(params.limit, DEFAULT_JOBS, MAX_LISTED)? as usize,
        after,
    };
    let page = context.jobs.jobs(&query).await?;
    let index = &*context.jobs;
    let jobs = stream::iter(page.heads)
        .map(|head| async move { JobView::read(index, &head).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(JobsPage {
        jobs,
        next: page.next.as_ref().map(to_cursor).transpose()?,
    }))
}

/// A job
///
/// Not there until its file has been seen, which takes seconds at most: until then 404 comes with `Retry-After`.
/// The same comes for a job of a dataset that the token is not for.
#[utoipa::path(
    get,
    path = "/jobs/{job}",
    operation_id = "get_job",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    responses((status = 200, description = "The job", body = JobView), Refused, OfDataset)
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<JobView>, ApiError> {
    let head = head_of(&context, &caller, &id).await?;
    Ok(Json(JobView::read(&*context.jobs, &head).await?))
}

/// The head of a job that the caller may see.
pub(super) async fn head_of(
    context: &Context,
    caller: &Caller,
    id: &str,
) -> Result<JobHead, ApiError> {
    // Of the scope alone: whether there are jobs of other datasets is not told.
    caller.readable()?;
    let id: JobId = id
        .parse()
        .map_err(|_| ApiError::Invalid("the id of a job is a UUID".to_owned()))?;
    let head = context.jobs.head(id).await?.ok_or(ApiError::NoJob)?;
    if !caller.0.may(Scope::Read, head.object.dataset_name()) {
        return Err(ApiError::NoJob);
    }
    Ok(head)
}
