use std::time::Duration;

use aws_lambda_events::event::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::event::dynamodb;
use aws_lambda_events::event::sqs::SqsEvent;
use landfall_runtime::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, SocketError, push, routes, stream};

/// Time kept for the response.
const RESERVE: Duration = Duration::from_secs(3);

/// Handles a route of the WebSocket API, records of the ledger's stream, or messages of the push queue.
pub async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Value, SocketError> {
    match Source::detect(&event) {
        Some(Source::Route) => {
            let request: Box<ApiGatewayWebsocketProxyRequest> = read(event)?;
            write(&routes::respond(context, &request).await?)
        }
        Some(Source::Ledger) => {
            let event: dynamodb::Event = read(event)?;
            stream::enqueue_pushes(context, &event).await?;
            Ok(Value::Null)
        }
        Some(Source::Queue) => {
            let event: SqsEvent = read(event)?;
            write(&push::push_batch(context, event, deadline.stop_at(RESERVE)).await)
        }
        None => Err(SocketError::UnknownSource),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Route,
    Ledger,
    Queue,
}

impl Source {
    fn detect(event: &Value) -> Option<Self> {
        if event.get("requestContext").is_some() {
            return Some(Self::Route);
        }
        match event.pointer("/Records/0/eventSource")?.as_str()? {
            "aws:dynamodb" => Some(Self::Ledger),
            "aws:sqs" => Some(Self::Queue),
            _ => None,
        }
    }
}

fn read<T: DeserializeOwned>(event: Value) -> Result<T, SocketError> {
    serde_json::from_value(event).map_err(SocketError::Event)
}

fn write(response: &impl Serialize) -> Result<Value, SocketError> {
    serde_json::to_value(response).map_err(SocketError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_recognized_by_their_source() {
        let source = |text: &str| Source::detect(&serde_json::from_str(text).unwrap());
        for (text, expected) in [
            (
                include_str!("../../../events/socket-connect.json"),
                Some(Source::Route),
            ),
            (
                include_str!("../../../events/socket-subscribe.json"),
                Some(Source::Route),
            ),
            (
                include_str!("../../../events/ledger-stream.json"),
                Some(Source::Ledger),
            ),
            (
                include_str!("../../../events/sqs-pushes.json"),
                Some(Source::Queue),
            ),
            (include_str!("../../../events/s3-object-created.json"), None),
            (r#"{"Records":[]}"#, None),
        ] {
            assert_eq!(source(text), expected, "{text}");
        }
    }
}
