use std::sync::Arc;

use landfall_aws::{
    AwsError, Datasets, EventBus, Objects, Publisher, S3Objects, SettingError, StoreAddresses,
    required,
};
use landfall_closing::Closer;
use landfall_ledger::{DynamoTable, Ledger};
use landfall_stores::{Store, StoreError, StoreOptions, connect_mongodb, connect_sql};

use crate::header::HeaderCache;

/// What the worker works with.
pub struct Context {
    /// The inbox, and the rejects.
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

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The secret with the addresses of the stores.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQLite is for one machine.
    #[error(
        "the SQL database is an SQLite file, which functions on AWS do not share: give a postgres:// or mysql:// URL"
    )]
    SqliteOnAws,
}

impl Context {
    /// A context of these parts.
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

    /// Settings from the environment, addresses of the stores from their secret, and clients for them.
    pub async fn from_environment() -> Result<Self, StartError> {
        let table: String = required("LANDFALL_LEDGER_TABLE")?;
        let bus: String = required("LANDFALL_EVENT_BUS")?;
        let secret: String = required("LANDFALL_STORES_SECRET")?;
        let config_bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        let rejects_bucket: String = required("LANDFALL_REJECTS_BUCKET")?;

        let aws = landfall_aws::connect().await;
        let addresses = StoreAddresses::load(&aws, &secret).await?;
        let mut stores = Vec::new();
        if let Some(uri) = &addresses.mongodb_uri {
            stores.push(connect_mongodb(uri, StoreOptions::default()).await?);
        }
        if let Some(url) = &addresses.sql_url {
            // A file of a Lambda function's own is gone with it, and the rows in it.
            if url.starts_with("sqlite:") && aws.endpoint_url().is_none() {
                return Err(StartError::SqliteOnAws);
            }
            stores.push(connect_sql(url, StoreOptions::default()).await?);
        }
        let objects: Arc<dyn Objects> = Arc::new(S3Objects::new(landfall_aws::s3(&aws)));
        let table = DynamoTable::new(aws_sdk_dynamodb::Client::new(&aws), table);
        let bus = EventBus::new(aws_sdk_eventbridge::Client::new(&aws), bus);
        Ok(Self::new(
            Arc::clone(&objects),
            Datasets::new(objects, config_bucket),
            Ledger::new(Arc::new(table)),
            Arc::new(bus),
            stores,
            rejects_bucket,
        ))
    }
}
