use std::num::NonZeroU32;
use std::sync::Arc;

use landfall_auth::Tokens;
use landfall_ledger::JobIndex;
use landfall_runtime::{Environment, Error, Limiter, required};

use crate::connections::Connections;
use crate::dynamo::DynamoConnections;
use crate::gateway::{ApiGateway, Gateway};
use crate::queue::PushQueue;

/// The socket's clients and settings.
pub struct Context {
    /// The accepted tokens.
    pub tokens: Tokens,
    /// Limits connects and messages, together with the requests to the HTTP API.
    pub limiter: Limiter,
    /// Connections and their subscriptions.
    pub connections: Connections,
    /// The jobs.
    pub ledger: Arc<dyn JobIndex>,
    /// The way to the clients.
    pub gateway: Arc<dyn Gateway>,
    /// The queue of pushes.
    pub queue: Arc<dyn PushQueue>,
    /// Whether a token is accepted in the query. Never on AWS, because URLs are logged.
    pub token_in_query: bool,
}

impl Context {
    /// Reads settings from the environment and tokens from their secret, and creates the clients.
    pub async fn from_environment() -> Result<Self, Error> {
        let connections: String = required("LANDFALL_CONNECTIONS_TABLE")?;
        let tokens: String = required("LANDFALL_TOKENS_SECRET")?;
        let endpoint: String = required("LANDFALL_SOCKET_ENDPOINT")?;

        let per_second: NonZeroU32 = required("LANDFALL_REQUESTS_PER_SECOND")?;

        let environment = Environment::load().await;
        let ledger = Arc::new(environment.ledger_table()?);
        Ok(Self {
            tokens: Tokens::load(environment.sdk(), &tokens).await?,
            connections: Connections::new(Arc::new(DynamoConnections::new(
                environment.dynamo(),
                connections,
            ))),
            limiter: Limiter::new(ledger.clone(), per_second),
            ledger,
            gateway: Arc::new(ApiGateway::new(environment.sdk(), &endpoint)),
            queue: Arc::new(environment.queue("LANDFALL_PUSH_QUEUE_URL")?),
            token_in_query: environment.is_local(),
        })
    }
}
