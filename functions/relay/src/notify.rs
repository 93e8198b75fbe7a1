//! Notifies webhooks of jobs that have closed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use landfall_aws::FoundWebhooks;
use landfall_destinations::{Delivery, JobEvent, Reply, Webhook, judge_delivery, payload};
use landfall_domain::CompletionEvent;
use landfall_ledger::{
    ListedNotification, Notification, NotificationClaim, NotificationEnd, NotificationState,
    NotificationsQuery,
};
use tokio::sync::OnceCell;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::batch::RECORD_WAITS;
use crate::call::{Answer, cut, read};
use crate::{Context, RelayError};

/// How long a relay has to send a notification before others may. The rest of it, after the time-out, is for recording,
/// and for clocks that differ by up to two minutes.
const CLAIM: SignedDuration = SignedDuration::from_mins(4);
/// The time after which a notification has no answer.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(15);
/// The maximum number of notifications that are sent at a time.
const CONCURRENCY: usize = 8;
/// The number of notifications that are listed at once.
const PAGE: usize = 100;

/// Records a notification for each webhook that is to receive an event. It may be repeated: the ids are the same.
pub async fn accept(context: &Context, completion: &CompletionEvent) -> Result<(), RelayError> {
    let Some(event) = JobEvent::of(completion.state) else {
        return Ok(());
    };
    let found = context.webhooks.of(completion.dataset.as_deref()).await?;
    let now = context.clock.now();
    for webhook in found.webhooks.iter().filter(|webhook| webhook.wants(event)) {
        let notification = Notification {
            id: webhook.notification_id(completion.id),
            event,
            job: completion.job,
            dataset: completion.dataset.clone(),
            url: webhook.url().to_string(),
            payload: payload(event, completion)?,
            created_at: now.to_string(),
            state: NotificationState::Waiting,
            due_at: now.as_millisecond(),
            since: now.as_millisecond(),
            attempts: 0,
            answer: None,
            claim: None,
        };
        context
            .notifications
            .add_notification(&notification)
            .await?;
    }
    found.error.map_or(Ok(()), |error| Err(error.into()))
}

/// Sends the notifications that are due; no call goes on after `stop_at`.
pub async fn send_due(context: &Context, stop_at: Timestamp) -> Result<(), RelayError> {
    let run = Run {
        context,
        latest: stop_at.saturating_sub(TIMEOUT).unwrap_or(stop_at),
        webhooks: Mutex::default(),
        failing: Mutex::default(),
    };
    let until = context.clock.now().as_millisecond();
    let mut after = None;
    while context.clock.now() < run.latest {
        let query = NotificationsQuery {
            state: NotificationState::Waiting,
            until,
            after,
            limit: PAGE,
        };
        let page = context.notifications.list_notifications(&query).await?;
        let sent = stream::iter(&page.listed).map(|listed| run.send(listed));
        let sent: Vec<Result<(), RelayError>> = sent.buffer_unordered(CONCURRENCY).collect().await;
        sent.into_iter().collect::<Result<(), RelayError>>()?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// What is known during a run.
struct Run<'a> {
    context: &'a Context,
    /// The latest time at which a call may begin.
    latest: Timestamp,
    /// The webhooks of each dataset.
    webhooks: Mutex<HashMap<Option<String>, Arc<OnceCell<FoundWebhooks>>>>,
    /// The URLs that have failed. Their other notifications wait for the next run, so that they keep no others waiting.
    failing: Mutex<BTreeSet<String>>,
}

impl Run<'_> {
    /// Sends a notification, unless its URL has failed, or another relay sends it.
    async fn send(&self, listed: &ListedNotification) -> Result<(), RelayError> {
        let context = self.context;
        let now = context.clock.now();
        if now >= self.latest || self.failing().contains(&listed.url) {
            return Ok(());
        }
        let claim = NotificationClaim {
            id: Uuid::new_v4().to_string(),
            until: now.saturating_add(CLAIM).unwrap_or(now).as_millisecond(),
        };
        let table = &context.notifications;
        let Some(claimed) = table.claim_notification(listed.place, &claim).await? else {
            return Ok(());
        };
        // Not the URL, whose path may be a secret.
        let (id, job) = (claimed.id, claimed.job);
        let end = match self.deliver(&claimed).await? {
            Delivery::Delivered => {
                info!(notification = %id, %job, "delivered");
                NotificationEnd::Delivered
            }
            Delivery::Retry { at, answer } => {
                warn!(notification = %id, %job, %at, "not delivered");
                self.failing().insert(claimed.url.clone());
                let answer = cut(answer);
                NotificationEnd::Retry { at, answer }
            }
            Delivery::SetAside(answer) => {
                error!(notification = %id, %job, "set aside");
                NotificationEnd::SetAside(cut(answer))
            }
        };
        self.record(id, &claim.id, &end).await
    }

    /// Calls the URL of a notification, as its definition says now.
    async fn deliver(&self, notification: &Notification) -> Result<Delivery, RelayError> {
        let context = self.context;
        let found = self.webhooks_of(notification.dataset.as_ref());
        let lookup = || context.webhooks.of(notification.dataset.as_deref());
        let found = found.get_or_try_init(lookup).await?;
        let mut webhooks = found.webhooks.iter();
        let webhook = webhooks.find(|webhook| webhook.url().as_str() == notification.url);
        let answered = match (webhook, &found.error) {
            (Some(webhook), _) => self.exchange(webhook, notification).await,
            (None, Some(error)) => Err(error.to_string()),
            (None, None) => {
                let answer = "no [[notify]] has this URL any more".to_owned();
                return Ok(Delivery::SetAside(answer));
            }
        };
        let reply = match &answered {
            Ok((status, headers, body)) => Reply::Answer {
                status: *status,
                headers,
                body,
            },
            Err(reason) => Reply::Lost(reason),
        };
        Ok(judge_delivery(
            &reply,
            notification.attempts,
            notification.since(),
            &context.secrets,
            context.clock.now(),
            (context.random)(),
        ))
    }

    /// Sends a request. Returns the answer, or why there is none.
    async fn exchange(
        &self,
        webhook: &Webhook,
        notification: &Notification,
    ) -> Result<Answer, String> {
        let context = self.context;
        let now = context.clock.now();
        let request = webhook.request(
            notification.id,
            &notification.payload,
            &context.secrets,
            now,
        );
        let request = request.map_err(|error| error.to_string())?;
        let allowed = context.policy.check_url(&request.url);
        allowed.map_err(|refused| refused.to_string())?;
        let end = now.saturating_add(TIMEOUT).unwrap_or(now);
        let answered = context.until(end, async {
            let received = context.transport.send(&request).await?;
            read(received).await
        });
        match answered.await {
            None => Err(format!("there was no answer within {TIMEOUT:#}")),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(answer)) => Ok(answer),
        }
    }

    /// Records the outcome of an attempt. If that fails, the claim ends without it, and the notification is sent again.
    async fn record(&self, id: Uuid, claim: &str, end: &NotificationEnd) -> Result<(), RelayError> {
        let context = self.context;
        let mut waits = RECORD_WAITS.into_iter();
        loop {
            let now = context.clock.now();
            let recorded = context.notifications.end_notification(id, claim, end, now);
            match (recorded.await, waits.next()) {
                (Err(error), Some(wait)) if error.retryable() => {
                    warn!(notification = %id, %error, "the end is recorded again");
                    context.clock.sleep(wait).await;
                }
                (recorded, _) => return Ok(recorded?),
            }
        }
    }

    fn webhooks_of(&self, dataset: Option<&String>) -> Arc<OnceCell<FoundWebhooks>> {
        let mut webhooks = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(webhooks.entry(dataset.cloned()).or_default())
    }

    fn failing(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
