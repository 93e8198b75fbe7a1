use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::operation::delete_connection::DeleteConnectionError;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use landfall_aws::AwsError;

use crate::SocketError;

/// Timeout of one message with all its attempts. Pushes to other connections wait for it.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ATTEMPTS: u32 = 3;

/// The management side of the WebSocket API: messages to clients.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Sends a text frame over a connection.
    async fn post(&self, connection: &str, frame: &[u8]) -> Result<Delivery, SocketError>;

    /// Closes a connection, if it is open.
    async fn close(&self, connection: &str) -> Result<(), SocketError>;
}

/// The outcome of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The gateway has accepted the message.
    Accepted,
    /// The connection no longer exists.
    Gone,
}

/// The deployed [`Gateway`]: Amazon API Gateway.
#[derive(Clone, Debug)]
pub(crate) struct ApiGateway {
    client: Client,
}

impl ApiGateway {
    /// Creates a client for the stage at `endpoint`.
    pub(crate) fn new(config: &SdkConfig, endpoint: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(POST_TIMEOUT)
            .build();
        let config = Builder::from(config)
            .endpoint_url(endpoint)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .build();
        Self {
            client: Client::from_conf(config),
        }
    }
}

#[async_trait]
impl Gateway for ApiGateway {
    async fn post(&self, connection: &str, frame: &[u8]) -> Result<Delivery, SocketError> {
        let sent = self
            .client
            .post_to_connection()
            .connection_id(connection)
            .data(Blob::new(frame))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Delivery::Accepted),
            Err(error) => match error.as_service_error() {
                Some(PostToConnectionError::GoneException(_)) => Ok(Delivery::Gone),
                _ => Err(AwsError::from_sdk("PostToConnection", connection, &error).into()),
            },
        }
    }

    async fn close(&self, connection: &str) -> Result<(), SocketError> {
        let closed = self
            .client
            .delete_connection()
            .connection_id(connection)
            .send()
            .await;
        match closed {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteConnectionError::GoneException(_)) => Ok(()),
                _ => Err(AwsError::from_sdk("DeleteConnection", connection, &error).into()),
            },
        }
    }
}
