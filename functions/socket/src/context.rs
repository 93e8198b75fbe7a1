use landfall_auth::{AuthError, Tokens};
use landfall_aws::{SettingError, required};
use landfall_ledger::DynamoTable;

use crate::connections::Connections;
use crate::gateway::Gateway;
use crate::queue::PushQueue;

/// What the socket works with.
pub struct Context {
    pub(crate) tokens: Tokens,
    pub(crate) connections: Connections,
    pub(crate) ledger: DynamoTable,
    pub(crate) gateway: Gateway,
    pub(crate) queue: PushQueue,
    /// Whether a token may come in the query. Never on AWS: addresses end up in logs.
    pub(crate) token_in_query: bool,
}

/// Why the socket cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The secret with the tokens.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Context {
    /// Settings from the environment, the tokens from their secret, and clients.
    pub async fn from_environment() -> Result<Self, StartError> {
        let ledger: String = required("LANDFALL_LEDGER_TABLE")?;
        let connections: String = required("LANDFALL_CONNECTIONS_TABLE")?;
        let queue: String = required("LANDFALL_PUSH_QUEUE_URL")?;
        let tokens: String = required("LANDFALL_TOKENS_SECRET")?;
        let endpoint: String = required("LANDFALL_SOCKET_ENDPOINT")?;

        let aws = landfall_aws::connect().await;
        let dynamo = aws_sdk_dynamodb::Client::new(&aws);
        Ok(Self {
            tokens: Tokens::load(&aws, &tokens).await?,
            connections: Connections::new(dynamo.clone(), connections),
            ledger: DynamoTable::new(dynamo, ledger),
            gateway: Gateway::new(&aws, &endpoint),
            queue: PushQueue::new(aws_sdk_sqs::Client::new(&aws), queue),
            token_in_query: aws.endpoint_url().is_some(),
        })
    }
}
