use async_trait::async_trait;
use landfall_fetch::{FetchError, HttpTransport, Pace, Received, Response, Session};
use landfall_sources::{Policy, Request, Secrets, Source};
use std::sync::Arc;
use tokio::time::Instant;

/// Opens sessions with the servers of sources.
pub trait Fetcher: Send + Sync {
    /// Opens a session that sends nothing after `stop_at`.
    fn open<'a>(&'a self, source: &'a Source, stop_at: Instant) -> Box<dyn Fetching + 'a>;
}

/// A session with the server of a source.
#[async_trait]
pub trait Fetching: Send {
    /// Sends a request and reads the answer as a whole.
    async fn fetch(&mut self, request: &Request) -> Result<Response, FetchError>;

    /// Sends a request and returns the answer before its body has arrived.
    async fn receive(&mut self, request: &Request) -> Result<Received, FetchError>;

    /// Returns the number of requests that were sent.
    fn requests(&self) -> u64;
}

/// Sessions over the network.
pub struct HttpFetcher {
    /// Which hosts and addresses are reached.
    pub policy: Policy,
    /// The secrets of all sources.
    pub secrets: Secrets,
    /// Sends the requests.
    pub transport: HttpTransport,
    /// Says when.
    pub pace: Arc<dyn Pace>,
}

impl Fetcher for HttpFetcher {
    fn open<'a>(&'a self, source: &'a Source, stop_at: Instant) -> Box<dyn Fetching + 'a> {
        let Self {
            policy,
            secrets,
            transport,
            pace,
        } = self;
        Box::new(Session::new(
            source,
            policy,
            secrets,
            transport,
            pace.as_ref(),
            stop_at,
        ))
    }
}

#[async_trait]
impl Fetching for Session<'_> {
    async fn fetch(&mut self, request: &Request) -> Result<Response, FetchError> {
        Session::fetch(self, request).await
    }

    async fn receive(&mut self, request: &Request) -> Result<Received, FetchError> {
        self.open(request, &mut 1).await
    }

    fn requests(&self) -> u64 {
        Session::requests(self)
    }
}
