use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_aws::SourceLookup;
use landfall_domain::{excerpt, is_name};
use landfall_ledger::{Pause, RunView, SourceView};
use landfall_sources::Source;
use serde::Serialize;
use utoipa::ToSchema;

use super::paging::{PageParams, from_cursor, invalid_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, Forbidden, SourceErrors};
use crate::{ApiError, Context};

const DEFAULT_ENTRIES: u32 = 20;
const MAX_ENTRIES: u32 = 100;
/// Sources that are read concurrently.
const CONCURRENT_READS: usize = 8;

/// A page of sources, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct SourcesPage {
    /// May be fewer than the limit, or none, even if more pages follow.
    sources: Vec<SourceView>,
    /// Invalid definitions, for tokens that cover all datasets.
    broken: Vec<BrokenSource>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// An invalid definition.
#[derive(Serialize, ToSchema)]
struct BrokenSource {
    /// Name of the source.
    name: String,
    /// File, line, setting and error.
    message: String,
}

/// A page of runs, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunsPage {
    /// Those that are over, of the last 30 days.
    runs: Vec<RunView>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// Whether a source is paused.
#[derive(Serialize, ToSchema)]
pub(crate) struct SourcePause {
    source: String,
    /// Who paused it, and when; null if it is not paused.
    paused: Option<Pause>,
}

/// A run that was requested.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunRequest {
    source: String,
    /// When; RFC 3339.
    requested_at: String,
}

/// List the sources of the datasets that the token covers
#[utoipa::path(
    get,
    path = "/sources",
    operation_id = "list_sources",
    tag = "sources",
    params(PageParams),
    responses((status = 200, description = "A page of sources", body = SourcesPage), CommonErrors, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Query(params): Query<PageParams>,
) -> Result<Json<SourcesPage>, ApiError> {
    caller.require_scope(Scope::Read)?;
    let limit = limit(params.limit, DEFAULT_ENTRIES, MAX_ENTRIES)? as usize;
    let after: Option<String> = params.cursor.as_deref().map(from_cursor).transpose()?;
    if after.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(invalid_cursor());
    }
    let listed = context.sources.list(after.as_deref()).await?;
    let mut names: Vec<String> = listed.into_iter().map(|listed| listed.name).collect();
    let has_more = names.len() > limit;
    names.truncate(limit);
    let next = names.last().filter(|_| has_more).map(to_cursor);
    let next = next.transpose()?;
    let (context, caller) = (&context, &caller);
    let found: Vec<_> = stream::iter(names)
        .map(|name| async move {
            let entry = entry(context, caller, &name).await?;
            Ok::<_, ApiError>((name, entry))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    let mut page = SourcesPage {
        sources: Vec::new(),
        broken: Vec::new(),
        next,
    };
    for (name, entry) in found {
        match entry {
            Some(Ok(source)) => page.sources.push(source),
            Some(Err(message)) => page.broken.push(BrokenSource { name, message }),
            None => {}
        }
    }
    Ok(Json(page))
}

/// Returns a source or what is wrong with its definition, if the token covers it.
async fn entry(
    context: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Option<Result<SourceView, String>>, ApiError> {
    let lookup = context.sources.lookup(name, &context.datasets).await?;
    Ok(match lookup {
        SourceLookup::Found(source, problem) if caller.0.covers(&source.dataset) => {
            let view = SourceView::read(&*context.source_records, &source, problem).await?;
            Some(Ok(view))
        }
        SourceLookup::Bad(error) if caller.0.allows(Scope::Read, None) => {
            Some(Err(error.to_string()))
        }
        // Of another dataset, or deleted after the names were listed.
        SourceLookup::Found(..) | SourceLookup::Bad(_) | SourceLookup::Unknown => None,
    })
}

/// Returns the definition of a source, and why its dataset cannot get its records, if the token has the scope and
/// covers the dataset.
async fn source_for(
    context: &Context,
    caller: &Caller,
    name: &str,
    scope: Scope,
) -> Result<(Box<Source>, Option<String>), ApiError> {
    // Checks the scope only: whether sources of other datasets exist is not disclosed.
    caller.require_scope(scope)?;
    match context.sources.lookup(name, &context.datasets).await? {
        SourceLookup::Found(source, problem) if caller.0.covers(&source.dataset) => {
            Ok((source, problem))
        }
        SourceLookup::Bad(error) if caller.0.allows(scope, None) => Err(ApiError::Conflict(
            format!("the definition of the source is invalid: {error}"),
        )),
        SourceLookup::Found(..) | SourceLookup::Bad(_) | SourceLookup::Unknown => {
            Err(ApiError::NotFound(format!(
                "there is no source {:?}; GET /sources lists all",
                excerpt(name)
            )))
        }
    }
}

/// Get a source
///
/// Its definition without secrets, what it is doing, its last run and the time of the next one. The response is 404
/// also if the token does not cover its dataset.
#[utoipa::path(
    get,
    path = "/sources/{source}",
    operation_id = "get_source",
    tag = "sources",
    params(("source" = String, Path, description = "Name of the source", example = "shop_orders")),
    responses((status = 200, description = "The source", body = SourceView), CommonErrors, Forbidden, SourceErrors)
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<SourceView>, ApiError> {
    let (source, problem) = source_for(&context, &caller, &name, Scope::Read).await?;
    let view = SourceView::read(&*context.source_records, &source, problem).await?;
    Ok(Json(view))
}

/// List the runs of a source, newest first
///
/// They are kept for 30 days. A run that is not over is in the source.
#[utoipa::path(
    get,
    path = "/sources/{source}/runs",
    operation_id = "list_runs",
    tag = "sources",
    params(("source" = String, Path, description = "Name of the source", example = "shop_orders"), PageParams),
    responses((status = 200, description = "A page of runs", body = RunsPage), CommonErrors, Forbidden, SourceErrors)
)]
pub(crate) async fn runs(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(params): Query<PageParams>,
) -> Result<Json<RunsPage>, ApiError> {
    source_for(&context, &caller, &name, Scope::Read).await?;
    let limit = limit(params.limit, DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let before: Option<u64> = params.cursor.as_deref().map(from_cursor).transpose()?;
    let ended = context.source_records.source(&name).await?;
    let ended = ended.record.last_ended();
    let last = before.map_or(ended, |before| before.saturating_sub(1).min(ended));
    let first = last.saturating_sub(u64::from(limit) - 1).max(1);
    let runs = context.source_records.source_runs(&name, first, last);
    let runs: Vec<RunView> = runs.await?.into_iter().map(RunView::from).collect();
    // Runs expire in their order, so nothing is behind a page without any.
    let next = (first > 1 && !runs.is_empty()).then(|| to_cursor(&first));
    Ok(Json(RunsPage {
        runs,
        next: next.transpose()?,
    }))
}

/// Run a source
///
/// A run starts within a minute, or after the one in progress. The time of the next run by schedule stays as it is.
#[utoipa::path(
    post,
    path = "/sources/{source}/run",
    operation_id = "run_source",
    tag = "sources",
    params(("source" = String, Path, description = "Name of the source", example = "shop_orders")),
    responses(
        (status = 202, description = "A run is requested", body = RunRequest),
        CommonErrors, Forbidden, SourceErrors
    )
)]
pub(crate) async fn run(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<(StatusCode, Json<RunRequest>), ApiError> {
    let (_, problem) = source_for(&context, &caller, &name, Scope::Write).await?;
    if let Some(problem) = problem {
        return Err(ApiError::Conflict(problem));
    }
    let stored = context.source_records.source(&name).await?;
    if let Some(pause) = stored.pause {
        let message = format!("the source is paused, by {}: resume it first", pause.by);
        return Err(ApiError::Conflict(message));
    }
    let at = Timestamp::now();
    let requested = context
        .source_records
        .request_source(&name, at.as_millisecond());
    requested.await?;
    let answer = RunRequest {
        source: name,
        requested_at: at.to_string(),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Pause a source
///
/// No run starts until it is resumed. A run in progress is finished. May be repeated.
#[utoipa::path(
    post,
    path = "/sources/{source}/pause",
    operation_id = "pause_source",
    tag = "sources",
    params(("source" = String, Path, description = "Name of the source", example = "shop_orders")),
    responses(
        (status = 200, description = "The source is paused", body = SourcePause),
        CommonErrors, Forbidden, SourceErrors
    )
)]
pub(crate) async fn pause(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<SourcePause>, ApiError> {
    source_for(&context, &caller, &name, Scope::Admin).await?;
    let paused = context.source_records.pause_source(&name, &caller.0.name);
    let paused = Some(paused.await?);
    Ok(Json(SourcePause {
        source: name,
        paused,
    }))
}

/// Resume a source
///
/// A run that was due meanwhile starts within a minute, as `missed` in its definition says. May be repeated.
#[utoipa::path(
    post,
    path = "/sources/{source}/resume",
    operation_id = "resume_source",
    tag = "sources",
    params(("source" = String, Path, description = "Name of the source", example = "shop_orders")),
    responses(
        (status = 200, description = "The source is not paused", body = SourcePause),
        CommonErrors, Forbidden, SourceErrors
    )
)]
pub(crate) async fn resume(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<SourcePause>, ApiError> {
    source_for(&context, &caller, &name, Scope::Admin).await?;
    context.source_records.resume_source(&name).await?;
    Ok(Json(SourcePause {
        source: name,
        paused: None,
    }))
}
