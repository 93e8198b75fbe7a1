use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use landfall_aws::{
    Datasets, Destinations, EventBus, Objects, S3Objects, Sources, SqsQueue, Webhooks,
};
use landfall_ledger::DynamoTable;

use crate::{SettingError, required};

/// The AWS account and region of a function, and the resources that its environment variables name.
///
/// Each client has its own connections, so there is one client for each service that several resources need.
pub struct Environment {
    sdk: SdkConfig,
    objects: OnceLock<Arc<dyn Objects>>,
    dynamo: OnceLock<aws_sdk_dynamodb::Client>,
}

impl Environment {
    /// Loads the configuration of the AWS clients.
    pub async fn load() -> Self {
        Self {
            sdk: landfall_aws::connect().await,
            objects: OnceLock::new(),
            dynamo: OnceLock::new(),
        }
    }

    /// Returns the configuration of the AWS clients.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// Returns whether the function runs on the local stack rather than on AWS.
    pub fn is_local(&self) -> bool {
        self.sdk.endpoint_url().is_some()
    }

    /// Returns the objects in S3.
    pub fn objects(&self) -> Arc<dyn Objects> {
        let open = || -> Arc<dyn Objects> { Arc::new(S3Objects::new(landfall_aws::s3(&self.sdk))) };
        Arc::clone(self.objects.get_or_init(open))
    }

    /// Returns the client of DynamoDB.
    pub fn dynamo(&self) -> aws_sdk_dynamodb::Client {
        let open = || aws_sdk_dynamodb::Client::new(&self.sdk);
        self.dynamo.get_or_init(open).clone()
    }

    /// Returns the definitions of datasets, from `LANDFALL_CONFIG_BUCKET`.
    pub fn datasets(&self) -> Result<Datasets, SettingError> {
        let bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        Ok(Datasets::new(self.objects(), bucket))
    }

    /// Returns the definitions of sources, from `LANDFALL_CONFIG_BUCKET`.
    pub fn sources(&self) -> Result<Sources, SettingError> {
        let bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        Ok(Sources::new(self.objects(), bucket))
    }

    /// Returns the definitions of destinations, from `LANDFALL_CONFIG_BUCKET`.
    pub fn destinations(&self) -> Result<Destinations, SettingError> {
        let bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        Ok(Destinations::new(self.objects(), bucket))
    }

    /// Returns the webhooks that are notified of jobs, from `LANDFALL_CONFIG_BUCKET`.
    pub fn webhooks(&self) -> Result<Webhooks, SettingError> {
        let bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        Ok(Webhooks::new(self.objects(), bucket))
    }

    /// Returns the table of the ledger, from `LANDFALL_LEDGER_TABLE`.
    pub fn ledger_table(&self) -> Result<DynamoTable, SettingError> {
        let table: String = required("LANDFALL_LEDGER_TABLE")?;
        Ok(DynamoTable::new(self.dynamo(), table))
    }

    /// Returns the event bus of completion events, from `LANDFALL_EVENT_BUS`.
    pub fn event_bus(&self) -> Result<EventBus, SettingError> {
        let bus: String = required("LANDFALL_EVENT_BUS")?;
        let client = aws_sdk_eventbridge::Client::new(&self.sdk);
        Ok(EventBus::new(client, bus))
    }

    /// Returns the queue whose URL is in this environment variable.
    pub fn queue(&self, name: &'static str) -> Result<SqsQueue, SettingError> {
        let url: String = required(name)?;
        Ok(SqsQueue::new(aws_sdk_sqs::Client::new(&self.sdk), url))
    }
}
