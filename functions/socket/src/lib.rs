//! **Socket**: who is connected is told how jobs stand.
//!
//! *Input*: the routes of the WebSocket API (`$connect` with a token, `$disconnect`, messages); the stream of
//! the ledger's table; messages of the push queue.
//!
//! *Output*: connections and what they subscribe to, in a table of their own; a message of the push queue for
//! each job and second in which it changed; and what the queue's messages lead to: pushes to all subscribers of a
//! job and of its dataset. They say how the job stands when the second is over, so that no last state is missed, and
//! come once a second at most. When a job is closed and its event is published, its completion is pushed.
//!
//! *Guarantees*: the queue takes a job's messages one after the other, and a connection that was told of a
//! completion is marked. So a connection is told of it once; twice, if the function dies between push and mark;
//! and as often as it takes, if a push fails. Progress is not repeated: the next one says more.
//!
//! *Failure policy*: a push to a connection that is gone removes it with all its subscriptions. One that fails
//! three times in five seconds holds up no other one; if it was a completion, the queue's message comes back for those
//! who lack it, after 2 seconds and then twice as long each time, 30 at most. What the
//! stream brings comes back as a whole; a message that the queue has taken already in that second is not taken twice.
//!
//! *Permissions of its role*: `dynamodb:GetItem`, `PutItem`, `UpdateItem`, `DeleteItem` and `Query` on the
//! connections; `GetItem`, `BatchGetItem` and `Query` on the ledger and its indexes, and what follows its stream;
//! `sqs:SendMessage`, `ReceiveMessage`, `DeleteMessage`, `GetQueueAttributes` and `ChangeMessageVisibility` on the
//! push queue; `execute-api:ManageConnections`; `secretsmanager:GetSecretValue` of the tokens' secret; its logs.
//!
//! *Memory*: the subscribers of [`JOBS_AT_ONCE`] jobs, some hundred bytes each.

mod connections;
mod context;
mod error;
mod gateway;
mod handler;
mod messages;
mod push;
mod queue;
mod routes;
mod stream;

pub use context::Context;
pub use error::SocketError;
pub use handler::handle;
pub use push::JOBS_AT_ONCE;
