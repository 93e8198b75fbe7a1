use std::num::NonZeroU64;
use std::sync::Arc;

use landfall_aws::{ChunkQueue, Datasets, Objects};
use landfall_ledger::Ledger;
use landfall_runtime::{Environment, SettingError, optional};

/// Default size of a chunk in bytes.
const CHUNK_BYTES: NonZeroU64 =
    NonZeroU64::new(landfall_formats::CHUNK_BYTES).expect("it is not zero");

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
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, SettingError> {
        let environment = Environment::load().await;
        let chunk_bytes = optional("LANDFALL_CHUNK_BYTES")?.unwrap_or(CHUNK_BYTES);
        Ok(Self {
            objects: environment.objects(),
            datasets: environment.datasets()?,
            ledger: Ledger::new(Arc::new(environment.ledger_table()?)),
            queue: Arc::new(environment.queue("LANDFALL_CHUNK_QUEUE_URL")?),
            chunk_bytes: chunk_bytes.get(),
        })
    }
}
