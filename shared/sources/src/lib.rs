//! Sources: HTTP APIs that are fetched on a schedule.
//!
//! This crate decides and does no I/O: what a definition means, when a source is due, which request is next and what
//! its answer means, which hosts and addresses may be reached, and what is retried. The caller sends the requests and
//! stores the records.
//!
//! - [`Source::from_toml`] parses a definition and checks it.
//! - [`Schedule`] says when a source is due.
//! - [`Walk`] goes from page to page. It can be stored between two requests. A walk that is done proposes the [`State`]
//!   that the next one continues from.
//! - [`Record`] is what is recorded about a source, and says what has to be done next.
//! - [`Request`] contains the names of secrets, [`Revealed`] the secrets; [`Auth`] adds what proves who sends it.
//! - [`Policy`] checks hosts, addresses and redirects; [`verdict`] and [`wait`] decide about retries.
//!
//! ```
//! use http::{HeaderMap, StatusCode};
//! use jiff::Timestamp;
//! use landfall_sources::{Answer, Source, State, Walk};
//!
//! let source = Source::from_toml("shop_orders", "shop_orders.toml", r#"
//! dataset = "orders"
//! url = "https://shop.example/api/orders"
//! every = "10 minutes"
//! records = "orders"
//! paging = { kind = "cursor", parameter = "cursor", cursor = "next" }
//! "#)?;
//!
//! let mut walk = Walk::start(&source, &State::default(), false, Timestamp::UNIX_EPOCH);
//! let mut lines = Vec::new();
//! let bodies = [r#"{"orders": [{"id": 1}, {"id": 2}], "next": "c1"}"#, r#"{"orders": [{"id": 3}], "next": null}"#];
//! let mut urls = Vec::new();
//! for body in bodies {
//!     urls.extend(walk.request(&source).map(|request| request.shown_url()));
//!     let answer = Answer { status: StatusCode::OK, headers: &HeaderMap::new(), body: body.as_bytes() };
//!     walk.accept(&source, &answer, &mut lines)?;
//! }
//! assert!(walk.is_done());
//! assert_eq!(urls, ["https://shop.example/api/orders", "https://shop.example/api/orders?cursor=c1"]);
//! assert_eq!(lines, b"{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod children;
mod definition;
mod mark;
mod page;
mod record;
mod request;
mod retry;
mod schedule;
mod source;
mod table;
mod walk;

pub use auth::{Auth, ClientCredentials, NoToken, Token};
pub use children::{Children, Parent, ParentError, UrlTemplate};
pub use landfall_requests::{
    Algorithm, BadPattern, MAX_REDIRECTS, MAX_RETRY_AFTER, MissingSecret, Policy, Refused,
    RevealError, Revealed, Secrets, Signing, Template, TimeFormat, wait,
};
pub use mark::{Mark, MarkKind, Overlap};
pub use page::PageError;
pub use record::{Activity, Checkpoint, Outcome, Phase, Record, Run, RunEntry, Step, Upload};
pub use request::{Body, Parameter, Request};
pub use retry::{Verdict, verdict};
pub use schedule::{Due, Missed, Schedule};
pub use source::{
    Incremental, Keyset, Limits, PageSize, Paging, PagingKind, Place, Progress, Source, Stop,
};
pub use walk::{Answer, State, Walk, WalkError, WalkProgress};
