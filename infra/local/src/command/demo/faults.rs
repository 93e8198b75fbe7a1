//! Services that fail on demand.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long a request takes that is slow.
const SLOW: Duration = Duration::from_secs(3);
/// How long a service is down that restarts.
const DOWN: Duration = Duration::from_secs(5);
/// The maximum number of failures that are waiting.
const MAX_FAULTS: usize = 1_000;

/// What happens to a request.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Fault {
    #[serde(rename = "slow")]
    Slow,
    #[serde(rename = "422")]
    Refused,
    #[serde(rename = "429")]
    TooMany,
    #[serde(rename = "500")]
    Failure,
    /// The connection breaks off, and the request is not processed.
    #[serde(rename = "drop")]
    Drop,
    /// The request is processed, and then the connection breaks off.
    #[serde(rename = "lost")]
    Lost,
}

/// The failures of a service.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    next: Mutex<VecDeque<Fault>>,
    restart: Notify,
}

#[derive(Deserialize)]
struct Added {
    kind: Fault,
    #[serde(default = "one")]
    count: usize,
}

fn one() -> usize {
    1
}

impl Faults {
    fn next(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.0.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of requests that will fail.
    pub(super) fn waiting(&self) -> usize {
        self.next().len()
    }

    /// Processes a request, unless it is to fail.
    pub(super) async fn answer(&self, process: impl FnOnce() -> Response) -> Response {
        let fault = self.next().pop_front();
        match fault {
            None => process(),
            Some(Fault::Slow) => {
                sleep(SLOW).await;
                process()
            }
            Some(Fault::Refused) => {
                let refusal = json!({ "error": "this order is refused on demand" });
                (StatusCode::UNPROCESSABLE_ENTITY, Json(refusal)).into_response()
            }
            Some(Fault::TooMany) => {
                let headers = [(header::RETRY_AFTER, "1")];
                (StatusCode::TOO_MANY_REQUESTS, headers).into_response()
            }
            Some(Fault::Failure) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Some(Fault::Drop) => dropped(),
            Some(Fault::Lost) => {
                process();
                dropped()
            }
        }
    }

    /// Serves a service on a port of this machine until the process ends: its routes, and those of its failures.
    pub(super) async fn serve(&self, port: u16, routes: Router) -> Result<()> {
        let routes = routes.merge(
            Router::new()
                .route("/faults", post(add).delete(clear))
                .route("/restart", post(restart))
                .with_state(self.clone()),
        );
        let mut listener = listen(port).await?;
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                let stopped = Arc::clone(&shared);
                let stopped = async move { stopped.restart.notified().await };
                let served = axum::serve(listener, routes.clone());
                if served.with_graceful_shutdown(stopped).await.is_err() {
                    return;
                }
                sleep(DOWN).await;
                let Ok(again) = listen(port).await else {
                    return;
                };
                listener = again;
            }
        });
        Ok(())
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("the demo needs {address}"))
}

/// Returns an answer whose connection breaks off.
fn dropped() -> Response {
    let start = Ok(Bytes::from_static(b"{"));
    let parts = [start, Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    Body::from_stream(stream::iter(parts)).into_response()
}

/// Makes the next requests fail.
async fn add(State(faults): State<Faults>, Query(added): Query<Added>) -> Json<Value> {
    let mut next = faults.next();
    let count = added.count.min(MAX_FAULTS.saturating_sub(next.len()));
    next.extend(std::iter::repeat_n(added.kind, count));
    Json(json!({ "failing": next.len() }))
}

/// Has no more requests fail.
async fn clear(State(faults): State<Faults>) -> Json<Value> {
    faults.next().clear();
    Json(json!({ "failing": 0 }))
}

/// Restarts the service, after the requests in progress.
async fn restart(State(faults): State<Faults>) -> Json<Value> {
    faults.0.restart.notify_one();
    Json(json!({ "down_seconds": DOWN.as_secs() }))
}
