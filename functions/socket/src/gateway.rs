use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::operation::delete_connection::DeleteConnectionError;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;

use crate::SocketError;
use crate::messages::Told;

/// How long a push may take, with its tries; others wait for it.
const PUSH_WITHIN: Duration = Duration::from_secs(5);
const TRY_WITHIN: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;

/// The WebSocket API, from behind.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    client: Client,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Push {
    /// The gateway has taken it.
    Taken,
    /// There is no such connection any more.
    Gone,
}

impl Gateway {
    /// The one whose stage is at `endpoint`.
    pub(crate) fn new(config: &SdkConfig, endpoint: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(TRY_WITHIN)
            .operation_attempt_timeout(TRY_WITHIN)
            .operation_timeout(PUSH_WITHIN)
            .build();
        let config = Builder::from(config)
            .endpoint_url(endpoint)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .build();
        Self {
            client: Client::from_conf(config),
        }
    }

    /// Sends a message over a connection.
    pub(crate) async fn push(&self, id: &str, message: &Blob) -> Result<Push, SocketError> {
        let sent = self
            .client
            .post_to_connection()
            .connection_id(id)
            .data(message.clone())
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Push::Taken),
            Err(error) => match error.as_service_error() {
                Some(PostToConnectionError::GoneException(_)) => Ok(Push::Gone),
                _ => Err(SocketError::of("PostToConnection", &error)),
            },
        }
    }

    /// Closes a connection, if it is there.
    pub(crate) async fn close(&self, id: &str) -> Result<(), SocketError> {
        let closed = self
            .client
            .delete_connection()
            .connection_id(id)
            .send()
            .await;
        match closed {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteConnectionError::GoneException(_)) => Ok(()),
                _ => Err(SocketError::of("DeleteConnection", &error)),
            },
        }
    }
}

/// The frame of a message.
pub(crate) fn frame(message: &Told<'_>) -> Result<Blob, SocketError> {
    serde_json::to_vec(message)
        .map(Blob::new)
        .map_err(SocketError::Answer)
}
