use landfall_auth::{AuthError, Tokens};
use landfall_ledger::DynamoTable;
use landfall_runtime::{Environment, SettingError, required};

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
        let connections: String = required("LANDFALL_CONNECTIONS_TABLE")?;
        let tokens: String = required("LANDFALL_TOKENS_SECRET")?;
        let endpoint: String = required("LANDFALL_SOCKET_ENDPOINT")?;

        let environment = Environment::load().await;
        Ok(Self {
            tokens: Tokens::load(environment.sdk(), &tokens).await?,
            connections: Connections::new(environment.dynamo(), connections),
            ledger: environment.ledger_table()?,
            gateway: Gateway::new(environment.sdk(), &endpoint),
            queue: PushQueue::new(environment.queue("LANDFALL_PUSH_QUEUE_URL")?),
            token_in_query: environment.is_local(),
        })
    }
}
