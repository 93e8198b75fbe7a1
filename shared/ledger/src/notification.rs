use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use landfall_destinations::JobEvent;
use landfall_domain::JobId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LedgerError, MemoryTable};

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

/// What came of an attempt.
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

    /// Records what came of an attempt, and ends its claim. Once it is delivered, it stays so, whoever has claimed it.
    /// What else came of an attempt is recorded only if its claim has not ended.
    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Makes a notification due now, and has it retried for three days again, unless it is delivered or claimed. Returns
    /// the notification as it is afterwards, if it exists.
    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError>;
}

/// The notifications in memory.
pub(crate) type MemoryNotifications = HashMap<Uuid, Notification>;

#[async_trait]
impl NotificationTable for MemoryTable {
    async fn add_notification(&self, notification: &Notification) -> Result<(), LedgerError> {
        let mut items = self.items();
        let stored = items.notifications.entry(notification.id);
        stored.or_insert_with(|| notification.clone());
        Ok(())
    }

    async fn list_notifications(
        &self,
        query: &NotificationsQuery,
    ) -> Result<NotificationsPage, LedgerError> {
        let items = self.items();
        let in_state = items.notifications.values().filter(|notification| {
            notification.state == query.state && notification.due_at <= query.until
        });
        let mut listed: Vec<ListedNotification> = in_state
            .map(|notification| ListedNotification {
                place: NotificationPlace {
                    due_at: notification.due_at,
                    id: notification.id,
                },
                url: notification.url.clone(),
            })
            .filter(|listed| query.after.is_none_or(|after| listed.place > after))
            .collect();
        listed.sort_unstable_by_key(|listed| listed.place);
        let has_more = listed.len() > query.limit;
        listed.truncate(query.limit);
        let next = listed.last().filter(|_| has_more);
        let next = next.map(|listed| listed.place);
        Ok(NotificationsPage { listed, next })
    }

    async fn notifications(&self, ids: &[Uuid]) -> Result<Vec<Notification>, LedgerError> {
        let items = self.items();
        let found = ids.iter().filter_map(|id| items.notifications.get(id));
        Ok(found.cloned().collect())
    }

    async fn claim_notification(
        &self,
        place: NotificationPlace,
        claim: &NotificationClaim,
    ) -> Result<Option<Notification>, LedgerError> {
        let mut items = self.items();
        let stored = items.notifications.get_mut(&place.id);
        let due = stored.filter(|stored| {
            stored.state == NotificationState::Waiting && stored.due_at == place.due_at
        });
        Ok(due.map(|due| {
            due.due_at = claim.until;
            due.claim = Some(claim.id.clone());
            due.attempts += 1;
            due.clone()
        }))
    }

    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut items = self.items();
        let Some(stored) = items.notifications.get_mut(&id) else {
            return Ok(());
        };
        let is_claimed = stored.claim.as_deref() == Some(claim);
        match end {
            NotificationEnd::Delivered => {
                stored.state = NotificationState::Delivered;
                stored.payload.clear();
            }
            _ if !is_claimed => return Ok(()),
            NotificationEnd::Retry { at, answer } => {
                stored.due_at = at.as_millisecond();
                stored.answer = Some(answer.clone());
            }
            NotificationEnd::SetAside(answer) => {
                stored.state = NotificationState::SetAside;
                stored.due_at = now.as_millisecond();
                stored.answer = Some(answer.clone());
            }
        }
        stored.claim = None;
        Ok(())
    }

    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError> {
        let mut items = self.items();
        let Some(stored) = items.notifications.get_mut(&id) else {
            return Ok(None);
        };
        if stored.state != NotificationState::Delivered && stored.claim.is_none() {
            stored.state = NotificationState::Waiting;
            stored.due_at = now.as_millisecond();
            stored.since = now.as_millisecond();
            stored.attempts = 0;
        }
        Ok(Some(stored.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn notification(url: &str, due: i64) -> Notification {
        Notification {
            id: Uuid::new_v5(&Uuid::NAMESPACE_URL, url.as_bytes()),
            event: JobEvent::Completed,
            job: JobId::for_object("inbox", "orders/1.csv", "v1"),
            dataset: Some("orders".to_owned()),
            url: url.to_owned(),
            payload: "{}".to_owned(),
            created_at: at(due).to_string(),
            state: NotificationState::Waiting,
            due_at: due * 1000,
            since: due * 1000,
            attempts: 0,
            answer: None,
            claim: None,
        }
    }

    fn claim(id: &str, until: i64) -> NotificationClaim {
        NotificationClaim {
            id: id.to_owned(),
            until: until * 1000,
        }
    }

    async fn listed(table: &MemoryTable, state: NotificationState, until: i64) -> Vec<String> {
        let (mut urls, mut after) = (Vec::new(), None);
        loop {
            let query = NotificationsQuery {
                state,
                until: until * 1000,
                after,
                limit: 1,
            };
            let page = table.list_notifications(&query).await.unwrap();
            urls.extend(page.listed.into_iter().map(|listed| listed.url));
            after = page.next;
            if after.is_none() {
                return urls;
            }
        }
    }

    #[tokio::test]
    async fn one_relay_at_a_time_sends_a_notification_until_it_is_delivered() {
        let table = MemoryTable::default();
        let first = notification("a", 10);
        table.add_notification(&first).await.unwrap();
        table
            .add_notification(&notification("b", 11))
            .await
            .unwrap();
        table
            .add_notification(&notification("c", 90))
            .await
            .unwrap();
        assert_eq!(
            listed(&table, NotificationState::Waiting, 20).await,
            ["a", "b"]
        );
        let place = |due: i64| NotificationPlace {
            due_at: due * 1000,
            id: first.id,
        };
        let claimed = table.claim_notification(place(10), &claim("x", 60)).await;
        assert_eq!(claimed.unwrap().unwrap().attempts, 1);
        let late = table.claim_notification(place(10), &claim("y", 61)).await;
        assert_eq!(late.unwrap(), None);
        // The relay dies, and its answer is late.
        let claimed = table.claim_notification(place(60), &claim("z", 110)).await;
        assert_eq!(claimed.unwrap().unwrap().attempts, 2);
        let end = |end, claim: &'static str| {
            let table = &table;
            async move {
                let ended = table.end_notification(first.id, claim, &end, at(70));
                ended.await.unwrap();
                table.notifications(&[first.id]).await.unwrap().remove(0)
            }
        };
        let answer = "late".to_owned();
        let late = end(NotificationEnd::SetAside(answer), "x").await;
        assert_eq!(late.state, NotificationState::Waiting);
        let delivered = end(NotificationEnd::Delivered, "x").await;
        assert_eq!(delivered.state, NotificationState::Delivered);
        let answer = "late".to_owned();
        let retry = NotificationEnd::Retry { at: at(80), answer };
        assert_eq!(end(retry, "z").await.state, NotificationState::Delivered);
        let again = table.redrive_notification(first.id, at(80)).await.unwrap();
        assert_eq!(again.unwrap().state, NotificationState::Delivered);
        // The event is published again.
        table.add_notification(&first).await.unwrap();
        assert_eq!(
            listed(&table, NotificationState::Waiting, 99).await,
            ["b", "c"]
        );
    }

    #[tokio::test]
    async fn what_is_set_aside_is_sent_again_on_request() {
        let table = MemoryTable::default();
        let one = notification("a", 10);
        table.add_notification(&one).await.unwrap();
        let place = NotificationPlace {
            due_at: one.due_at,
            id: one.id,
        };
        let claimed = table.claim_notification(place, &claim("x", 60)).await;
        assert!(claimed.unwrap().is_some());
        let in_flight = table.redrive_notification(one.id, at(11)).await.unwrap();
        assert_eq!(in_flight.unwrap().due_at, 60_000);
        let end = NotificationEnd::SetAside("gone".to_owned());
        let ended = table.end_notification(one.id, "x", &end, at(12));
        ended.await.unwrap();
        assert_eq!(listed(&table, NotificationState::SetAside, 99).await, ["a"]);
        let again = table.redrive_notification(one.id, at(50)).await.unwrap();
        let again = again.unwrap();
        assert_eq!(
            (again.state, again.attempts),
            (NotificationState::Waiting, 0)
        );
        assert_eq!((again.due_at, again.since()), (50_000, at(50)));
        let unknown = table.redrive_notification(Uuid::nil(), at(50)).await;
        assert_eq!(unknown.unwrap(), None);
    }
}
