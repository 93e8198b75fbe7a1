//! Destinations: what they are, what waits for them, and whether they are paused.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_aws::DestinationLookup;
use landfall_destinations::Destination;
use landfall_domain::{excerpt, is_name};
use landfall_ledger::{DestinationError, DestinationView, Pause, TaskView};
use landfall_stores::{ChangeSummary, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use super::paging::{PageParams, from_cursor, invalid_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, DestinationErrors, Forbidden};
use crate::{ApiError, Context};

const DEFAULT_ENTRIES: u32 = 20;
const MAX_ENTRIES: u32 = 100;
/// Destinations that are read concurrently.
const CONCURRENT_READS: usize = 8;
/// Why nothing is known of a destination whose definition is new.
pub(super) const NEW: &str = "its changes are recorded within a minute of its definition";

/// A page of destinations, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct DestinationsPage {
    /// May be fewer than the limit, or none, even if more pages follow.
    destinations: Vec<DestinationView>,
    /// Invalid definitions, for tokens that cover all datasets.
    broken: Vec<BrokenDestination>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// An invalid definition.
#[derive(Serialize, ToSchema)]
struct BrokenDestination {
    /// Name of the destination.
    name: String,
    /// File, line, setting and error.
    message: String,
}

/// A destination, and what waits for it.
#[derive(Serialize, ToSchema)]
pub(crate) struct DestinationDetails {
    #[serde(flatten)]
    status: DestinationView,
    /// What the paths of all calls are appended to.
    url: String,
    /// The maximum number of calls in any second.
    per_second: f64,
    /// Keys that wait to be sent: those that are due, leased, or due later.
    waiting: u64,
    /// Of these, the keys that are due and not leased.
    due: u64,
    /// Of these, the keys that are leased: they are being sent.
    leased: u64,
    /// Keys whose change was refused for good.
    set_aside: u64,
    /// Keys with a call whose outcome is unknown.
    unknown: u64,
    /// Changes of the dataset, for all its destinations, that no relay has looked at yet; at most 100,000.
    recorded: u64,
    /// When the oldest change was recorded that waits to be sent; RFC 3339.
    oldest_wanted_at: Option<String>,
    /// How long it has been waiting.
    lag_seconds: Option<u64>,
    /// The last errors, newest first.
    last_errors: Vec<DestinationError>,
    /// Redrives and synchronisations that are unfinished or were finished in the last seven days, newest first.
    tasks: Vec<TaskView>,
}

/// Whether a destination is paused.
#[derive(Serialize, ToSchema)]
pub(crate) struct DestinationPause {
    name: String,
    /// Who paused it, and when; null if it is not paused.
    paused: Option<Pause>,
}

/// List the destinations of the datasets that the token covers
#[utoipa::path(
    get,
    path = "/destinations",
    operation_id = "list_destinations",
    tag = "destinations",
    params(PageParams),
    responses((status = 200, description = "A page of destinations", body = DestinationsPage), CommonErrors, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Query(params): Query<PageParams>,
) -> Result<Json<DestinationsPage>, ApiError> {
    caller.require_scope(Scope::Read)?;
    let limit = limit(params.limit, DEFAULT_ENTRIES, MAX_ENTRIES)? as usize;
    let after: Option<String> = params.cursor.as_deref().map(from_cursor).transpose()?;
    if after.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(invalid_cursor());
    }
    let mut names = context.destinations.names(after.as_deref()).await?;
    let has_more = names.len() > limit;
    names.truncate(limit);
    let next = names.last().filter(|_| has_more).map(to_cursor);
    let mut page = DestinationsPage {
        destinations: Vec::new(),
        broken: Vec::new(),
        next: next.transpose()?,
    };
    let (context, caller) = (&context, &caller);
    let found: Vec<_> = stream::iter(names)
        .map(|name| async move {
            let entry = entry(context, caller, &name).await?;
            Ok::<_, ApiError>((name, entry))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    for (name, entry) in found {
        match entry {
            Some(Ok(destination)) => page.destinations.push(destination),
            Some(Err(message)) => page.broken.push(BrokenDestination { name, message }),
            None => {}
        }
    }
    Ok(Json(page))
}

/// Returns a destination or what is wrong with its definition, if the token covers it.
async fn entry(
    context: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Option<Result<DestinationView, String>>, ApiError> {
    let lookup = context.destinations.lookup(name, &context.datasets).await?;
    Ok(match lookup {
        DestinationLookup::Found(found) if caller.0.covers(&found.dataset().name) => {
            let stored = context.destination_records.destination(name).await?;
            let now = (context.clock)();
            Some(Ok(DestinationView::new(&found, &stored, now)))
        }
        DestinationLookup::Bad(error, _) if caller.0.allows(Scope::Read, None) => {
            Some(Err(error.to_string()))
        }
        // Of another dataset, or deleted after the names were listed.
        DestinationLookup::Found(_) | DestinationLookup::Bad(..) | DestinationLookup::Unknown => {
            None
        }
    })
}

/// Returns the definition of a destination, if the token has the scope and covers its dataset.
pub(super) async fn destination_for(
    context: &Context,
    caller: &Caller,
    name: &str,
    scope: Scope,
) -> Result<Box<Destination>, ApiError> {
    // Checks the scope only: whether destinations of other datasets exist is not disclosed.
    caller.require_scope(scope)?;
    match context.destinations.lookup(name, &context.datasets).await? {
        DestinationLookup::Found(found) if caller.0.covers(&found.dataset().name) => Ok(found),
        DestinationLookup::Bad(error, _) if caller.0.allows(scope, None) => {
            Err(ApiError::Conflict(format!(
                "the definition of the destination is invalid: {error}"
            )))
        }
        DestinationLookup::Found(_) | DestinationLookup::Bad(..) | DestinationLookup::Unknown => {
            Err(ApiError::NotFound(format!(
                "there is no destination {:?}; GET /destinations lists all",
                excerpt(name)
            )))
        }
    }
}

/// Counts what is not sent; none if nothing is recorded for the destination yet.
pub(super) async fn summary_of(
    context: &Context,
    destination: &Destination,
    now: Timestamp,
) -> Result<Option<ChangeSummary>, ApiError> {
    let (dataset, name) = (destination.dataset(), &destination.name);
    match context.changes.summary(dataset, name, now).await {
        Ok(summary) => Ok(Some(summary)),
        Err(StoreError::Untracked { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Get a destination
///
/// What waits for it, since when, whether calls are sent, and what went wrong lately. The response is 404 also if the
/// token does not cover its dataset.
#[utoipa::path(
    get,
    path = "/destinations/{destination}",
    operation_id = "get_destination",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop")),
    responses(
        (status = 200, description = "The destination", body = DestinationDetails),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DestinationDetails>, ApiError> {
    let destination = destination_for(&context, &caller, &name, Scope::Read).await?;
    let now = (context.clock)();
    let stored = context.destination_records.destination(&name).await?;
    let tasks = context.destination_records.tasks(&name).await?.tasks;
    let summary = summary_of(&context, &destination, now).await?;
    let mut status = DestinationView::new(&destination, &stored, now);
    if summary.is_none() {
        status.problem.get_or_insert_with(|| NEW.to_owned());
    }
    let summary = summary.unwrap_or_default();
    let oldest = summary.oldest_wanted_at;
    let lag = oldest.map(|oldest| now.duration_since(oldest).as_secs());
    let mut tasks: Vec<TaskView> = tasks.kept(now).map(TaskView::from).collect();
    tasks.reverse();
    Ok(Json(DestinationDetails {
        status,
        url: destination.url().to_string(),
        per_second: destination.limits.per_second,
        waiting: summary.waiting,
        due: summary.due,
        leased: summary.leased,
        set_aside: summary.set_aside,
        unknown: summary.unknown,
        recorded: summary.recorded,
        oldest_wanted_at: oldest.map(|oldest| format!("{oldest:.3}")),
        lag_seconds: lag.map(|lag| u64::try_from(lag).unwrap_or(0)),
        last_errors: stored.notes.errors,
        tasks,
    }))
}

/// Pause a destination
///
/// Nothing is sent until it is resumed. Calls that are being sent are finished. Changes are recorded meanwhile, and
/// redrives and synchronisations wait. May be repeated.
#[utoipa::path(
    post,
    path = "/destinations/{destination}/pause",
    operation_id = "pause_destination",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop")),
    responses(
        (status = 200, description = "The destination is paused", body = DestinationPause),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn pause(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DestinationPause>, ApiError> {
    destination_for(&context, &caller, &name, Scope::Admin).await?;
    let records = &context.destination_records;
    let paused = Some(records.pause_destination(&name, &caller.0.name).await?);
    Ok(Json(DestinationPause { name, paused }))
}

/// Resume a destination
///
/// Calls are sent again within a minute. May be repeated.
#[utoipa::path(
    post,
    path = "/destinations/{destination}/resume",
    operation_id = "resume_destination",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop")),
    responses(
        (status = 200, description = "The destination is not paused", body = DestinationPause),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn resume(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DestinationPause>, ApiError> {
    destination_for(&context, &caller, &name, Scope::Admin).await?;
    context
        .destination_records
        .resume_destination(&name)
        .await?;
    Ok(Json(DestinationPause { name, paused: None }))
}
