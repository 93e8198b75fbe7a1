//! The changes that a destination has not got, and the tasks that send them again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use landfall_auth::Scope;
use landfall_destinations::Destination;
use landfall_domain::{ChangeState, Dataset, Field, JsonOf, QueryError, Value};
use landfall_ledger::{MAX_TASK_BYTES, TaskRequest, TaskSelection, TaskView, request_task};
use landfall_stores::{ChangePage, ListedChange, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as JsonValue};
use utoipa::{IntoParams, ToSchema};

use super::destinations::{NEW, destination_for, summary_of};
use super::paging::{from_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Json as Body, Query, Segments};
use crate::responses::{BodyErrors, CommonErrors, DestinationErrors, Forbidden};
use crate::{ApiError, Context};

const DEFAULT_CHANGES: u32 = 20;
const MAX_CHANGES: u32 = 100;
/// The maximum number of keys of a redrive.
const MAX_KEYS: usize = 100;
/// The maximum number of characters of a part of an answer.
const MAX_ANSWER_CHARS: usize = 200;

/// Which changes are requested.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesParams {
    /// Their state.
    state: ChangeState,
    /// The maximum number of changes.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the previous page.
    cursor: Option<String>,
}

/// A page of changes, those that are due first in front.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangesPage {
    changes: Vec<ChangeView>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// A key that the destination does not have as it stands.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is shown by itself")]
struct ChangeView {
    /// The fields of the key.
    key: Map<String, JsonValue>,
    /// When the first change was recorded that is not sent; RFC 3339.
    wanted_at: String,
    /// When it is due, or was set aside; RFC 3339.
    due_at: String,
    /// The number of attempts, since the key was last sent.
    attempts: u32,
    /// Whether the service has the key, as it was before.
    sent: bool,
    /// The id that the service gave to the key.
    remote_id: Option<String>,
    /// Whether it is being sent.
    is_leased: bool,
    /// Whether it is unknown what has become of an attempt.
    is_uncertain: bool,
    /// Whether later changes of the key wait until it is redriven.
    holds: bool,
    /// What the service answered to the last attempt.
    answer: Option<String>,
}

/// Which changes to send again: one of `keys`, `state` and `all`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveChanges {
    /// Keys, each as an object of its fields, at most 100. They are sent whatever their state is, also if they were
    /// sent. Keys that were never recorded for the destination are left out.
    #[serde(default)]
    keys: Option<Vec<Map<String, JsonValue>>>,
    /// All keys of a state. Of those that wait, the ones whose retry is later.
    #[serde(default)]
    state: Option<ChangeState>,
    /// All keys that are set aside or unknown.
    #[serde(default)]
    all: bool,
    /// Only the keys whose last answer contains this text; not with `keys`.
    #[serde(default)]
    answer_contains: Option<String>,
}

impl ChangeView {
    fn new(dataset: &Dataset, change: ListedChange) -> Result<Self, ApiError> {
        let mut key = Map::new();
        for (field, value) in dataset.key_fields().zip(&change.key.values) {
            let value = serde_json::to_value(JsonOf(value));
            let value = value.map_err(|error| ApiError::Internal(error.to_string()))?;
            key.insert(field.name.clone(), value);
        }
        let sent = change.sent.filter(|sent| sent.exists);
        Ok(Self {
            key,
            wanted_at: format!("{:.3}", change.wanted_at),
            due_at: format!("{:.3}", change.due_at),
            attempts: change.attempts,
            sent: sent.is_some(),
            remote_id: sent.and_then(|sent| sent.id),
            is_leased: change.is_leased,
            is_uncertain: change.is_uncertain,
            holds: change.holds,
            answer: change.answer,
        })
    }
}

/// List the changes of a state
///
/// `waiting`: to be sent, now or later, or being sent. `set_aside`: refused for good. `unknown`: sent, without an
/// answer that says what has become of it.
#[utoipa::path(
    get,
    path = "/destinations/{destination}/changes",
    operation_id = "list_changes",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop"), ChangesParams),
    responses(
        (status = 200, description = "A page of changes", body = ChangesPage),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(params): Query<ChangesParams>,
) -> Result<Json<ChangesPage>, ApiError> {
    let destination = destination_for(&context, &caller, &name, Scope::Read).await?;
    let limit = limit(params.limit, DEFAULT_CHANGES, MAX_CHANGES)? as usize;
    let after: Option<String> = params.cursor.as_deref().map(from_cursor).transpose()?;
    let (dataset, after) = (destination.dataset(), after.as_deref());
    let page = context
        .changes
        .list(dataset, &name, params.state, after, limit);
    let page = match page.await {
        Err(StoreError::Untracked { .. }) => ChangePage::default(),
        page => page?,
    };
    let changes = page.changes.into_iter();
    let changes = changes.map(|change| ChangeView::new(dataset, change));
    Ok(Json(ChangesPage {
        changes: changes.collect::<Result<_, _>>()?,
        next: page.next.as_ref().map(to_cursor).transpose()?,
    }))
}

/// Send changes again
///
/// The rows are sent as they stand, within the limits of the destination. A relay takes up the task within a minute, or
/// once the destination is resumed. While the same task is unfinished, the answer has that one. The response is 409 if
/// there are too many unfinished tasks.
#[utoipa::path(
    post,
    path = "/destinations/{destination}/redrive",
    operation_id = "redrive_changes",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop")),
    request_body = RedriveChanges,
    responses(
        (status = 202, description = "The task", body = TaskView),
        CommonErrors, Forbidden, DestinationErrors, BodyErrors
    )
)]
pub(crate) async fn redrive(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
    Body(body): Body<RedriveChanges>,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let destination = destination_for(&context, &caller, &name, Scope::Write).await?;
    let selection = body.selection(destination.dataset())?;
    let now = (context.clock)();
    let summary = summary_of(&context, &destination, now).await?;
    let summary = summary.ok_or_else(|| ApiError::Conflict(NEW.to_owned()))?;
    let most = match &selection {
        TaskSelection::Keys(keys) => keys.len() as u64,
        TaskSelection::Matching { states, .. } => summary.redriven(states),
    };
    let request = TaskRequest::Redrive { selection, most };
    accept(&context, &caller, &destination, &request).await
}

/// Synchronise existing rows
///
/// Sends the rows that the destination has never had to do with: those that are older than its definition. They are
/// sent in parts, so that other changes need not wait for all of them. The rest is as for a redrive.
#[utoipa::path(
    post,
    path = "/destinations/{destination}/sync",
    operation_id = "sync_destination",
    tag = "destinations",
    params(("destination" = String, Path, description = "Name of the destination", example = "shop")),
    responses(
        (status = 202, description = "The task", body = TaskView),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn sync(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let destination = destination_for(&context, &caller, &name, Scope::Write).await?;
    accept(&context, &caller, &destination, &TaskRequest::Sync).await
}

/// Adds a task.
async fn accept(
    context: &Context,
    caller: &Caller,
    destination: &Destination,
    request: &TaskRequest,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let (records, now) = (&*context.destination_records, (context.clock)());
    let added = request_task(records, &destination.name, request, &caller.0.name, now);
    let task = added.await?;
    let task = task.map_err(|error| ApiError::Conflict(error.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(TaskView::from(&task))))
}

/// Get a task of a destination
///
/// Finished tasks are kept for seven days.
#[utoipa::path(
    get,
    path = "/destinations/{destination}/tasks/{task}",
    operation_id = "get_task",
    tag = "destinations",
    params(
        ("destination" = String, Path, description = "Name of the destination", example = "shop"),
        ("task" = u64, Path, description = "Number of the task", example = 1)
    ),
    responses(
        (status = 200, description = "The task", body = TaskView),
        CommonErrors, Forbidden, DestinationErrors
    )
)]
pub(crate) async fn task(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, task)): Segments<(String, String)>,
) -> Result<Json<TaskView>, ApiError> {
    destination_for(&context, &caller, &name, Scope::Read).await?;
    let tasks = context.destination_records.tasks(&name).await?.tasks;
    let id = task.parse().ok();
    let found = id.and_then(|id| tasks.find(id, (context.clock)()));
    let missing = || ApiError::NotFound("the destination has no such task, or no more".to_owned());
    Ok(Json(TaskView::from(found.ok_or_else(missing)?)))
}

impl RedriveChanges {
    /// Returns which keys the request is about.
    fn selection(self, dataset: &Dataset) -> Result<TaskSelection, ApiError> {
        let invalid = |message: &str| ApiError::Invalid(format!("body: {message}"));
        let answer = self.answer_contains;
        if answer
            .as_ref()
            .is_some_and(|answer| answer.is_empty() || answer.chars().count() > MAX_ANSWER_CHARS)
        {
            return Err(invalid("answer_contains must have 1 to 200 characters"));
        }
        let states = match (self.keys, self.state, self.all) {
            (Some(keys), None, false) => {
                if answer.is_some() {
                    return Err(invalid("answer_contains cannot be used with keys"));
                }
                if !(1..=MAX_KEYS).contains(&keys.len()) {
                    return Err(invalid("keys must have 1 to 100 entries"));
                }
                let keys = keys.iter().map(|key| texts(dataset, key));
                let keys: Vec<Vec<String>> = keys.collect::<Result<_, _>>()?;
                if keys.iter().flatten().map(String::len).sum::<usize>() > MAX_TASK_BYTES {
                    return Err(invalid("the keys are too long: send fewer"));
                }
                return Ok(TaskSelection::Keys(keys));
            }
            (None, Some(state), false) => vec![state],
            (None, None, true) => vec![ChangeState::SetAside, ChangeState::Unknown],
            _ => return Err(invalid("send one of keys, state and all")),
        };
        Ok(TaskSelection::Matching { states, answer })
    }
}

/// Returns the texts of the values of a key.
fn texts(dataset: &Dataset, key: &Map<String, JsonValue>) -> Result<Vec<String>, ApiError> {
    let fields: Vec<_> = dataset.key_fields().collect();
    if key.len() != fields.len() {
        return Err(QueryError::Key(fields.len()).into());
    }
    let text = |field: &&Field| {
        let invalid = |message: String| QueryError::Value {
            field: field.name.clone(),
            message,
        };
        let text = match key.get(&field.name) {
            Some(JsonValue::String(text)) => text.clone(),
            Some(JsonValue::Number(number)) => number.to_string(),
            Some(JsonValue::Bool(is_true)) => is_true.to_string(),
            _ => return Err(invalid("this field of the key is missing".to_owned())),
        };
        let value = Value::from_text(field.kind, &text);
        let value = value.map_err(|error| invalid(error.to_string()))?;
        let text = value.to_text().map(std::borrow::Cow::into_owned);
        text.ok_or_else(|| invalid("a key has no empty field".to_owned()))
    };
    let texts = fields.iter().map(text);
    Ok(texts.collect::<Result<_, QueryError>>()?)
}
