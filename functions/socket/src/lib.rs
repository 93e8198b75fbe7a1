//! **Socket**: pushes job status to connected clients.
//!
//! *Input*: the routes of the WebSocket API (`$connect` with a token, `$disconnect`, messages); the stream of the
//! ledger's table; messages of the push queue.
//!
//! *Output*: connections and their subscriptions, in a table of their own. For each second in which a job changed,
//! one message in the push queue. For each of these messages, a push to all subscribers of the job and of its
//! dataset. A push reads the job when that second is over, so a job is pushed at most once a second and the last
//! state is never lost. Once a job is closed and its event is published, its completion is pushed instead.
//!
//! *Guarantees*: the queue delivers the messages of a job one after the other, and the function marks each connection
//! that has received a completion. So a connection receives a completion once, or twice if the function dies between
//! push and mark. A failed completion is retried. Failed progress is not: the next push has more.
//!
//! *Failure policy*: a push to a connection that is gone deletes it with all its subscriptions. A push that fails
//! three times in five seconds delays no other one. If it was a completion, the message is redelivered for the
//! connections without a mark, after 2 seconds and then twice as long each time, up to 30. A failed batch of the
//! stream is redelivered as a whole; the queue deduplicates messages that it accepted in the same second.
//!
//! *Permissions of its role*: `dynamodb:GetItem`, `PutItem`, `UpdateItem`, `DeleteItem` and `Query` on the
//! connections; `GetItem`, `BatchGetItem` and `Query` on the ledger and its indexes, and the permissions to read its
//! stream; `sqs:SendMessage`, `ReceiveMessage`, `DeleteMessage`, `GetQueueAttributes` and `ChangeMessageVisibility` on
//! the push queue; `execute-api:ManageConnections`; `secretsmanager:GetSecretValue` of the tokens' secret; its logs.
//!
//! *Memory*: the subscribers of [`CONCURRENT_JOBS`] jobs, some hundred bytes each.

mod connections;
mod context;
mod dynamo;
mod error;
mod gateway;
mod handler;
mod messages;
mod push;
mod queue;
mod routes;
mod stream;

pub use connections::{Connection, ConnectionTable, Connections, MAX_TOPICS, Subscriber};
pub use context::Context;
pub use error::SocketError;
pub use gateway::{Delivery, Gateway};
pub use handler::handle;
pub use push::CONCURRENT_JOBS;
pub use queue::{PushMessage, PushQueue};
