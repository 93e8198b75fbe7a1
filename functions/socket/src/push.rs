use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use landfall_auth::{Grant, Scope};
use landfall_domain::JobId;
use landfall_ledger::{JobHead, JobView, LedgerTable};
use landfall_runtime::{BatchLimits, Message, batch_response, process_batch};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use crate::connections::Subscriber;
use crate::gateway::{Push, frame};
use crate::messages::{Told, Topic};
use crate::queue::PushMessage;
use crate::{Context, SocketError};

/// Jobs that are pushed at once.
pub const JOBS_AT_ONCE: usize = 4;
/// Pushes of a job under way at once.
const PUSHES_AT_ONCE: usize = 32;
/// By how many milliseconds the clocks of those who publish completions and those who subscribe may differ.
const CLOCKS_DIFFER: i64 = 5_000;
/// How long messages that failed may take to be put back; the answer comes after it.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Pushes the jobs of a batch of messages, and says which messages have to come again.
pub(crate) async fn push_all(
    context: &Context,
    event: SqsEvent,
    stop_at: Instant,
) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at,
        concurrency: JOBS_AT_ONCE,
    };
    // The group of a message is its job.
    let failed = process_batch(event, limits, async |messages: &[Message]| {
        for (job, audience) in audiences(messages) {
            push(context, job, &audience).await?;
        }
        Ok::<_, SocketError>(())
    })
    .await;
    // Otherwise, nothing would be said of these jobs until the visibility timeout is over.
    let put_back = timeout(PUT_BACK_WITHIN, context.queue.put_back(&failed)).await;
    if let Err(error) = put_back.unwrap_or(Err(SocketError::Time)) {
        warn!(%error, "messages that failed come again late");
    }
    batch_response(failed)
}

/// Whom to tell.
#[derive(Debug, PartialEq, Eq)]
enum Audience {
    All,
    These(BTreeSet<String>),
}

/// Whom messages want to be told of each job. What is said of a job is read once, so that many messages lead to one
/// push.
fn audiences(messages: &[Message]) -> BTreeMap<JobId, Audience> {
    let mut jobs = BTreeMap::new();
    for message in messages {
        let message: PushMessage = match serde_json::from_str(&message.body) {
            Ok(message) => message,
            Err(error) => {
                // Not this function's own; it would not be another time either.
                error!(%error, "not a message of the push queue");
                continue;
            }
        };
        let audience = jobs
            .entry(message.job)
            .or_insert_with(|| Audience::These(BTreeSet::new()));
        match (&mut *audience, message.to) {
            (Audience::All, _) => {}
            (audience, None) => *audience = Audience::All,
            (Audience::These(connections), Some(to)) => {
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
    let audience = audience_of(context, &head, audience).await?;
    if audience.is_empty() {
        return Ok(());
    }
    if head.published {
        push_completion(context, &head, audience).await
    } else {
        push_progress(context, &head, audience).await
    }
}

/// Who is to be told of a job: each connection once, however many ways it has subscribed.
async fn audience_of(
    context: &Context,
    head: &JobHead,
    audience: &Audience,
) -> Result<BTreeMap<String, Subscriber>, SocketError> {
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
        Audience::These(connections) => {
            for id in connections {
                found.extend(context.connections.subscriber(&topic, id).await?);
            }
        }
    }
    Ok(found
        .into_iter()
        .filter(|subscriber| concerns(head, subscriber))
        .map(|subscriber| (subscriber.connection.clone(), subscriber))
        .collect())
}

/// Whether a subscriber may know of a job, and was there before its completion could be pushed.
fn concerns(head: &JobHead, subscriber: &Subscriber) -> bool {
    let grant = Grant {
        name: String::new(),
        scopes: [Scope::Read].into(),
        datasets: subscriber.datasets.clone(),
    };
    // A head of an earlier release has no time of publication.
    let over_before = || {
        let over = head.published_at.as_ref().or(head.closed_at.as_ref())?;
        let over: Timestamp = over.parse().ok()?;
        Some(over.as_millisecond() + CLOCKS_DIFFER < subscriber.since?)
    };
    grant.may(Scope::Read, head.object.dataset_name()) && !over_before().unwrap_or_default()
}

type Subscribers = BTreeMap<String, Subscriber>;

async fn push_progress(
    context: &Context,
    head: &JobHead,
    to: Subscribers,
) -> Result<(), SocketError> {
    let view = JobView::read(&context.ledger, head).await?;
    let message = frame(&Told::Job { job: &view })?;
    let message = &message;
    stream::iter(to.into_values())
        .for_each_concurrent(PUSHES_AT_ONCE, |subscriber| async move {
            if let Err(error) = push_one(context, head, &subscriber, message).await {
                warn!(job = %head.job, connection = subscriber.connection, %error, "progress was not pushed");
            }
        })
        .await;
    Ok(())
}

async fn push_completion(
    context: &Context,
    head: &JobHead,
    mut to: Subscribers,
) -> Result<(), SocketError> {
    let job = head.job;
    for told in context.connections.told(job).await? {
        to.remove(&told);
    }
    let view = JobView::read(&context.ledger, head).await?;
    let message = frame(&Told::Completed { job: &view })?;
    let message = &message;
    let (told, failed) = stream::iter(to.into_values())
        .map(|subscriber| async move {
            let told = match push_one(context, head, &subscriber, message).await {
                Ok(Push::Taken) => {
                    let set = context.connections.set_told(job, &subscriber).await;
                    set.map(|()| 1)
                }
                Ok(Push::Gone) => Ok(0),
                Err(error) => Err(error),
            };
            told.map_err(|error| {
                warn!(%job, connection = subscriber.connection, %error, "completion was not pushed");
            })
        })
        .buffer_unordered(PUSHES_AT_ONCE)
        .fold((0, 0), |(told, failed), one| async move {
            one.map_or((told, failed + 1), |one| (told + one, failed))
        })
        .await;
    info!(%job, told, failed, "completion");
    if failed > 0 {
        return Err(SocketError::Untold(failed));
    }
    Ok(())
}

/// Pushes to one connection, and forgets it if it is gone.
async fn push_one(
    context: &Context,
    head: &JobHead,
    subscriber: &Subscriber,
    message: &Blob,
) -> Result<Push, SocketError> {
    let id = &subscriber.connection;
    let push = context.gateway.push(id, message).await?;
    if push == Push::Gone {
        debug!(connection = id, "gone");
        let dataset = head.object.dataset_name();
        let dataset = dataset.map(|name| Topic::Dataset(name.to_owned()));
        let topics: Vec<_> = std::iter::once(Topic::Job(head.job))
            .chain(dataset)
            .collect();
        context.connections.prune(id, &topics).await?;
    }
    Ok(push)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use landfall_auth::Access;
    use landfall_domain::{ObjectOrder, ObjectRef};
    use landfall_ledger::Pinned;

    use super::*;

    fn head(key: &str) -> JobHead {
        let object: ObjectRef = serde_json::from_value(serde_json::json!({
            "bucket": "inbox", "key": key, "version": "1", "size": 1, "etag": "",
        }))
        .unwrap();
        let job = JobId::of("inbox", key, "1");
        let order = ObjectOrder::new(0, "00", job).unwrap();
        JobHead::new(job, object, order, Pinned::default())
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
    fn a_job_is_pushed_once_for_all_that_a_batch_says_of_it() {
        let event: SqsEvent =
            serde_json::from_str(include_str!("../../../events/sqs-pushes.json")).unwrap();
        let messages: Vec<Message> = event.records.into_iter().map(Message::from).collect();
        let audiences: Vec<Audience> = audiences(&messages).into_values().collect();
        let late = BTreeSet::from(["L0SM9cOFvHcCIhw=".to_owned()]);
        assert_eq!(audiences, [Audience::All, Audience::These(late)]);
    }

    #[test]
    fn a_job_is_no_concern_of_a_token_for_other_datasets() {
        let orders = Access::Only(["orders".to_owned()].into());
        let mine = subscriber(orders.clone(), None);
        assert!(concerns(&head("orders/a.csv"), &mine));
        assert!(!concerns(&head("products/a.csv"), &mine));
        // What names no dataset is for those who may see all.
        assert!(!concerns(&head("a.csv"), &mine));
        assert!(concerns(&head("a.csv"), &subscriber(Access::All, None)));
    }

    #[test]
    fn a_dataset_subscribed_to_later_says_nothing_of_jobs_closed_before() {
        let mut head = head("orders/a.csv");
        let closed: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at =
            |seconds: i64| subscriber(Access::All, Some(closed.as_millisecond() + seconds * 1000));
        assert!(concerns(&head, &at(60)), "it is open");
        head.closed_at = Some(closed.to_string());
        assert!(!concerns(&head, &at(60)));
        assert!(concerns(&head, &at(-60)));
        assert!(concerns(&head, &at(1)), "clocks differ");
        assert!(concerns(&head, &subscriber(Access::All, None)));
        // Its event was published by the second try: who came in between was told of it as closed alone.
        let published = closed + SignedDuration::from_secs(120);
        head.published_at = Some(published.to_string());
        assert!(concerns(&head, &at(60)));
        assert!(!concerns(&head, &at(180)));
    }
}
