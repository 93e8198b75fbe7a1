use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, number, require, text, to_item};
use uuid::Uuid;

use crate::dynamo::{Updated, attribute};
use crate::item::{notification_key, notification_of_item, read};
use crate::{
    DynamoTable, LedgerError, ListedNotification, Notification, NotificationClaim, NotificationEnd,
    NotificationPlace, NotificationState, NotificationTable, NotificationsPage, NotificationsQuery,
};

/// The index of the notifications that wait or are set aside, by the time at which they are due.
const BY_DUE: &str = "notifications_by_due";

#[async_trait]
impl NotificationTable for DynamoTable {
    async fn add_notification(&self, notification: &Notification) -> Result<(), LedgerError> {
        let key = notification_key(notification.id);
        let item = to_item(notification).map_err(|error| LedgerError::corrupt(&key, error))?;
        self.put_new(&key, item).await.map(drop)
    }

    async fn list_notifications(
        &self,
        query: &NotificationsQuery,
    ) -> Result<NotificationsPage, LedgerError> {
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DUE)
            .key_condition_expression("notification_state = :state AND due_at <= :until")
            .expression_attribute_values(":state", text(query.state.as_str()))
            .expression_attribute_values(":until", number(query.until))
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX));
        if let Some(after) = query.after {
            request = request
                .exclusive_start_key("pk", text(notification_key(after.id)))
                .exclusive_start_key("notification_state", text(query.state.as_str()))
                .exclusive_start_key("due_at", number(after.due_at));
        }
        let answer = request
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("Query", BY_DUE, &error))?;
        let next = answer.last_evaluated_key.as_ref().map(place).transpose()?;
        let items = answer.items.unwrap_or_default();
        let listed = items.iter().map(|item| {
            let url = require(item, "url");
            Ok(ListedNotification {
                place: place(item)?,
                url: url.map_err(|error| LedgerError::corrupt("of an index", error))?,
            })
        });
        Ok(NotificationsPage {
            listed: listed.collect::<Result<_, LedgerError>>()?,
            next,
        })
    }

    async fn notifications(&self, ids: &[Uuid]) -> Result<Vec<Notification>, LedgerError> {
        let items = self.get_all(ids.iter().map(|id| notification_key(*id)));
        let items = items.await?.into_iter();
        items.map(|item| read("of a notification", item)).collect()
    }

    async fn claim_notification(
        &self,
        place: NotificationPlace,
        claim: &NotificationClaim,
    ) -> Result<Option<Notification>, LedgerError> {
        let key = notification_key(place.id);
        let update = self
            .update(&key)
            .condition_expression("notification_state = :waiting AND due_at = :seen")
            .update_expression("SET due_at = :until, claim = :claim ADD attempts :one")
            .expression_attribute_values(":waiting", text(NotificationState::Waiting.as_str()))
            .expression_attribute_values(":seen", number(place.due_at))
            .expression_attribute_values(":until", number(claim.until))
            .expression_attribute_values(":claim", text(&claim.id))
            .expression_attribute_values(":one", number(1));
        match self.send(key.clone(), update).await {
            Ok(Updated::Applied(item)) => read(&key, item).map(Some),
            Ok(Updated::Unmet(item)) => {
                // The reply to the first attempt of the client was lost.
                let stored: Notification = read(&key, item)?;
                let is_ours = stored.claim.as_ref() == Some(&claim.id);
                Ok(is_ours.then_some(stored))
            }
            Err(LedgerError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn end_notification(
        &self,
        id: Uuid,
        claim: &str,
        end: &NotificationEnd,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let key = notification_key(id);
        let update = self.update(&key);
        let update = match end {
            NotificationEnd::Delivered => update
                .condition_expression("attribute_exists(pk)")
                .update_expression(
                    "SET expires_at = :expires_at REMOVE notification_state, claim, payload",
                )
                .expression_attribute_values(":expires_at", number(Notification::expiry(now))),
            NotificationEnd::Retry { at, answer } => update
                .condition_expression("claim = :claim")
                .update_expression("SET due_at = :at, answer = :answer REMOVE claim")
                .expression_attribute_values(":claim", text(claim))
                .expression_attribute_values(":at", number(at.as_millisecond()))
                .expression_attribute_values(":answer", text(answer)),
            NotificationEnd::SetAside(answer) => update
                .condition_expression("claim = :claim")
                .update_expression(
                    "SET notification_state = :state, due_at = :at, answer = :answer, expires_at = :expires_at \
                     REMOVE claim",
                )
                .expression_attribute_values(":claim", text(claim))
                .expression_attribute_values(
                    ":state",
                    attribute(&key, NotificationState::SetAside)?,
                )
                .expression_attribute_values(":at", number(now.as_millisecond()))
                .expression_attribute_values(":answer", text(answer))
                .expression_attribute_values(":expires_at", number(Notification::expiry(now))),
        };
        match self.send(key, update).await {
            Ok(_) | Err(LedgerError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn redrive_notification(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Notification>, LedgerError> {
        let key = notification_key(id);
        let update = self
            .update(&key)
            .condition_expression(
                "attribute_exists(notification_state) AND attribute_not_exists(claim)",
            )
            .update_expression(
                "SET notification_state = :waiting, due_at = :now, since = :now, attempts = :zero REMOVE expires_at",
            )
            .expression_attribute_values(":waiting", text(NotificationState::Waiting.as_str()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":zero", number(0));
        match self.send(key.clone(), update).await {
            Ok(Updated::Applied(item) | Updated::Unmet(item)) => read(&key, item).map(Some),
            Err(LedgerError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the place of an item of the index.
fn place(item: &Item) -> Result<NotificationPlace, LedgerError> {
    let corrupt = |error| LedgerError::corrupt("of an index", error);
    let key: String = require(item, "pk").map_err(corrupt)?;
    let id = notification_of_item(&key);
    Ok(NotificationPlace {
        due_at: require(item, "due_at").map_err(corrupt)?,
        id: id
            .ok_or_else(|| LedgerError::corrupt(&key, "this is not the key of a notification"))?,
    })
}
