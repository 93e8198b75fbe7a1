use std::sync::Arc;

use landfall_aws::{
    ChunkQueue, Datasets, Objects, S3Objects, SettingError, SqsQueue, optional, required,
};
use landfall_ledger::{DynamoTable, Ledger};

/// Default size of a chunk in bytes.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// The dependencies of the splitter.
pub struct Context {
    /// The inbox.
    pub objects: Arc<dyn Objects>,
    /// Definitions of datasets.
    pub datasets: Datasets,
    /// The ledger.
    pub ledger: Ledger,
    /// The chunk queue.
    pub queue: Arc<dyn ChunkQueue>,
    /// Approximate size in bytes of the chunks of new jobs.
    pub chunk_bytes: u64,
}

impl Context {
    /// Settings from the environment, and clients for them.
    pub async fn from_environment() -> Result<Self, SettingError> {
        let table: String = required("LANDFALL_LEDGER_TABLE")?;
        let queue: String = required("LANDFALL_CHUNK_QUEUE_URL")?;
        let config_bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        let chunk_bytes: u64 = optional("LANDFALL_CHUNK_BYTES")?.unwrap_or(CHUNK_BYTES);

        let aws = landfall_aws::connect().await;
        let objects: Arc<dyn Objects> = Arc::new(S3Objects::new(landfall_aws::s3(&aws)));
        let table = DynamoTable::new(aws_sdk_dynamodb::Client::new(&aws), table);
        Ok(Self {
            datasets: Datasets::new(Arc::clone(&objects), config_bucket),
            objects,
            ledger: Ledger::new(Arc::new(table)),
            queue: Arc::new(SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue)),
            chunk_bytes: chunk_bytes.max(1),
        })
    }
}
