//! S3, SQS, EventBridge and Secrets Manager as the functions use them: thin, typed, every answer checked.
//!
//! What a function needs from outside is a trait here ([`Objects`], [`ChunkQueue`]), with the AWS
//! client behind it in the deployed functions and a fake behind it in the simulation.

mod config;
mod datasets;
mod error;
mod events;
mod inbox;
mod notification;
mod objects;
mod queue;
mod secret;
mod settings;
mod stores;

pub use config::{connect, s3};
pub use datasets::{Datasets, Lookup};
pub use error::AwsError;
pub use events::EventBus;
pub use inbox::{Inbox, PostForm, S3Inbox, Stored};
pub use notification::{NotificationError, ObjectCreated};
pub use objects::{Listed, Objects, S3Objects};
pub use queue::{ChunkQueue, MAX_BATCH, SqsQueue};
pub use secret::Secret;
pub use settings::{SettingError, optional, required};
pub use stores::StoreAddresses;
