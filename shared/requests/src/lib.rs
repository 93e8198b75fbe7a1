//! HTTP requests whose definitions are data: those of sources and of destinations.
//!
//! This crate does no I/O. [`Template`] is a text with the names of secrets, [`Revealed`] a request with the secrets,
//! and [`Signing`] adds a signature to it. [`Policy`] checks hosts, addresses and redirects; [`wait`] and
//! [`retry_after`] say how long to wait before a retry. The functions about definitions check the settings that sources
//! and destinations share.

mod definition;
mod policy;
mod retry;
mod revealed;
mod signing;
mod signing_settings;
mod template;
mod time_format;

pub use definition::{
    RawPairs, definition_url, header_name, headers, per_second, secret, template, web_url,
};
pub use policy::{BadPattern, MAX_REDIRECTS, Policy, Refused};
pub use retry::{MAX_RETRY_AFTER, date, retry_after, wait};
pub use revealed::{RevealError, Revealed, header, insert_secret, shown_answer};
pub use signing::{Algorithm, Signing};
pub use signing_settings::{Encoding, SigningSettings};
pub use template::{MissingSecret, Secrets, Template};
pub use time_format::TimeFormat;
