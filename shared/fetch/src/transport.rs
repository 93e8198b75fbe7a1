use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use landfall_sources::Revealed;

use crate::TransportError;

/// Sends requests.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends one request, and returns what the server answers, also if that is a redirect or an error.
    async fn send(&self, request: &Revealed) -> Result<Received, TransportError>;
}

/// An answer whose body has still to be read.
pub struct Received {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Box<dyn Chunks>,
}

/// A body that arrives in pieces.
#[async_trait]
pub trait Chunks: Send {
    /// Returns the next piece, or `None` at the end. A body that breaks off is an error.
    async fn next(&mut self) -> Result<Option<Bytes>, TransportError>;
}
