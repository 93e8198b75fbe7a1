use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_domain::excerpt;
use landfall_ledger::{
    Notification, NotificationPlace, NotificationState, NotificationView, NotificationsQuery,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::paging::{from_cursor, limit, to_cursor};
use crate::auth::Caller;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, Forbidden, NotificationErrors};
use crate::{ApiError, Context};

const DEFAULT_ENTRIES: u32 = 20;
const MAX_ENTRIES: u32 = 100;

/// What part of the list is requested.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NotificationParams {
    /// The state of the notifications.
    #[serde(default)]
    #[param(inline, default = "set_aside")]
    state: ListedState,
    /// The maximum number of entries.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the previous page.
    cursor: Option<String>,
}

/// A state whose notifications are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListedState {
    Waiting,
    #[default]
    SetAside,
}

/// A page of notifications: those first that are due first, or were set aside first.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationsPage {
    /// May be fewer than the limit, or none, even if more pages follow.
    notifications: Vec<NotificationView>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// List notifications
///
/// Those of jobs of the datasets that the token covers, in one state.
#[utoipa::path(
    get,
    path = "/notifications",
    operation_id = "list_notifications",
    tag = "notifications",
    params(NotificationParams),
    responses((status = 200, description = "A page of notifications", body = NotificationsPage), CommonErrors, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Query(params): Query<NotificationParams>,
) -> Result<Json<NotificationsPage>, ApiError> {
    caller.require_scope(Scope::Read)?;
    let state = match params.state {
        ListedState::Waiting => NotificationState::Waiting,
        ListedState::SetAside => NotificationState::SetAside,
    };
    let after: Option<NotificationPlace> = params.cursor.as_deref().map(from_cursor).transpose()?;
    let query = NotificationsQuery {
        state,
        until: i64::MAX,
        after,
        limit: limit(params.limit, DEFAULT_ENTRIES, MAX_ENTRIES)? as usize,
    };
    let page = context.notifications.list_notifications(&query).await?;
    let ids: Vec<Uuid> = page.listed.iter().map(|listed| listed.place.id).collect();
    let found = context.notifications.notifications(&ids).await?;
    let mut found: HashMap<Uuid, Notification> = found
        .into_iter()
        // The list may be a second behind.
        .filter(|notification| notification.state == state && covers(&caller, notification))
        .map(|notification| (notification.id, notification))
        .collect();
    let listed = ids.iter().filter_map(|id| found.remove(id));
    Ok(Json(NotificationsPage {
        notifications: listed.map(NotificationView::from).collect(),
        next: page.next.as_ref().map(to_cursor).transpose()?,
    }))
}

/// Send a notification again
///
/// One that is set aside is retried for three days again, and one that waits is due now. One that is being sent stays
/// as it is. The response is 404 also if the token does not cover its dataset.
#[utoipa::path(
    post,
    path = "/notifications/{notification}/redrive",
    operation_id = "redrive_notification",
    tag = "notifications",
    params(("notification" = String, Path, description = "Id of the notification")),
    responses(
        (status = 202, description = "It is due", body = NotificationView),
        CommonErrors, Forbidden, NotificationErrors
    )
)]
pub(crate) async fn redrive(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<(StatusCode, Json<NotificationView>), ApiError> {
    caller.require_scope(Scope::Write)?;
    let missing = || {
        let id = excerpt(&id);
        ApiError::NotFound(format!("there is no notification {id:?}"))
    };
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let found = context.notifications.notifications(&[id]).await?;
    let is_covered = found
        .first()
        .is_some_and(|notification| covers(&caller, notification));
    if !is_covered {
        return Err(missing());
    }
    let now = Timestamp::now();
    let redriven = context.notifications.redrive_notification(id, now).await?;
    let redriven = redriven.ok_or_else(missing)?;
    if redriven.state == NotificationState::Delivered {
        let message = "the notification is delivered, and is not sent again";
        return Err(ApiError::Conflict(message.to_owned()));
    }
    Ok((StatusCode::ACCEPTED, Json(redriven.into())))
}

/// Returns whether a token covers the dataset of a notification. One without a dataset is for tokens of all datasets.
fn covers(caller: &Caller, notification: &Notification) -> bool {
    let datasets = &caller.0.datasets;
    datasets.includes(notification.dataset.as_deref())
}
