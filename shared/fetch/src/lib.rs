//! Sends the requests of sources.
//!
//! A [`Session`] sends the requests of one run: it follows redirects, retries what may succeed later, exchanges client
//! credentials for tokens, and checks every URL before its host is resolved. [`HttpTransport`] sends one request, only
//! to addresses that the [`Policy`](landfall_sources::Policy) allows, and to the same ones as long as it exists. It
//! unpacks answers that are compressed with gzip. A [`Pace`] says when a request may be sent.

mod error;
mod http;
mod pace;
mod session;
mod transport;
mod unpack;

pub use error::{FetchError, TransportError};
pub use http::HttpTransport;
pub use pace::{LocalPace, Pace, PaceError};
pub use session::{Response, Session};
pub use transport::{Chunks, Received, Transport};
