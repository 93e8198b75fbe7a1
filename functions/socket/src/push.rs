use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use landfall_domain::JobId;
use landfall_ledger::{JobHead, JobView};
use landfall_runtime::{BatchLimits, Message, batch_response, process_batch, put_back};
use tokio::time::Instant;
use tracing::{Span, debug, error, error_span, info, warn};

use crate::connections::Subscriber;
use crate::gateway::Delivery;
use crate::messages::{ServerMessage, Topic};
use crate::queue::{LONGEST_DELAY, PushMessage};
use crate::{Context, SocketError};

/// Jobs that are pushed concurrently.
pub const CONCURRENT_JOBS: usize = 4;
/// Pushes of one job that are sent concurrently.
const CONCURRENT_PUSHES: usize = 32;
/// Milliseconds by which the clocks of functions that publish completions and functions that record subscriptions
/// may differ.
const CLOCK_SKEW: i64 = 5_000;

/// Pushes the jobs of a batch of messages, and returns the messages to redeliver.
pub(crate) async fn push_batch(
    context: &Context,
    event: SqsEvent,
    stop_at: Instant,
) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at,
        concurrency: CONCURRENT_JOBS,
    };
    // The FIFO group of a message is its job.
    let failed = process_batch(event, limits, span_of, async |messages: &[Message]| {
        for (job, audience) in audiences(messages) {
            push(context, job, &audience).await?;
        }
        Ok::<_, SocketError>(())
    })
    .await;
    // Otherwise these jobs are not pushed until the visibility timeout is over.
    put_back(&*context.queue, &failed, LONGEST_DELAY).await;
    batch_response(failed)
}

/// Returns the span of the log lines about messages of one job. It has the level of errors, so that their lines have
/// it, too.
fn span_of(messages: &[Message]) -> Span {
    let parsed = |message: &Message| serde_json::from_str::<PushMessage>(&message.body).ok();
    match messages.iter().find_map(parsed) {
        Some(message) => error_span!("push", job = %message.job),
        None => Span::none(),
    }
}

/// The subscribers to push to.
#[derive(Debug, PartialEq, Eq)]
enum Audience {
    All,
    Only(BTreeSet<String>),
}

/// Returns the audience of each job that messages are about, so that each job is read and pushed once.
fn audiences(messages: &[Message]) -> BTreeMap<JobId, Audience> {
    let mut jobs = BTreeMap::new();
    for message in messages {
        let message: PushMessage = match serde_json::from_str(&message.body) {
            Ok(message) => message,
            Err(error) => {
                // A redelivery would fail as well.
                error!(%error, "not a message of the push queue");
                continue;
            }
        };
        let audience = jobs
            .entry(message.job)
            .or_insert_with(|| Audience::Only(BTreeSet::new()));
        match (&mut *audience, message.to) {
            (Audience::All, _) => {}
            (audience, None) => *audience = Audience::All,
            (Audience::Only(connections), Some(to)) => {
                connections.insert(to);
            }
        }
    }
    jobs
}

async fn push(context: &Context, job: JobId, audience: &Audience) -> Result<(), SocketError> {
    let Some(head) = context.ledger.head(job).await? else {
        return Ok(());
    };
    let subscribers = subscribers(context, &head, audience).await?;
    if subscribers.is_empty() {
        return Ok(());
    }
    if head.published {
        push_completion(context, &head, subscribers).await
    } else {
        push_progress(context, &head, subscribers).await
    }
}

/// Subscribers by connection.
type Subscribers = BTreeMap<String, Subscriber>;

/// Returns the subscribers to push a job to: each connection once, even if it has subscribed to both the job and
/// its dataset.
async fn subscribers(
    context: &Context,
    head: &JobHead,
    audience: &Audience,
) -> Result<Subscribers, SocketError> {
    let topic = Topic::Job(head.job);
    let mut found = Vec::new();
    match audience {
        Audience::All => {
            if let Some(name) = head.object.dataset_name() {
                let dataset = Topic::Dataset(name.to_owned());
                found = context.connections.subscribers(&dataset).await?;
            }
            found.extend(context.connections.subscribers(&topic).await?);
        }
        Audience::Only(connections) => {
            for id in connections {
                found.extend(context.connections.subscriber(&topic, id).await?);
            }
        }
    }
    Ok(found
        .into_iter()
        .filter(|subscriber| receives(head, subscriber))
        .map(|subscriber| (subscriber.connection.clone(), subscriber))
        .collect())
}

/// Reports whether a subscriber's token covers a job, and whether it subscribed before the completion was pushed to
/// all.
fn receives(head: &JobHead, subscriber: &Subscriber) -> bool {
    let subscribed_too_late = match (ended_at(head), subscriber.since) {
        (Some(ended), Some(since)) => ended.as_millisecond() + CLOCK_SKEW < since,
        _ => false,
    };
    subscriber.datasets.includes(head.object.dataset_name()) && !subscribed_too_late
}

/// Returns when a job's completion was published; for heads written by an earlier release, when it closed.
fn ended_at(head: &JobHead) -> Option<Timestamp> {
    let text = head.published_at.as_ref().or(head.closed_at.as_ref())?;
    let ended = text.parse();
    debug_assert!(ended.is_ok(), "job {}: {text:?} is not a time", head.job);
    ended.ok()
}

async fn push_progress(
    context: &Context,
    head: &JobHead,
    subscribers: Subscribers,
) -> Result<(), SocketError> {
    let view = JobView::read(&*context.ledger, head).await?;
    let frame = ServerMessage::Job { job: &view }.encode()?;
    let frame = &frame;
    stream::iter(subscribers.into_values())
        .for_each_concurrent(CONCURRENT_PUSHES, |subscriber| async move {
            if let Err(error) = push_one(context, head, &subscriber, frame).await {
                warn!(connection = subscriber.connection, %error, "progress was not pushed");
            }
        })
        .await;
    Ok(())
}

async fn push_completion(
    context: &Context,
    head: &JobHead,
    mut subscribers: Subscribers,
) -> Result<(), SocketError> {
    let job = head.job;
    for connection in context.connections.notified(job).await? {
        subscribers.remove(&connection);
    }
    let view = JobView::read(&*context.ledger, head).await?;
    let frame = ServerMessage::Completed { job: &view }.encode()?;
    let frame = &frame;
    let (notified, failed) = stream::iter(subscribers.into_values())
        .map(|subscriber| async move {
            let notified = match push_one(context, head, &subscriber, frame).await {
                Ok(Delivery::Accepted) => {
                    let set = context.connections.set_notified(job, &subscriber).await;
                    set.map(|()| 1)
                }
                Ok(Delivery::Gone) => Ok(0),
                Err(error) => Err(error),
            };
            notified.map_err(|error| {
                warn!(connection = subscriber.connection, %error, "completion was not pushed");
            })
        })
        .buffer_unordered(CONCURRENT_PUSHES)
        .fold((0, 0), |(notified, failed), result| async move {
            result.map_or((notified, failed + 1), |count| (notified + count, failed))
        })
        .await;
    info!(notified, failed, "completion pushed");
    if failed > 0 {
        return Err(SocketError::Undelivered(failed));
    }
    Ok(())
}

/// Pushes to one connection, and deletes it if it is gone.
async fn push_one(
    context: &Context,
    head: &JobHead,
    subscriber: &Subscriber,
    frame: &[u8],
) -> Result<Delivery, SocketError> {
    let id = &subscriber.connection;
    let delivery = context.gateway.post(id, frame).await?;
    if delivery == Delivery::Gone {
        debug!(connection = id, "gone");
        let dataset = head.object.dataset_name();
        let dataset = dataset.map(|name| Topic::Dataset(name.to_owned()));
        let topics: Vec<_> = std::iter::once(Topic::Job(head.job))
            .chain(dataset)
            .collect();
        context.connections.prune(id, &topics).await?;
    }
    Ok(delivery)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use landfall_auth::Access;
    use landfall_domain::{ObjectOrder, ObjectRef};

    use super::*;

    fn head(key: &str) -> JobHead {
        let object: ObjectRef = serde_json::from_value(serde_json::json!({
            "bucket": "inbox", "key": key, "version": "1", "size": 1, "etag": "",
        }))
        .unwrap();
        let job = JobId::for_object("inbox", key, "1");
        let order = ObjectOrder::new(0, "00", job).unwrap();
        JobHead::new(job, object, order)
    }

    fn subscriber(datasets: Access, since: Option<i64>) -> Subscriber {
        Subscriber {
            connection: "c".to_owned(),
            datasets,
            since,
            expires_at: i64::MAX,
        }
    }

    #[test]
    fn the_messages_of_a_batch_about_one_job_lead_to_one_push() {
        let event: SqsEvent =
            serde_json::from_str(include_str!("../../../events/sqs-pushes.json")).unwrap();
        let messages: Vec<Message> = event.records.into_iter().map(Message::from).collect();
        let audiences: Vec<Audience> = audiences(&messages).into_values().collect();
        let late = BTreeSet::from(["L0SM9cOFvHcCIhw=".to_owned()]);
        assert_eq!(audiences, [Audience::All, Audience::Only(late)]);
    }

    #[test]
    fn a_job_is_not_pushed_to_tokens_for_other_datasets() {
        let orders = Access::Only(["orders".to_owned()].into());
        let mine = subscriber(orders, None);
        assert!(receives(&head("orders/a.csv"), &mine));
        assert!(!receives(&head("products/a.csv"), &mine));
        // A key that names no dataset is visible to tokens for all datasets only.
        assert!(!receives(&head("a.csv"), &mine));
        assert!(receives(&head("a.csv"), &subscriber(Access::All, None)));
    }

    #[test]
    fn subscribers_to_a_dataset_receive_no_jobs_that_ended_before() {
        let mut head = head("orders/a.csv");
        let closed: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at =
            |seconds: i64| subscriber(Access::All, Some(closed.as_millisecond() + seconds * 1000));
        assert!(receives(&head, &at(60)), "it is open");
        head.closed_at = Some(closed.to_string());
        assert!(!receives(&head, &at(60)));
        assert!(receives(&head, &at(-60)));
        assert!(receives(&head, &at(1)), "clocks differ");
        assert!(receives(&head, &subscriber(Access::All, None)));
        // A retry published the event: a subscriber in between has received the job as closed only.
        let published = closed + SignedDuration::from_secs(120);
        head.published_at = Some(published.to_string());
        assert!(receives(&head, &at(60)));
        assert!(!receives(&head, &at(180)));
    }
}
