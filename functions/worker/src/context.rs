use std::sync::Arc;

use landfall_aws::{Datasets, Objects, Publisher};
use landfall_closing::Closer;
use landfall_ledger::Ledger;
use landfall_runtime::{Environment, StoresError, required};
use landfall_stores::Store;

use crate::header::HeaderCache;

/// The dependencies of the worker.
pub struct Context {
    /// The inbox and the rejects.
    pub objects: Arc<dyn Objects>,
    /// Definitions of datasets.
    pub datasets: Arc<Datasets>,
    /// The ledger.
    pub ledger: Ledger,
    /// The databases.
    pub stores: Vec<Arc<dyn Store>>,
    /// Bucket of the rejects.
    pub rejects_bucket: String,
    /// Closes jobs.
    pub closer: Closer,
    pub(crate) headers: HeaderCache,
}

impl Context {
    /// Returns a context with these dependencies.
    pub fn new(
        objects: Arc<dyn Objects>,
        datasets: Datasets,
        ledger: Ledger,
        publisher: Arc<dyn Publisher>,
        stores: Vec<Arc<dyn Store>>,
        rejects_bucket: impl Into<String>,
    ) -> Self {
        let datasets = Arc::new(datasets);
        let rejects_bucket = rejects_bucket.into();
        Self {
            objects,
            closer: Closer::new(
                ledger.clone(),
                publisher,
                Arc::clone(&datasets),
                stores.clone(),
                rejects_bucket.clone(),
            ),
            datasets,
            ledger,
            stores,
            rejects_bucket,
            headers: HeaderCache::default(),
        }
    }

    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, StoresError> {
        let environment = Environment::load().await;
        let rejects_bucket: String = required("LANDFALL_REJECTS_BUCKET")?;
        Ok(Self::new(
            environment.objects(),
            environment.datasets()?,
            Ledger::new(Arc::new(environment.ledger_table()?)),
            Arc::new(environment.event_bus()?),
            environment.stores().await?,
            rejects_bucket,
        ))
    }
}
