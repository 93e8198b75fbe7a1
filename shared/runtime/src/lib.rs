//! What every Lambda function needs besides its own logic.
//!
//! - [`Environment`] opens the clients, tables, queues and buckets that the environment variables name, and with the
//!   feature `stores` the databases. [`required`] and [`optional`] read further settings.
//! - [`init_tracing`] sets up logging, and [`serve`] runs a handler with its context, each event and a [`Deadline`].
//! - [`process_batch`] processes a batch of SQS messages: per-item failures, panics, deadline, FIFO groups.
//!   [`put_back`] has failed messages redelivered soon, and [`keep_hidden`] none while it is processed.
//! - [`Limiter`] limits the requests and messages of each token, over all instances.
//! - [`Slots`] says when requests to a host may be sent, over all instances.
//! - [`Clock`] is the time, for code that the simulation runs faster.
//! - [`Metrics`] writes metrics for CloudWatch to the log.

mod clock;
mod deadline;
mod environment;
mod limiter;
mod metrics;
mod outgoing;
mod redelivery;
mod serve;
mod settings;
mod slots;
mod sqs;
#[cfg(feature = "stores")]
mod stores;

pub use clock::{Clock, SystemClock};
pub use deadline::Deadline;
pub use environment::Environment;
pub use lambda_runtime::Error;
pub use limiter::{LimitError, Limiter};
pub use metrics::{Metric, Metrics};
pub use outgoing::{OutgoingError, policy};
pub use redelivery::{Visibility, jittered, keep_hidden, put_back};
pub use serve::{init_tracing, serve};
pub use settings::{SettingError, optional, required};
pub use slots::{SlotError, Slots};
pub use sqs::{BatchLimits, Message, Retryable, batch_response, process_batch};
#[cfg(feature = "stores")]
pub use stores::StoresError;
