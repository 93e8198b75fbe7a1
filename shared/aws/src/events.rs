use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use landfall_domain::CompletionEvent;

use crate::AwsError;
use crate::batch::{RejectedEntry, send_batch};

const OPERATION: &str = "PutEvents";

/// Publishes completion events.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes an event; returns when the bus has accepted it.
    async fn publish(&self, event: &CompletionEvent) -> Result<(), AwsError>;
}

/// An event bus in EventBridge.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    bus: String,
}

impl EventBus {
    /// Returns the bus with this name.
    pub fn new(client: Client, bus: impl Into<String>) -> Self {
        Self {
            client,
            bus: bus.into(),
        }
    }

    /// Publishes a batch of one event.
    async fn put(
        &self,
        entries: Vec<PutEventsRequestEntry>,
    ) -> Result<Vec<RejectedEntry>, AwsError> {
        let response = self
            .client
            .put_events()
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &self.bus, &error))?;
        let [result] = response.entries() else {
            let reason = format!("{} results of one entry", response.entries().len());
            return Err(AwsError::unexpected_response(OPERATION, &self.bus, reason));
        };
        // A rejected entry has no id.
        if result.event_id().is_some() {
            return Ok(Vec::new());
        }
        let (code, message) = (result.error_code(), result.error_message());
        let reason = format!("{code:?}: {message:?}");
        let error = AwsError::from_code(OPERATION, &self.bus, code, reason);
        Ok(vec![RejectedEntry { index: 0, error }])
    }
}

#[async_trait]
impl Publisher for EventBus {
    async fn publish(&self, event: &CompletionEvent) -> Result<(), AwsError> {
        let detail = serde_json::to_string(event)
            .map_err(|error| AwsError::refused(OPERATION, &self.bus, error))?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(CompletionEvent::SOURCE)
            .detail_type(CompletionEvent::DETAIL_TYPE)
            .detail(detail)
            .build();
        send_batch(vec![entry], |entries| self.put(entries)).await
    }
}
