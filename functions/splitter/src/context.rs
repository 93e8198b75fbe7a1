use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use landfall_aws::{ChunkQueue, Contents, Datasets, Objects, SplitQueue};
use landfall_ledger::Ledger;
use landfall_runtime::{Environment, SettingError, Visibility, optional, required};

use crate::SEGMENT_BYTES;

/// Default size of a chunk in bytes.
const CHUNK_BYTES: NonZeroU64 =
    NonZeroU64::new(landfall_formats::CHUNK_BYTES).expect("it is not zero");

/// How long an invocation reads, unless configured otherwise: as long as Lambda allows.
const LONGEST: Duration = Duration::from_mins(15);

/// How long an invocation unpacks again what others have unpacked: less than its time, so that it comes further, and
/// less than the time after which the janitor takes it for dead.
const LONGEST_AGAIN: Duration = Duration::from_mins(12);

/// The dependencies of the splitter.
pub struct Context {
    /// The inbox.
    pub objects: Arc<dyn Objects>,
    /// The text of its objects.
    pub contents: Contents,
    /// Definitions of datasets.
    pub datasets: Datasets,
    /// The ledger.
    pub ledger: Ledger,
    /// The chunk queue.
    pub queue: Arc<dyn ChunkQueue>,
    /// The split queue, whose messages continue jobs.
    pub splits: Arc<dyn SplitQueue>,
    /// Sets when messages of the split queue become visible again.
    pub visibility: Arc<dyn Visibility>,
    /// Approximate size in bytes of the chunks of new jobs.
    pub chunk_bytes: u64,
    /// Size in bytes of one read of an object, and of the parts of the text of new packed ones.
    pub segment_bytes: u64,
    /// Whether a definition is created for objects of unknown datasets.
    pub auto_datasets: bool,
    /// How long an invocation reads at most before another one continues.
    pub longest: Duration,
    /// How long an invocation may unpack an object until it finds text that is new.
    pub longest_again: Duration,
}

impl Context {
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, SettingError> {
        let environment = Environment::load().await;
        let longest: Option<u64> = optional("LANDFALL_SPLIT_SECONDS")?;
        let splits = Arc::new(environment.queue("LANDFALL_SPLIT_QUEUE_URL")?);
        let chunk_bytes = optional("LANDFALL_CHUNK_BYTES")?.unwrap_or(CHUNK_BYTES);
        let work_bucket: String = required("LANDFALL_WORK_BUCKET")?;
        Ok(Self {
            objects: environment.objects(),
            contents: Contents::new(environment.objects(), work_bucket),
            datasets: environment.datasets()?,
            ledger: Ledger::new(Arc::new(environment.ledger_table()?)),
            queue: Arc::new(environment.queue("LANDFALL_CHUNK_QUEUE_URL")?),
            visibility: Arc::clone(&splits) as Arc<dyn Visibility>,
            splits,
            chunk_bytes: chunk_bytes.get(),
            segment_bytes: SEGMENT_BYTES,
            auto_datasets: optional("LANDFALL_AUTO_DATASETS")?.unwrap_or(false),
            longest: longest.map_or(LONGEST, Duration::from_secs),
            longest_again: LONGEST_AGAIN,
        })
    }
}
