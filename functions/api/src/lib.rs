//! **Api**: rows, totals, jobs and rejects are read here, and files and rows handed in; the page is served.
//!
//! *Input*: HTTP, as events of an API Gateway HTTP API (payload 2.0, stage `$default`), or straight from a
//! socket where the binary runs by itself. Routes and shapes are at `/openapi.json`, which is made of this code.
//!
//! *Output*: JSON, and on request CSV or NDJSON. Rows that are handed in become an object of the inbox, from
//! which on they go the way of every file. Nothing is written to a store here.
//!
//! *How old an answer can be*: rows and totals are as they were at a moment of at most [`FRESH`] before the
//! request came, and never from before the close of a job that was closed by then. Each answer from the cache
//! costs one consistent read of the dataset's generation in the ledger, and no read of a database.
//!
//! *Who may what*: every route but the page and `/openapi.json`, which hold no data, needs a bearer token, with
//! the scope and for the dataset that it is about. How often a token may ask is counted in the ledger, for all
//! instances together, in blocks; without the ledger nobody is let in.
//!
//! *Failure policy*: every error is a problem of RFC 9457 that says what to do; what happened is in the log,
//! under the same request id. A read that takes too long is refused rather than left to the gateway's timeout.
//!
//! *Memory*: an answer has at most [`MAX_ANSWER_BYTES`], a request [`MAX_BODY_BYTES`], all kept answers
//! together [`CACHE_BYTES`].
//!
//! *Permissions of its role*: `dynamodb:GetItem`, `BatchGetItem` on the ledger, `Query` on its indexes and
//! `UpdateItem` of items at `rate#*`;
//! `s3:GetObject`, `GetObjectVersion` and `ListBucket` on the configuration and rejects buckets; `s3:PutObject`,
//! `GetObject` (for HEAD) and `ListBucket` (so that HEAD tells missing from denied) on the inbox, whose lifecycle
//! ends uploads that are not completed; `secretsmanager:GetSecretValue` of the stores' and the tokens' secret; its logs; and what a
//! function in a VPC needs. The inbox needs CORS for `POST` and `PUT` from the page's origin, exposing `ETag`.

mod auth;
mod cache;
mod context;
mod encode;
mod error;
mod extract;
mod handler;
mod limiter;
mod openapi;
mod page;
mod routes;

pub use cache::{CACHE_BYTES, FRESH};
pub use context::{Context, Settings, StartError};
pub use encode::MAX_ANSWER_BYTES;
pub use error::{ApiError, Problem};
pub use extract::MAX_BODY_BYTES;
pub use handler::app;
pub use openapi::document;
