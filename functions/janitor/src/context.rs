use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use landfall_aws::{AwsError, ChunkQueue, SplitQueue};
use landfall_ledger::{CursorTable, JobIndex, Ledger, ParentTable, WriteTable};
use landfall_runtime::{Environment, Metrics, SettingError, optional, required};
use serde_json::Value;

use crate::aws::{LambdaSplitter, S3Inventory};
use crate::{Inventory, Patience};

/// Seconds of the first pause, unless configured otherwise.
const FIRST_PAUSE: i64 = 120;

/// Seconds after which a number without a row becomes a void, unless configured otherwise.
const VOID_AFTER: u64 = 3_600;

/// Returns the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Runs the splitter.
#[async_trait]
pub trait Splitter: Send + Sync {
    /// Has the splitter process an S3 event, and does not wait for it.
    async fn invoke(&self, event: &Value) -> Result<(), AwsError>;
}

/// The number of messages in a queue.
#[async_trait]
pub trait Backlog: Send + Sync {
    /// Returns whether no message waits, is delayed, or is being processed. May be a minute behind.
    async fn is_empty(&self) -> Result<bool, AwsError>;
}

/// The dependencies of the janitor.
pub struct Context {
    /// The ledger.
    pub ledger: Ledger,
    /// Its index of open jobs.
    pub index: Arc<dyn JobIndex>,
    /// The writes of the API.
    pub writes: Arc<dyn WriteTable>,
    /// The numbers of rows.
    pub parents: Arc<dyn ParentTable>,
    /// Where the last run ended.
    pub cursors: Arc<dyn CursorTable>,
    /// The chunk queue.
    pub queue: Arc<dyn ChunkQueue>,
    /// Its length.
    pub backlog: Arc<dyn Backlog>,
    /// The split queue.
    pub splits: Arc<dyn SplitQueue>,
    /// Its length.
    pub splits_backlog: Arc<dyn Backlog>,
    /// The splitter.
    pub splitter: Arc<dyn Splitter>,
    /// The inbox.
    pub inventory: Arc<dyn Inventory>,
    /// Where the age of the oldest open job goes.
    pub metrics: Metrics,
    /// How long to wait before anything is done.
    pub patience: Patience,
    /// When a number becomes a void whose row has not arrived, after it was first seen.
    pub void_after: Duration,
    /// Returns the time, for numbers.
    pub clock: Clock,
}

impl Context {
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, SettingError> {
        let environment = Environment::load().await;
        let table = Arc::new(environment.ledger_table()?);
        let queue = Arc::new(environment.queue("LANDFALL_CHUNK_QUEUE_URL")?);
        let splits = Arc::new(environment.queue("LANDFALL_SPLIT_QUEUE_URL")?);
        let seconds = optional("LANDFALL_FIRST_PAUSE_SECONDS")?.unwrap_or(FIRST_PAUSE);
        Ok(Self {
            ledger: Ledger::new(table.clone()),
            index: table.clone(),
            writes: table.clone(),
            parents: table.clone(),
            cursors: table,
            queue: queue.clone(),
            backlog: queue,
            splits: splits.clone(),
            splits_backlog: splits,
            splitter: Arc::new(LambdaSplitter {
                client: aws_sdk_lambda::Client::new(environment.sdk()),
                function: required("LANDFALL_SPLITTER_FUNCTION")?,
            }),
            inventory: Arc::new(S3Inventory {
                client: landfall_aws::s3(environment.sdk()),
                bucket: required("LANDFALL_INBOX_BUCKET")?,
            }),
            metrics: Metrics::from_environment()?,
            patience: Patience {
                first: SignedDuration::from_secs(seconds),
                max_attempts: 6,
                split_within: SignedDuration::from_secs(seconds.saturating_mul(360)),
                max_object_age: SignedDuration::from_hours(7 * 24),
            },
            void_after: Duration::from_secs(
                optional("LANDFALL_VOID_SECONDS")?.unwrap_or(VOID_AFTER),
            ),
            clock: Arc::new(Timestamp::now),
        })
    }
}
