//! Notifications as clients see them: in responses of the HTTP API, and on the command line.

use jiff::Timestamp;
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Notification, NotificationState};

/// The event that a job has closed, for one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Notification))]
pub struct NotificationView {
    /// Its id, which is the `webhook-id` of each delivery.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: Uuid,
    /// The event: `job.completed` or `job.failed`.
    pub event: String,
    /// The job.
    pub job: JobId,
    /// Its dataset, if the key of its object names one.
    pub dataset: Option<String>,
    /// The URL.
    pub url: String,
    /// What is to be done about it.
    pub state: NotificationState,
    /// When it was recorded; RFC 3339.
    pub created_at: String,
    /// When it is due, while it waits; RFC 3339.
    pub due_at: Option<String>,
    /// When it was set aside; RFC 3339.
    pub set_aside_at: Option<String>,
    /// The number of attempts to deliver it, since it was recorded or last sent again by hand.
    pub attempts: u32,
    /// What came of the last attempt that failed.
    pub answer: Option<String>,
}

impl From<Notification> for NotificationView {
    fn from(notification: Notification) -> Self {
        let at = Timestamp::from_millisecond(notification.due_at).ok();
        let at = |state| {
            at.filter(|_| notification.state == state)
                .map(|at| format!("{at:.3}"))
        };
        Self {
            due_at: at(NotificationState::Waiting),
            set_aside_at: at(NotificationState::SetAside),
            id: notification.id,
            event: notification.event.as_str().to_owned(),
            job: notification.job,
            dataset: notification.dataset,
            url: notification.url,
            state: notification.state,
            created_at: notification.created_at,
            attempts: notification.attempts,
            answer: notification.answer,
        }
    }
}
