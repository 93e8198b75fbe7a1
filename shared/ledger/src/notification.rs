use async_trait::async_trait;
use jiff::Timestamp;
use landfall_destinations::JobEvent;
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::LedgerError;

/// Seconds for which a notification is kept that is delivered or set aside.
const KEPT_SECONDS: i64 = 30 * 24 * 3600;

/// What is to be done about a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It is to be sent.
    Waiting,
    /// It is not sent again, unless somebody requests it.
    SetAside,
    /// It was accepted.
    Delivered,
}

impl NotificationState {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::SetAside => "set_aside",
            Self::Delivered => "delivered",
        }
    }

    /// The index has no delivered ones.
    fn of_missing() -> Self {
        Self::Delivered
    }
}

/// The event that a job has closed, for one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id, which depends on the event and the URL.
    pub id: Uuid,
    /// The event.
    pub event: JobEvent,
    /// The job.
    pub job: JobId,
    /// Its dataset, if the key of its object names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The URL.
    pub url: String,
    /// The body, until it is delivered.
    #[serde(default)]
    pub payload: String,
    /// When it was recorded; RFC 3339.
    pub created_at: String,
    /// What is to be done about it.
    #[serde(
        rename = "notification_state",
        default = "NotificationState::of_missing"
    )]
    pub state: NotificationState,
    /// When it is due, or was set aside, in milliseconds since 1970.
    pub due_at: i64,
    /// When it was first due, in milliseconds since 1970. It is retried for three days from then on.
    pub since: i64,
    /// The number of attempts to deliver it since then.
    #[serde(default)]
    pub attempts: u32,
    /// What came of the last attempt that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The claim of the relay that sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

impl Notification {
    /// Returns when it was first due.
    pub fn since(&self) -> Timestamp {
        Timestamp::from_millisecond(self.since).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns when one may be deleted that is delivered or set aside at this time, in seconds since 1970.
    pub(crate) fn expiry(now: Timestamp) -> i64 {
        now.as_second() + KEPT_SECONDS
    }
}

/// The place of a notification in the list of those in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotificationPlace {
    /// See [`Notification::due_at`].
    pub due_at: i64,
    /// Its id.
    pub id: Uuid,
}

/// A notification in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNotification {
    /// Its place.
    pub place: NotificationPlace,
    /// Its URL.
    pub url: String,
}

/// A part of the list of notifications in a state.
#[derive(Clone, Debug, Default)]
pub struct NotificationsPage {
    /// Those that are due first, or were set aside first, come first.
    pub listed: Vec<ListedNotification>,
    /// The place to continue after, unless this is the last page.
    pub next: Option<NotificationPlace>,
}

/// What part of the list of notifications in a state is read.
#[derive(Clone, Copy, Debug)]
pub struct NotificationsQuery {
    /// The state, waiting or set aside.
    pub state: NotificationState,
    /// The latest time at which they are due, in milliseconds since 1970.
    pub until: i64,
    /// The place to continue after.
    pub after: Option<NotificationPlace>,
    /// The maximum number, at most 100.
    pub limit: usize,
}

/// The claim of a relay that is about to send a notification.
#[derive(Clone, Debug)]
pub struct NotificationClaim {
    /// Its id, which no other claim has.
    pub id: String,
    /// Until when no other relay sends it, in milliseconds since 1970.
    pub until: i64,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationEnd {
    /// It was accepted.
    Delivered,
    /// It is due again.
    Retry {
        /// When.
        at: Timestamp,
        /// Why.
        answer: String,
    },
    /// It is set aside.
    SetAside(String),
}

/// The notifications that webhooks are to receive.
#[async_trait]
pub trait NotificationTable: Send + Sync {
    /// Stores a notification, unless there is one with its id.
    async fn add_notification(&self, notification: &Notification) -> Result<(), LedgerError>;

    /// Lists notifications in a state. One that has changed less than a second ago may be missing, or be listed as it
    /// was.
    async fn list_notifications(
        &self,
        query: &NotificationsQuery,
    ) -> Result<NotificationsPage, LedgerError>;

    /// Returns notifications, at most 100, in no order and without those that do not exist.
    async fn notifications(&self, ids: &[Uuid]) -> Result<Vec<Notification>, LedgerError>;

    /// Claims a notification and counts an attempt, if it waits and is due at this place. Returns the claimed one, and
    /// `None` if another relay was faster.
    async fn claim_notification(
        &self,
        place: NotificationPlace,
        claim: &NotificationClaim,
    ) -> Result<Option<Notification>, LedgerError>;

    /// Records the outcome of an attempt, and ends its claim. A delivery is always recorded, and is final. Any other
    /// outcome is recorded only if the claim has not ended.
    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Makes a notification due now, and has it retried for three days again, unless it is delivered or claimed.
    /// Returns the notification as it is afterwards, if it exists.
    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError>;
}
