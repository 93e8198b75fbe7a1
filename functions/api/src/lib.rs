//! **Api**: serves rows, totals, jobs, rejects and sources, accepts files and rows, and serves the page.
//!
//! *Input*: HTTP, as events of an API Gateway HTTP API (payload 2.0, stage `$default`), or directly from a socket
//! if the binary runs standalone. `/openapi.json`, generated from this code, describes routes and shapes.
//!
//! *Output*: JSON, and on request CSV or NDJSON. Uploaded rows become an object in the inbox, which is then
//! ingested like any file. A single row that is written or deleted is recorded in the ledger, and travels to the
//! workers inside a message. A confirmed prune is recorded in the ledger and handed to the workers. The API writes
//! nothing to a store.
//!
//! *Freshness*: an answer shows rows and totals at most [`FRESH`] older than the request. Once a job has closed, no
//! answer predates its close. Each cached answer costs one consistent read of the dataset's generation in the
//! ledger, and no read of a database.
//!
//! *Access*: every route except the page and `/openapi.json`, which hold no data, needs a bearer token with the
//! right scope and dataset. Requests per token are counted in the ledger, in blocks, for all instances together.
//! Without the ledger, no request is admitted.
//!
//! *Uploads*: files do not pass through the API, except small bodies. Browsers post them directly to the inbox,
//! with a policy that names the key and the exact size, or put signed parts whose length is part of the signature.
//! The id of an upload's job is derived from bucket, key and version, so the API can return it before the
//! notification arrives.
//!
//! *Failure policy*: every error is an RFC 9457 problem that says what to do; the cause is in the log, under the
//! same request id. A read that takes too long is refused rather than left to the gateway's timeout.
//!
//! *Memory*: [`MAX_RESPONSE_BYTES`] per answer and [`MAX_BODY_BYTES`] per request (4 MiB each), the page of rows an
//! answer is built from, and [`CACHE_BYTES`] (64 MiB) for all cached answers. To explain a row, a chunk is read and
//! decoded as by a worker: about seven times its bytes.
//!
//! *Permissions of its role*: `dynamodb:GetItem` and `BatchGetItem` on the ledger, `Query` on its indexes, `UpdateItem`
//! of items at `rate#*`, `job/*`, `dataset#*`, `source#*`, `clock/*`, `request#*` and `parent#*`, and `PutItem` of
//! items at
//! `job/*`, `write/*` and `parent#*`; `sqs:SendMessage` on the chunk queue; `s3:PutObject` of objects at `writes/*` in
//! the work bucket;
//! `s3:GetObject`, `GetObjectVersion` and `ListBucket` on the configuration and rejects buckets; `s3:GetObject` and
//! `ListBucket` on the work bucket; `s3:PutObject`, `GetObject`, `GetObjectVersion` (for HEAD, and for the records of
//! rows) and `ListBucket` (so that HEAD distinguishes missing from denied) on the inbox, whose lifecycle aborts
//! incomplete uploads; `secretsmanager:GetSecretValue` on the stores' and the tokens' secret; its logs and traces; and
//! what a function in a VPC needs. The inbox needs CORS for `POST` and `PUT` from the page's origin, exposing `ETag`.

mod auth;
mod cache;
mod children;
mod context;
mod encode;
mod encoding;
mod error;
mod extract;
mod handler;
mod openapi;
mod origin;
mod page;
mod responses;
#[cfg(test)]
mod round_trip;
mod routes;
mod writes;

pub use cache::{CACHE_BYTES, FRESH};
pub use context::{Clock, Context, Settings};
pub use encode::MAX_RESPONSE_BYTES;
pub use error::{ApiError, Problem};
pub use extract::MAX_BODY_BYTES;
pub use handler::app;
pub use openapi::document;
