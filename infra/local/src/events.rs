//! A subscriber to completion events, built as an external one would be: a rule on the bus, and a queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use landfall_domain::CompletionEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

const NAME: &str = "landfall-local-events";

/// A completion event as a subscriber receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The whole event: `source`, `detail-type`, `time`, `detail` and so on.
    pub envelope: Value,
    /// The event's detail.
    pub detail: CompletionEvent,
    /// When it arrived in the subscriber's queue, to the millisecond.
    pub sent: SystemTime,
}

impl Event {
    fn parse(message: &Message) -> Result<Self> {
        let body = message.body().unwrap_or_default();
        let envelope: Value = serde_json::from_str(body).context("an event is not valid JSON")?;
        let detail = CompletionEvent::deserialize(&envelope["detail"])
            .context("the detail of an event is not a completion event")?;
        Ok(Self {
            envelope,
            detail,
            sent: sent_at(message)?,
        })
    }
}

/// Returns when a message arrived in its queue, from its `SentTimestamp` attribute. It is received later, because the
/// local endpoint polls its queues every 100 ms.
pub fn sent_at(message: &Message) -> Result<SystemTime> {
    let attributes = message.attributes();
    attributes
        .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
        .and_then(|milliseconds| milliseconds.parse().ok())
        .map(|milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
        .context("a message has no SentTimestamp")
}

/// Receives every Landfall event on a bus at least once.
#[derive(Debug)]
pub(crate) struct Subscriber {
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    received: Mutex<VecDeque<Event>>,
}

impl Subscriber {
    /// Creates the rule and the queue, or reuses those of an earlier run.
    pub(crate) async fn subscribe(config: &SdkConfig, bus: &str) -> Result<Self> {
        let sqs = aws_sdk_sqs::Client::new(config);
        let eventbridge = aws_sdk_eventbridge::Client::new(config);
        let queue_url = sqs
            .create_queue()
            .queue_name(NAME)
            .send()
            .await
            .context("cannot create the subscriber's queue")?
            .queue_url
            .context("the subscriber's queue has no URL")?;
        let attributes = sqs
            .get_queue_attributes()
            .queue_url(&queue_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .context("cannot read the attributes of the subscriber's queue")?;
        let queue_arn = attributes
            .attributes()
            .and_then(|all| all.get(&QueueAttributeName::QueueArn))
            .context("the subscriber's queue has no ARN")?;
        let rule_arn = eventbridge
            .put_rule()
            .name(NAME)
            .event_bus_name(bus)
            .event_pattern(json!({ "source": [CompletionEvent::SOURCE] }).to_string())
            .send()
            .await
            .context("cannot create the subscriber's rule")?
            .rule_arn
            .context("the subscriber's rule has no ARN")?;
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "events.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": { "ArnEquals": { "aws:SourceArn": rule_arn } },
            }],
        });
        sqs.set_queue_attributes()
            .queue_url(&queue_url)
            .attributes(QueueAttributeName::Policy, policy.to_string())
            .send()
            .await
            .context("cannot allow the rule to send to the subscriber's queue")?;
        let targets = eventbridge
            .put_targets()
            .event_bus_name(bus)
            .rule(NAME)
            .targets(Target::builder().id(NAME).arn(queue_arn).build()?)
            .send()
            .await
            .context("cannot set the target of the rule")?;
        ensure!(
            targets.failed_entry_count() == 0,
            "EventBridge rejected the target of the rule: {:?}",
            targets.failed_entries()
        );
        Ok(Self {
            sqs,
            queue_url,
            received: Mutex::default(),
        })
    }

    /// Returns the next event, or nothing if none arrives in time.
    pub(crate) async fn next(&self, timeout: Duration) -> Result<Option<Event>> {
        let deadline = Instant::now() + timeout;
        let mut received = self.received.lock().await;
        loop {
            if let Some(event) = received.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Waits are whole seconds; short ones keep the timeout accurate.
            let wait = i32::from(left >= Duration::from_secs(1));
            let answer = self
                .sqs
                .receive_message()
                .queue_url(&self.queue_url)
                .max_number_of_messages(10)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .wait_time_seconds(wait)
                .send()
                .await
                .context("cannot receive events")?;
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() && wait == 0 {
                tokio::time::sleep(left.min(Duration::from_millis(20))).await;
            }
            for message in messages {
                received.push_back(Event::parse(&message)?);
                self.sqs
                    .delete_message()
                    .queue_url(&self.queue_url)
                    .set_receipt_handle(message.receipt_handle)
                    .send()
                    .await
                    .context("cannot delete a received event")?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrival_time_of_a_message_is_its_sent_timestamp() {
        let message = Message::builder()
            .attributes(MessageSystemAttributeName::SentTimestamp, "1763782000250")
            .build();
        let since = sent_at(&message)
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(since.unwrap(), Duration::from_millis(1_763_782_000_250));
        assert!(sent_at(&Message::builder().build()).is_err());
    }
}
