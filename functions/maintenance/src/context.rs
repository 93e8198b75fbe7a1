use std::sync::Arc;

use landfall_aws::{Datasets, MaintenanceQueue};
use landfall_ledger::Ledger;
use landfall_runtime::{Environment, StoresError, Visibility};
use landfall_stores::Store;

/// The dependencies of the maintenance.
pub struct Context {
    /// Definitions of datasets.
    pub datasets: Datasets,
    /// Where the progress is recorded.
    pub ledger: Ledger,
    /// The databases.
    pub stores: Vec<Arc<dyn Store>>,
    /// The maintenance queue, for messages about what is left.
    pub queue: Arc<dyn MaintenanceQueue>,
    /// Sets when messages of this queue become visible again.
    pub visibility: Arc<dyn Visibility>,
}

impl Context {
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, StoresError> {
        let environment = Environment::load().await;
        let queue = Arc::new(environment.queue("LANDFALL_MAINTENANCE_QUEUE_URL")?);
        Ok(Self {
            datasets: environment.datasets()?,
            ledger: Ledger::new(Arc::new(environment.ledger_table()?)),
            stores: environment.stores().await?,
            queue: Arc::clone(&queue) as Arc<dyn MaintenanceQueue>,
            visibility: queue,
        })
    }
}
