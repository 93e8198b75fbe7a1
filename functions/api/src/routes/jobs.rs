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

use super::paging::{from_cursor, invalid_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

const DEFAULT_JOBS: u32 = 20;
const MAX_JOBS: u32 = 100;
/// Jobs whose progress is read concurrently.
const CONCURRENT_READS: usize = 8;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsParams {
    /// Only jobs of this dataset.
    dataset: Option<String>,
    /// Only jobs in this state.
    #[param(inline)]
    state: Option<JobState>,
    /// The maximum number of jobs.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the previous page.
    cursor: Option<String>,
}

/// A page of jobs, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobsPage {
    /// May be fewer than the limit, or none, even if more pages follow.
    jobs: Vec<JobView>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// List jobs, newest first
///
/// A job that started less than a second ago may be missing.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(JobsParams),
    responses((status = 200, description = "A page of jobs", body = JobsPage), CommonErrors, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Query(params): Query<JobsParams>,
) -> Result<Json<JobsPage>, ApiError> {
    let datasets = match params.dataset {
        None => caller.readable()?,
        Some(dataset) => {
            caller.require(Scope::Read, &dataset)?;
            // No job has an empty name, and an index does not accept it as a key.
            let names = Some(dataset).filter(|name| !name.is_empty());
            Some(Vec::from_iter(names))
        }
    };
    let after: Option<JobsCursor> = params.cursor.as_deref().map(from_cursor).transpose()?;
    if let Some(after) = &after
        && after.created_at.parse::<Timestamp>().is_err()
    {
        return Err(invalid_cursor());
    }
    let query = JobsQuery {
        datasets,
        state: params.state,
        limit: limit(params.limit, DEFAULT_JOBS, MAX_JOBS)? as usize,
        after,
    };
    let page = context.jobs.jobs(&query).await?;
    let index = &*context.jobs;
    let jobs = stream::iter(page.heads)
        .map(|head| async move { JobView::read(index, &head).await })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    Ok(Json(JobsPage {
        jobs,
        next: page.next.as_ref().map(to_cursor).transpose()?,
    }))
}

/// Get a job
///
/// A job exists within seconds of its file. Until then the response is 404 with `Retry-After`, and also if the token
/// does not cover the job's dataset.
#[utoipa::path(
    get,
    path = "/jobs/{job}",
    operation_id = "get_job",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job", format = "uuid")),
    responses((status = 200, description = "The job", body = JobView), CommonErrors, Forbidden, DatasetErrors)
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<JobView>, ApiError> {
    let head = head_of(&context, &caller, &id).await?;
    Ok(Json(JobView::read(&*context.jobs, &head).await?))
}

/// Returns the head of a job, if the token covers it.
pub(super) async fn head_of(
    context: &Context,
    caller: &Caller,
    id: &str,
) -> Result<JobHead, ApiError> {
    head_for(context, caller, id, Scope::Read).await
}

/// Returns the head of a job, if the token has the scope and covers the job.
pub(super) async fn head_for(
    context: &Context,
    caller: &Caller,
    id: &str,
    scope: Scope,
) -> Result<JobHead, ApiError> {
    // Checks the scope only: whether jobs of other datasets exist is not disclosed.
    if !caller.0.has(scope) {
        return Err(ApiError::Scope(scope));
    }
    let id: JobId = id
        .parse()
        .map_err(|_| ApiError::Invalid("the job's id must be a UUID".to_owned()))?;
    let head = context.jobs.head(id).await?.ok_or(ApiError::NoJob)?;
    if !caller.0.allows(scope, head.object.dataset_name()) {
        return Err(ApiError::NoJob);
    }
    Ok(head)
}
