use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use landfall_aws::{Datasets, Objects, S3Inbox, S3Objects, Sources};
use landfall_fetch::HttpTransport;
use landfall_ledger::{Ledger, SourceTable};
use landfall_runtime::{Environment, Error, optional, required};

use crate::aws::S3Target;
use crate::pace::LedgerPace;
use crate::parents::StoredRows;
use crate::{Fetcher, HttpFetcher, ParentRows, Target};

/// The dependencies of the puller.
pub struct Context {
    /// The records of sources.
    pub sources: Arc<dyn SourceTable>,
    /// The ledger, for the jobs of objects.
    pub ledger: Ledger,
    /// Objects other than those of walks.
    pub objects: Arc<dyn Objects>,
    /// The definitions of datasets.
    pub datasets: Datasets,
    /// The definitions of sources.
    pub definitions: Sources,
    /// The bucket in which records are kept aside that are too few for a part.
    pub aside_bucket: String,
    /// The rows whose children are fetched.
    pub parents: Arc<dyn ParentRows>,
    /// Where the objects of walks are created.
    pub target: Arc<dyn Target>,
    /// Fetches pages.
    pub fetcher: Arc<dyn Fetcher>,
    /// The clock.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// The number of bytes from which records are stored as a part.
    pub part_bytes: usize,
    /// The length of a minute in the schedules of sources.
    pub minute: SignedDuration,
}

impl Context {
    /// Opens everything that the environment variables name.
    pub async fn from_environment() -> Result<Self, Error> {
        let environment = Environment::load().await;
        let table = Arc::new(environment.ledger_table()?);
        let bucket: String = required("LANDFALL_INBOX_BUCKET")?;
        let client = landfall_aws::s3(environment.sdk());
        let policy = landfall_runtime::policy()?;
        let secrets = environment.secrets().await?;
        Ok(Self {
            sources: table.clone(),
            ledger: Ledger::new(table.clone()),
            objects: environment.objects(),
            datasets: environment.datasets()?,
            definitions: environment.sources()?,
            aside_bucket: required("LANDFALL_REJECTS_BUCKET")?,
            target: Arc::new(S3Target {
                objects: S3Objects::new(client.clone()),
                client,
                inbox: S3Inbox::new(environment.sdk(), bucket.clone()),
                bucket,
            }),
            fetcher: Arc::new(HttpFetcher {
                transport: HttpTransport::new(policy.clone())?,
                policy,
                secrets,
                pace: Arc::new(LedgerPace::new(table)),
            }),
            parents: Arc::new(StoredRows::new(environment)),
            now: Box::new(Timestamp::now),
            part_bytes: crate::PART_BYTES,
            minute: minute(optional("LANDFALL_SOURCE_MINUTE_SECONDS")?),
        })
    }
}

/// Returns the length of a minute, which is shorter only in tests.
fn minute(seconds: Option<u8>) -> SignedDuration {
    let seconds = seconds.filter(|seconds| (1..60).contains(seconds));
    seconds.map_or(SignedDuration::from_mins(1), |seconds| {
        SignedDuration::from_secs(seconds.into())
    })
}
