use std::time::Duration;

use aws_lambda_events::event::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::event::dynamodb;
use aws_lambda_events::event::sqs::SqsEvent;
use landfall_runtime::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, SocketError, push, routes, stream};

const ROUTE: &str = "aws:apigateway";
const LEDGER: &str = "aws:dynamodb";
const QUEUE: &str = "aws:sqs";
/// Time kept for the response.
const RESERVE: Duration = Duration::from_secs(3);

/// Handles a route of the WebSocket API, records of the ledger's stream, or messages of the push queue.
pub async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Value, SocketError> {
    match source(&event) {
        ROUTE => {
            let request: Box<ApiGatewayWebsocketProxyRequest> = read(ROUTE, event)?;
            write(&routes::respond(context, &request).await?)
        }
        LEDGER => {
            let event: dynamodb::Event = read(LEDGER, event)?;
            stream::enqueue_pushes(context, &event).await?;
            Ok(Value::Null)
        }
        QUEUE => {
            let event: SqsEvent = read(QUEUE, event)?;
            write(&push::push_batch(context, event, deadline.stop_at(RESERVE)).await)
        }
        _ => Err(SocketError::UnknownSource),
    }
}

/// Returns the service that sent an event, or an empty text.
fn source(event: &Value) -> &str {
    if event.get("requestContext").is_some() {
        return ROUTE;
    }
    let source = event.pointer("/Records/0/eventSource");
    source.and_then(Value::as_str).unwrap_or_default()
}

fn read<T: DeserializeOwned>(origin: &'static str, event: Value) -> Result<T, SocketError> {
    serde_json::from_value(event).map_err(|error| SocketError::Event { origin, error })
}

fn write(response: &impl Serialize) -> Result<Value, SocketError> {
    serde_json::to_value(response).map_err(SocketError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_recognized_by_their_source() {
        for (event, expected) in [
            (include_str!("../../../events/socket-connect.json"), ROUTE),
            (include_str!("../../../events/socket-subscribe.json"), ROUTE),
            (include_str!("../../../events/ledger-stream.json"), LEDGER),
            (include_str!("../../../events/sqs-pushes.json"), QUEUE),
            (
                include_str!("../../../events/s3-object-created.json"),
                "aws:s3",
            ),
            (r#"{"Records":[]}"#, ""),
        ] {
            assert_eq!(source(&serde_json::from_str(event).unwrap()), expected);
        }
    }
}
