//! **Api**: the HTTP API, which reads rows, totals, jobs and rejects and accepts files and rows, and the web page.
//!
//! *Input*: HTTP, as events of an API Gateway HTTP API (payload 2.0, stage `$default`), or over TCP where the binary
//! runs as a standalone server. `/openapi.json` describes all routes; it is generated from this code.
//!
//! *Output*: JSON, and on request CSV or NDJSON. Posted rows become an object in the inbox, which is ingested like any
//! other file. This function never writes to a store.
//!
//! *Consistency*: rows and totals are at most [`FRESH`] old, and always include every job that was closed before the
//! request. A response from the cache costs one consistent read of the dataset's generation in the ledger, and no
//! read of a database.
//!
//! *Access*: every route except the page and `/openapi.json`, which hold no data, needs a bearer token with the right
//! scope for the dataset. The rate of each token is limited across all instances: they draw permits from the ledger in
//! blocks. If the ledger is not available, every request is refused.
//!
//! *Failure policy*: every error response is a problem of RFC 9457 that says what to do; the log has the cause under
//! the same request id. A slow read is refused before the gateway's timeout.
//!
//! *Memory*: a response has at most [`MAX_RESPONSE_BYTES`], a request [`MAX_BODY_BYTES`], and the cache
//! [`CACHE_BYTES`].
//!
//! *Permissions of its role*: `dynamodb:GetItem`, `BatchGetItem` on the ledger, `Query` on its indexes and
//! `UpdateItem` of items at `rate#*`;
//! `s3:GetObject`, `GetObjectVersion` and `ListBucket` on the configuration and rejects buckets; `s3:PutObject`,
//! `GetObject` (for HEAD) and `ListBucket` (so that HEAD distinguishes missing from denied) on the inbox, whose
//! lifecycle aborts incomplete uploads; `secretsmanager:GetSecretValue` of the stores' and the tokens' secret; its
//! logs; and the permissions of a function in a VPC. The inbox needs CORS for `POST` and `PUT` from the page's origin,
//! exposing `ETag`.

mod auth;
mod cache;
mod context;
mod encode;
mod encoding;
mod error;
mod extract;
mod handler;
mod limiter;
mod openapi;
mod page;
mod responses;
mod routes;

pub use cache::{CACHE_BYTES, FRESH};
pub use context::{Context, Settings, StartError};
pub use encode::MAX_RESPONSE_BYTES;
pub use error::{ApiError, Problem};
pub use extract::MAX_BODY_BYTES;
pub use handler::app;
pub use openapi::document;
