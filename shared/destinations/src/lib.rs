//! Destinations: HTTP services that the changes of rows are sent to.
//!
//! This crate decides and does no I/O: what a definition means, which call brings a key of the service to the state of
//! its row, and what the answer means. The caller leases keys, sends the calls and records the outcomes.
//!
//! - [`Draft::parse`] parses a definition, and [`Draft::check`] checks it with that of its dataset.
//! - [`Destination::plan`] decides which [`Call`] is next for a [`Due`] key, if any.
//! - [`Destination::judge`] decides what the reply to a call means. Some replies lead to another call at once, such as
//!   an update that finds nothing to a create. [`Outcome::Again`] returns what is known then.
//! - [`Call::reveal`] returns the request with its secrets and its signature.
//! - [`Destination::batches`] and [`Call::join`] make one call of several, for services that take several rows.
//! - [`Destination::compare`] compares a row with what the service has.
//! - [`Breaker`] stops the calls to a service that is down.
//! - [`Webhook`] is a URL that is notified when a job closes, and [`judge_delivery`] decides what its reply means.
//!
//! # Outcomes that are not known
//!
//! A call whose reply is lost may have been processed. To repeat it is safe if its method says so (`PUT`, `DELETE`), if
//! the service supports idempotency keys, or if it refuses a second row of the same key with 409. If `lookup` is
//! defined, the service is asked first. Without any of these, the outcome is *unknown*, and no call guesses.
//!
//! ```
//! use landfall_destinations::{Draft, Due, Plan};
//! use landfall_domain::{Dataset, Value};
//!
//! let dataset = Dataset::from_toml("orders.toml", r#"
//! name = "orders"
//! key = ["number"]
//! fields = [{ name = "number", type = "integer" }, { name = "status", type = "text" }]
//! "#)?;
//! let draft = Draft::parse("shop", "shop.toml", r#"
//! dataset = "orders"
//! url = "https://shop.example/api"
//! when = "status != draft"
//! update = { path = "/orders/{{ number }}" }
//! delete = { path = "/orders/{{ number }}" }
//! "#)?;
//! let destination = draft.check(&dataset)?;
//!
//! let key = [Value::Integer(7)];
//! let row = [Value::Integer(7), Value::Text("open".into())];
//! let due = Due { key: &key, row: Some(&row), version: b"1", ..Due::default() };
//! let Plan::Call(call) = destination.plan(&due) else { panic!() };
//! assert_eq!((call.method.as_str(), call.url.as_str()), ("PUT", "https://shop.example/api/orders/7"));
//! assert_eq!(call.body.unwrap(), br#"{"number":7,"status":"open"}"#);
//! # Ok::<(), landfall_domain::InvalidDefinition>(())
//! ```

mod batch;
mod breaker;
mod call;
mod compare;
mod definition;
mod destination;
mod judge;
mod plan;
mod signature;
mod templates;
mod webhooks;
mod when;

pub use breaker::{Breaker, Open, Permit};
pub use call::{Call, Operation};
pub use compare::Comparison;
pub use definition::Draft;
pub use destination::{Destination, Limits, OnRefused};
pub use judge::{MAX_ATTEMPTS, Outcome, Reply};
pub use plan::{Due, Plan};
pub use webhooks::{Delivery, JobEvent, RETRY_FOR, Webhook, judge_delivery, payload};
