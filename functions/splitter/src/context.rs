use std::sync::Arc;

use landfall_aws::{
    ChunkQueue, Datasets, EventBus, Objects, S3Objects, SettingError, SqsQueue, optional, required,
};
use landfall_ledger::{DynamoTable, Ledger};

/// Bytes of a chunk unless set.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// What the splitter works with.
pub struct Context {
    /// The inbox.
    pub objects: Arc<dyn Objects>,
    /// Definitions of datasets.
    pub datasets: Datasets,
    /// The ledger.
    pub ledger: Ledger,
    /// Where chunk messages go.
    pub queue: Arc<dyn ChunkQueue>,
    /// Bytes of a chunk, about, of jobs that start now.
    pub chunk_bytes: u64,
}

impl Context {
    /// Settings from the environment, and clients for them.
    pub async fn from_environment() -> Result<Self, SettingError> {
        let table: String = required("LANDFALL_LEDGER_TABLE")?;
        let bus: String = required("LANDFALL_EVENT_BUS")?;
        let queue: String = required("LANDFALL_CHUNK_QUEUE_URL")?;
        let config_bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        let rejects_bucket: String = required("LANDFALL_REJECTS_BUCKET")?;
        let chunk_bytes: u64 = optional("LANDFALL_CHUNK_BYTES")?.unwrap_or(CHUNK_BYTES);

        let aws = landfall_aws::connect().await;
        let objects: Arc<dyn Objects> = Arc::new(S3Objects::new(landfall_aws::s3(&aws)));
        let table = DynamoTable::new(aws_sdk_dynamodb::Client::new(&aws), table);
        let bus = EventBus::new(aws_sdk_eventbridge::Client::new(&aws), bus);
        Ok(Self {
            datasets: Datasets::new(Arc::clone(&objects), config_bucket),
            objects,
            ledger: Ledger::new(Arc::new(table), Arc::new(bus), rejects_bucket),
            queue: Arc::new(SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue)),
            chunk_bytes: chunk_bytes.max(1),
        })
    }
}
