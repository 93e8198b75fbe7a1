use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use jiff::Timestamp;
use lambda_http::Error;
use landfall_auth::Tokens;
use landfall_aws::{
    ChunkQueue, Contents, Datasets, Destinations, Inbox, Lookup, Objects, S3Inbox, Sources,
};
use landfall_domain::{Dataset, DatasetRef, StoreKind, excerpt};
use landfall_ledger::{
    DestinationTable, JobIndex, Ledger, NotificationTable, ParentTable, PermitTable, RequestTable,
    SourceTable, WriteTable,
};
use landfall_runtime::{Environment, Limiter, optional, required};
use landfall_stores::{ChangeReader, Reader};
use moka::future::Cache;

use crate::ApiError;
use crate::cache::ResponseCache;
use crate::children::{Documents, Families};
use crate::routes::StoreChoice;

/// Returns the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Default of [`Settings::requests_per_second`].
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");

/// Rows with tokens that an instance remembers.
const KNOWN_ROWS: u64 = 10_000;
/// Default of [`Settings::void_seconds`].
const VOID_SECONDS: u32 = 3600;

/// Settings from the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bucket for files to ingest.
    pub inbox_bucket: String,
    /// Bucket for rejects.
    pub rejects_bucket: String,
    /// Bucket of the text of packed objects.
    pub work_bucket: String,
    /// Origins of other pages that may call the API.
    pub cors_origins: Vec<HeaderValue>,
    /// URL of the WebSocket API, for the page.
    pub socket_url: Option<String>,
    /// Origin that files are uploaded to, for the page.
    pub upload_origin: Option<String>,
    /// Requests per second of a token, across all instances, on average over five seconds.
    pub requests_per_second: NonZeroU32,
    /// Seconds after which a number without a row may become a void.
    pub void_seconds: u32,
}

/// The API's settings and clients.
pub struct Context {
    /// The settings.
    pub settings: Settings,
    /// The accepted tokens.
    pub tokens: Tokens,
    /// Jobs and generations of datasets.
    pub jobs: Arc<dyn JobIndex>,
    /// The same ledger, to cancel and redrive jobs and confirm prunes.
    pub ledger: Ledger,
    /// The chunk queue, for messages to the closer, and for rows.
    pub queue: Arc<dyn ChunkQueue>,
    /// The buckets of rejects.
    pub objects: Arc<dyn Objects>,
    /// The text of the objects in the inbox.
    pub contents: Contents,
    /// The inbox bucket.
    pub inbox: Arc<dyn Inbox>,
    /// Definitions of datasets.
    pub datasets: Datasets,
    /// Definitions of sources.
    pub sources: Sources,
    /// The same ledger, for what is recorded about sources.
    pub source_records: Arc<dyn SourceTable>,
    /// Definitions of destinations.
    pub destinations: Destinations,
    /// The same ledger, for what is recorded about destinations.
    pub destination_records: Arc<dyn DestinationTable>,
    /// The changes that destinations have not got.
    pub changes: Arc<dyn ChangeReader>,
    /// The same ledger, for writes of single rows.
    pub writes: Arc<dyn WriteTable>,
    /// The same ledger, for the notifications of webhooks.
    pub notifications: Arc<dyn NotificationTable>,
    /// The same ledger, for idempotency keys.
    pub requests: Arc<dyn RequestTable>,
    /// The time of this instance, by which writes are ordered as far as the ledger allows.
    pub clock: Clock,
    /// The databases.
    pub readers: Vec<Arc<dyn Reader>>,
    /// The same ledger, for the rows that are parents of numbered ones.
    pub parents: Arc<dyn ParentTable>,
    pub(crate) families: Families,
    pub(crate) documents: Documents,
    /// Rows with tokens that exist, or did a minute ago.
    pub(crate) known_rows: Cache<(String, String), ()>,
    pub(crate) cache: ResponseCache,
    pub(crate) limiter: Limiter,
}

/// What the API needs of the ledger.
pub trait ApiLedger:
    JobIndex
    + PermitTable
    + SourceTable
    + DestinationTable
    + WriteTable
    + RequestTable
    + ParentTable
    + NotificationTable
    + 'static
{
}

impl<L> ApiLedger for L where
    L: JobIndex
        + PermitTable
        + SourceTable
        + DestinationTable
        + WriteTable
        + RequestTable
        + ParentTable
        + ParentTable
        + NotificationTable
        + 'static
{
}

impl Context {
    /// Creates a context from its parts. `ledger` has the jobs, the records of sources and destinations, the writes,
    /// the notifications, the parents of numbered rows, and the permits and idempotency keys of tokens.
    #[expect(clippy::too_many_arguments, reason = "one for each dependency")]
    pub fn new<L: ApiLedger>(
        settings: Settings,
        tokens: Tokens,
        ledger: Arc<L>,
        queue: Arc<dyn ChunkQueue>,
        objects: Arc<dyn Objects>,
        inbox: Arc<dyn Inbox>,
        datasets: Datasets,
        sources: Sources,
        destinations: Destinations,
        readers: Vec<Arc<dyn Reader>>,
        changes: Arc<dyn ChangeReader>,
        clock: Clock,
    ) -> Self {
        let contents = Contents::new(Arc::clone(&objects), settings.work_bucket.clone());
        let limiter = Limiter::new(ledger.clone(), settings.requests_per_second);
        Self {
            settings,
            tokens,
            cache: ResponseCache::new(ledger.clone()),
            ledger: Ledger::new(ledger.clone()),
            source_records: ledger.clone(),
            destination_records: ledger.clone(),
            writes: ledger.clone(),
            notifications: ledger.clone(),
            requests: ledger.clone(),
            parents: ledger.clone(),
            families: Families::default(),
            documents: Documents::default(),
            known_rows: Cache::builder()
                .max_capacity(KNOWN_ROWS)
                .time_to_live(Duration::from_mins(1))
                .build(),
            clock,
            jobs: ledger,
            queue,
            objects,
            contents,
            inbox,
            datasets,
            sources,
            destinations,
            readers,
            changes,
            limiter,
        }
    }

    /// Reads settings from the environment and addresses of the stores and tokens from their secrets, and creates
    /// the clients.
    pub async fn from_environment() -> Result<Self, Error> {
        let tokens_secret: String = required("LANDFALL_TOKENS_SECRET")?;
        let origins: Option<String> = optional("LANDFALL_CORS_ORIGINS")?;
        let mut settings = Settings {
            inbox_bucket: required("LANDFALL_INBOX_BUCKET")?,
            rejects_bucket: required("LANDFALL_REJECTS_BUCKET")?,
            work_bucket: required("LANDFALL_WORK_BUCKET")?,
            cors_origins: cors_origins(&origins.unwrap_or_default())?,
            socket_url: optional("LANDFALL_SOCKET_URL")?,
            upload_origin: None,
            requests_per_second: optional("LANDFALL_REQUESTS_PER_SECOND")?
                .unwrap_or(REQUESTS_PER_SECOND),
            void_seconds: optional("LANDFALL_VOID_SECONDS")?.unwrap_or(VOID_SECONDS),
        };

        let environment = Environment::load().await;
        let (readers, changes, tokens) = tokio::join!(
            environment.readers(),
            environment.change_reader(),
            Tokens::load(environment.sdk(), &tokens_secret)
        );
        let (readers, changes, tokens) = (readers?, changes?, tokens?);
        let inbox = S3Inbox::new(environment.sdk(), settings.inbox_bucket.clone());
        settings.upload_origin = origin(&inbox.url().await?);
        Ok(Self::new(
            settings,
            tokens,
            Arc::new(environment.ledger_table()?),
            Arc::new(environment.queue("LANDFALL_CHUNK_QUEUE_URL")?),
            environment.objects(),
            Arc::new(inbox),
            environment.datasets()?,
            environment.sources()?,
            environment.destinations()?,
            readers,
            changes,
            Arc::new(Timestamp::now),
        ))
    }

    /// Returns the definition of a dataset.
    pub(crate) async fn dataset(&self, name: &str) -> Result<(Arc<Dataset>, DatasetRef), ApiError> {
        match self.datasets.latest(name).await? {
            Lookup::Found(dataset, reference) => Ok((dataset, reference)),
            Lookup::Bad(error, _) => Err(ApiError::Conflict(format!(
                "the definition of the dataset is invalid: {error}"
            ))),
            Lookup::Unknown => Err(ApiError::NotFound(format!(
                "there is no dataset {:?}; GET /datasets lists all",
                excerpt(name)
            ))),
        }
    }

    /// Returns the chosen store to read from, by default the first.
    pub(crate) fn reader(&self, store: Option<StoreChoice>) -> Result<&dyn Reader, ApiError> {
        let is_chosen = |reader: &&Arc<dyn Reader>| match store {
            None => true,
            Some(StoreChoice::Mongodb) => reader.kind() == StoreKind::Mongodb,
            Some(StoreChoice::Sql) => reader.kind() != StoreKind::Mongodb,
        };
        let found = self.readers.iter().find(is_chosen);
        found.map(|reader| &**reader).ok_or_else(|| {
            ApiError::Invalid("this stack does not have that store: leave out store".into())
        })
    }
}

/// Parses a comma-separated list of origins, which may be empty.
fn cors_origins(text: &str) -> Result<Vec<HeaderValue>, Error> {
    text.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| match (origin(text), HeaderValue::from_str(text)) {
            (Some(origin), Ok(value)) if origin == text => Ok(value),
            _ => Err(format!(
                "LANDFALL_CORS_ORIGINS: {text:?} is not an origin like https://example.com"
            )
            .into()),
        })
        .collect()
}

/// Returns scheme, host and port of a URL.
pub(crate) fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
    (!authority.is_empty() && authority.bytes().all(plain))
        .then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        let of = |url| origin(url).unwrap_or_default();
        assert_eq!(of("http://127.0.0.1:4566/inbox/"), "http://127.0.0.1:4566");
        assert_eq!(of("wss://a.b/c?d"), "wss://a.b");
        assert_eq!(of("https://a b/"), "");
        assert_eq!(of("https:///x"), "");
        assert_eq!(cors_origins("").unwrap().len(), 0);
        assert_eq!(cors_origins("https://a.b, http://c:1").unwrap().len(), 2);
        for wrong in ["*", "https://a.b/", "a.b", "https://a.b;"] {
            assert!(cors_origins(wrong).is_err(), "{wrong}");
        }
    }
}
