//! Thin, typed clients for S3, SQS, DynamoDB, EventBridge and Secrets Manager. Every response is checked.
//!
//! Each external dependency of a function is a trait here ([`Objects`], [`Inbox`], [`ChunkQueue`], [`SplitQueue`],
//! [`Publisher`]).
//! The deployed functions use the AWS implementation, the simulation and the tests use fakes.
//!
//! Every failed call is an [`AwsError`]; one list of error codes decides whether it is worth retrying.

mod batch;
mod config;
mod contents;
mod datasets;
mod definitions;
mod destinations;
pub mod dynamo;
mod error;
mod events;
mod inbox;
mod message;
mod notification;
mod objects;
mod queue;
mod secret;
mod sources;
mod webhooks;

pub use config::{connect, s3};
pub use contents::Contents;
pub use datasets::{Datasets, DefinitionError, Lookup, MAX_DEFINITION_BYTES};
pub use destinations::{DestinationLookup, Destinations};
pub use error::{AwsError, Failure};
pub use events::{EventBus, Publisher};
pub use inbox::{Inbox, PostForm, S3Inbox, Stored};
pub use message::{
    Earlier, MaintenanceMessage, MessageError, RelayMessage, SplitMessage, Work, WorkMessage,
};
pub use notification::{NotificationError, ObjectCreated};
pub use objects::{Listed, Objects, S3Objects};
pub use queue::{
    Bell, ChunkQueue, Fifo, MAX_BATCH, MaintenanceQueue, OutgoingMessage, SplitQueue, SqsQueue,
};
pub use secret::Secret;
pub use sources::{ListedSource, SourceLookup, Sources};
pub use webhooks::{FoundWebhooks, Webhooks};
