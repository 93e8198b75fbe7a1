//! **Socket**: pushes job status to connected clients.
//!
//! *Input*: the routes of the WebSocket API (`$connect` with a token, `$disconnect`, messages); the stream of the
//! ledger's table; messages of the push queue.
//!
//! *Output*: connections and their subscriptions, in a separate table; at most one message per job and second
//! in the push queue; and a push of the job's status to all subscribers of the job and of its dataset, for each
//! message.
//!
//! *Guarantees*: a job is pushed at most once per second, and its last state is never missed. A connection gets a
//! completion at least once while it is connected. It gets the completion twice only if the function dies between
//! push and mark. Failed progress pushes are not repeated, because the next one supersedes them.
//!
//! *Limits*: connects and messages of a token count together with its requests to the HTTP API. Over the limit, a
//! connect gets 429, and a message an error that says how long to wait.
//!
//! *Failure policy*: if API Gateway reports that a connection is gone, the function removes it with all its
//! subscriptions. A push that fails three times in five seconds does not delay other pushes. If it was a
//! completion, the queue's message returns for the connections that lack it: after 2 seconds, then after twice as
//! long each time, 30 seconds at most. A failed stream batch returns as a whole; the queue drops messages it
//! already accepted in that second.
//!
//! *Permissions of its role*: `dynamodb:GetItem`, `PutItem`, `UpdateItem`, `DeleteItem` and `Query` on the
//! connections table; `GetItem`, `BatchGetItem` and `Query` on the ledger and its indexes, `UpdateItem` on its items
//! `rate#…`, and reading its stream;
//! `sqs:SendMessage`, `ReceiveMessage`, `DeleteMessage`, `GetQueueAttributes` and `ChangeMessageVisibility` on the
//! push queue; `execute-api:ManageConnections`; `secretsmanager:GetSecretValue` on the tokens' secret; its logs
//! and traces.
//!
//! *Memory*: the subscribers of [`CONCURRENT_JOBS`] jobs, some hundred bytes each.
//!
//! # How pushes are paced
//!
//! The ledger's table has a stream of the keys of changed items. From it, the function sends one message per job to
//! the *push queue*. This FIFO queue has one message group per job, accepts each deduplication id once in five
//! minutes, and delivers after one second. The deduplication id is the second in which the message is sent. A job
//! is therefore pushed at most once per second, however many chunks are marked. The push reads the job after that
//! second is over, so it includes everything that happened in it, and nothing has to wait or keep time. If a job
//! has no subscriber, two queries find that out.
//!
//! # Completions
//!
//! A completion is pushed once the head says *published*, so a client that then reads rows gets all of them. The
//! message group lets only one invocation push a job at a time. Each connection that accepted the completion is
//! marked. If a push fails, the message returns after some seconds for the connections without a mark, and later
//! messages of the job wait behind it. A client that subscribes late gets its completion through a message in the
//! same group, so that the two cannot race. The deduplication id of that message is connection and second, so that
//! a client that leaves and returns gets it again.
//!
//! # Subscriptions
//!
//! A subscription is written before the job is read for it, so changes in between are pushed. It stores the rights
//! of its token, because a client may subscribe to a job that does not exist yet. Every push checks these rights.
//! Connections that end unnoticed expire after the two hours that API Gateway allows a connection.

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

pub use connections::{ConnectionTable, Connections, MAX_TOPICS};
pub use context::Context;
pub use error::SocketError;
pub use gateway::{Delivery, Gateway};
pub use handler::handle;
pub use push::CONCURRENT_JOBS;
pub use queue::{PushMessage, PushQueue};
