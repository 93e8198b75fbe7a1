use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::notification::{
    ListedNotification, Notification, NotificationClaim, NotificationEnd, NotificationPlace,
    NotificationState, NotificationTable, NotificationsPage, NotificationsQuery,
};
use crate::{LedgerError, MemoryTable};

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
    use landfall_destinations::JobEvent;
    use landfall_domain::JobId;

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
