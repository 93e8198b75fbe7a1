use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, future, stream};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, error};

/// An error that reports whether another attempt may succeed.
pub trait Retryable: std::error::Error {
    /// Returns whether another attempt may succeed.
    fn retryable(&self) -> bool;
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, which reports its failure. If SQS sent none, it is empty, and the whole batch is redelivered.
    pub id: String,
    /// Its receipt handle.
    pub receipt: String,
    /// How often it has been received, approximately, including this time; `None` if SQS does not report it.
    pub receive_count: Option<u32>,
    /// Its body.
    pub body: String,
    pub(crate) group: Option<String>,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// When to stop. Unprocessed messages fail. Leave time for the response: without it, every message is redelivered.
    pub stop_at: Instant,
    /// The maximum number of groups that are processed at the same time.
    pub concurrency: usize,
}

impl From<SqsMessage> for Message {
    fn from(mut message: SqsMessage) -> Self {
        let receive_count = message.attributes.get("ApproximateReceiveCount");
        Self {
            receive_count: receive_count.and_then(|count| count.parse().ok()),
            group: message.attributes.remove("MessageGroupId"),
            id: message.message_id.unwrap_or_default(),
            receipt: message.receipt_handle.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
        }
    }
}

/// Processes the messages of a batch and returns those that failed.
///
/// The messages of a FIFO group are processed together, in order, and fail together. A message of a standard queue is
/// a separate group. A panic fails the group that caused it. `span` is that of the log lines of a group.
pub async fn process_batch<E: Retryable>(
    event: SqsEvent,
    limits: BatchLimits,
    span: impl Fn(&[Message]) -> Span,
    handle: impl AsyncFn(&[Message]) -> Result<(), E>,
) -> Vec<Message> {
    let process = async |group: Vec<Message>| {
        let handled = AssertUnwindSafe(handle(&group)).catch_unwind();
        let handled = timeout_at(limits.stop_at, handled).await;
        let messages: Vec<&str> = group.iter().map(|message| message.id.as_str()).collect();
        match handled {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err(error))) => {
                let retryable = error.retryable();
                error!(?messages, %error, retryable, "messages failed");
            }
            Ok(Err(_)) => error!(?messages, "messages failed: the handler panicked"),
            Err(_) => error!(?messages, "messages failed: no time is left"),
        }
        Some(group)
    };
    let process = &process;
    stream::iter(groups(event))
        .map(|group| {
            let span = span(&group);
            process(group).instrument(span)
        })
        .buffer_unordered(limits.concurrency)
        .filter_map(future::ready)
        .collect::<Vec<_>>()
        .await
        .concat()
}

/// Returns the response that has failed messages redelivered.
pub fn batch_response(failed: Vec<Message>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|message| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.id;
            failure
        })
        .collect();
    response
}

/// Groups messages by their FIFO group, in the order of the first message of each.
fn groups(event: SqsEvent) -> Vec<Vec<Message>> {
    let mut groups: Vec<Vec<Message>> = Vec::new();
    let mut by_name = HashMap::new();
    for message in event.records.into_iter().map(Message::from) {
        let index = match &message.group {
            Some(name) => *by_name.entry(name.clone()).or_insert(groups.len()),
            None => groups.len(),
        };
        match groups.get_mut(index) {
            Some(group) => group.push(message),
            None => groups.push(vec![message]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed")]
    struct Failed;

    impl Retryable for Failed {
        fn retryable(&self) -> bool {
            true
        }
    }

    fn event(messages: &[(&str, Option<&str>)]) -> SqsEvent {
        let mut event = SqsEvent::default();
        for (body, group) in messages {
            let mut message = SqsMessage::default();
            message.message_id = Some((*body).to_owned());
            message.body = Some((*body).to_owned());
            if let Some(group) = group {
                let name = "MessageGroupId".to_owned();
                message.attributes.insert(name, (*group).to_owned());
            }
            event.records.push(message);
        }
        event
    }

    /// Returns the calls, as joined bodies, and the ids of the failed messages.
    async fn process(event: SqsEvent, concurrency: usize) -> (Vec<String>, Vec<String>) {
        let calls = Mutex::new(Vec::new());
        let limits = BatchLimits {
            stop_at: Instant::now() + Duration::from_millis(200),
            concurrency,
        };
        let failed = process_batch(
            event,
            limits,
            |_| Span::none(),
            async |messages: &[Message]| {
                let bodies: Vec<&str> = messages.iter().map(|one| one.body.as_str()).collect();
                calls.lock().unwrap().push(bodies.join(" "));
                for body in bodies {
                    match body {
                        "fails" => return Err(Failed),
                        "panics" => panic!("a defect"),
                        "hangs" => future::pending::<()>().await,
                        _ => {}
                    }
                }
                Ok(())
            },
        );
        let failures = batch_response(failed.await).batch_item_failures.into_iter();
        let failures = failures.map(|failure| failure.item_identifier).collect();
        (calls.into_inner().unwrap(), failures)
    }

    #[tokio::test]
    async fn only_failed_messages_are_reported() {
        let messages = ["a", "fails", "b", "panics", "c"].map(|body| (body, None));
        let (calls, failed) = process(event(&messages), 1).await;
        assert_eq!(calls, ["a", "fails", "b", "panics", "c"]);
        assert_eq!(failed, ["fails", "panics"]);
    }

    #[tokio::test]
    async fn messages_without_time_left_are_reported() {
        let messages = ["a", "hangs", "b"].map(|body| (body, None));
        let (calls, failed) = process(event(&messages), 1).await;
        assert_eq!(calls[..2], ["a", "hangs"]);
        assert_eq!(failed, ["hangs"]);
    }

    #[tokio::test]
    async fn a_fifo_group_fails_as_a_whole_and_others_do_not() {
        let messages = [
            ("a1", Some("a")),
            ("b1", Some("b")),
            ("fails", Some("a")),
            ("b2", Some("b")),
        ];
        let (calls, failed) = process(event(&messages), 4).await;
        assert_eq!(calls, ["a1 fails", "b1 b2"]);
        assert_eq!(failed, ["a1", "fails"]);
    }
}
