use std::sync::Arc;

use jiff::Timestamp;
use landfall_aws::{Bell, Datasets, Destinations, Webhooks};
use landfall_fetch::{HttpTransport, Transport};
use landfall_ledger::{DestinationTable, NotificationTable};
use landfall_requests::{Policy, Secrets};
use landfall_runtime::{Clock, Environment, Error, Slots, SystemClock};
use landfall_stores::ChangeStore;

/// The dependencies of the relay.
pub struct Context {
    /// The store that records which keys have changed.
    pub store: Arc<dyn ChangeStore>,
    /// The definitions of destinations.
    pub definitions: Destinations,
    /// The definitions of datasets.
    pub datasets: Datasets,
    /// What is recorded about destinations: their circuits.
    pub destinations_table: Arc<dyn DestinationTable>,
    /// Rings relays later.
    pub bell: Arc<dyn Bell>,
    /// The webhooks that are notified of jobs.
    pub webhooks: Webhooks,
    /// The notifications that they are to receive.
    pub notifications: Arc<dyn NotificationTable>,
    /// When calls may be sent.
    pub slots: Slots,
    /// Sends calls.
    pub transport: Arc<dyn Transport>,
    /// Which hosts may be called.
    pub policy: Policy,
    /// The secrets that definitions name.
    pub secrets: Secrets,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// A number from 0 to 1, which spreads retries.
    pub random: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Context {
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, Error> {
        let environment = Environment::load().await;
        let table = Arc::new(environment.ledger_table()?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let policy = landfall_runtime::policy()?;
        Ok(Self {
            store: environment.change_store().await?,
            definitions: environment.destinations()?,
            datasets: environment.datasets()?,
            destinations_table: table.clone(),
            bell: Arc::new(environment.queue("LANDFALL_RELAY_QUEUE_URL")?),
            webhooks: environment.webhooks()?,
            notifications: table.clone(),
            slots: Slots::new(table, Arc::clone(&clock)),
            transport: Arc::new(HttpTransport::new(policy.clone())?),
            policy,
            secrets: environment.secrets().await?,
            clock,
            random: Box::new(rand::random),
        })
    }

    /// Returns what a call returns, or `None` if it takes until `end`.
    pub(crate) async fn until<T>(
        &self,
        end: Timestamp,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let left = end.duration_since(self.clock.now());
        let sleep = self.clock.sleep(left.try_into().unwrap_or_default());
        tokio::select! {
            biased;
            done = call => Some(done),
            () = sleep => None,
        }
    }
}
