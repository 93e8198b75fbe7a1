use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::error::DisplayErrorContext;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use landfall_domain::CompletionEvent;
use landfall_ledger::Publisher;

/// The bus that completion events go to.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    bus: String,
}

impl EventBus {
    /// The bus of this name.
    pub fn new(client: Client, bus: impl Into<String>) -> Self {
        Self {
            client,
            bus: bus.into(),
        }
    }
}

#[async_trait]
impl Publisher for EventBus {
    async fn publish(&self, event: &CompletionEvent) -> Result<(), String> {
        let detail = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(CompletionEvent::SOURCE)
            .detail_type(CompletionEvent::DETAIL_TYPE)
            .detail(detail)
            .build();
        let answer = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| DisplayErrorContext(error).to_string())?;
        // An entry that failed comes with HTTP 200.
        let failed = answer
            .entries()
            .iter()
            .find(|entry| entry.error_code().is_some() || entry.event_id().is_none());
        match failed {
            None if answer.failed_entry_count() == 0 => Ok(()),
            failed => Err(format!(
                "{}: {}",
                failed
                    .and_then(|entry| entry.error_code())
                    .unwrap_or("failed entry"),
                failed
                    .and_then(|entry| entry.error_message())
                    .unwrap_or_default(),
            )),
        }
    }
}
