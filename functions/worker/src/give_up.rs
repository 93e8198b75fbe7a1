//! When work that failed is given up, and with which reason: chunks are then dead, and writes have failed.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use landfall_domain::DeadCode;
use tokio::time::timeout_at;
use tracing::warn;

use crate::delivery::Delivery;
use crate::wait::wait_if_maintained;
use crate::{Context, WorkError};

/// Why work is given up.
pub(crate) struct GivenUp {
    pub(crate) code: DeadCode,
    pub(crate) reason: String,
}

/// The last delivery ended without a result, and this one would kill its worker, too.
pub(crate) fn worker_died() -> GivenUp {
    let reason = "the last attempt ended without a result: its worker ran out of memory or time, or could not reach \
                  the ledger";
    GivenUp {
        code: DeadCode::WorkerDied,
        reason: reason.to_owned(),
    }
}

/// Does work before the time is over, and once more after a panic: one that repeats is a defect. `work` gets whether it
/// is the first time.
pub(crate) async fn attempt<T>(
    delivery: Delivery,
    work: impl AsyncFn(bool) -> Result<T, WorkError>,
) -> Result<T, WorkError> {
    for is_first in [true, false] {
        let done = AssertUnwindSafe(work(is_first)).catch_unwind();
        match timeout_at(delivery.ingest_until, done).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => warn!("the worker panicked"),
            Err(_) => return Err(WorkError::OutOfTime),
        }
    }
    Err(WorkError::Panicked)
}

/// Returns why work that failed is given up: if retrying cannot help, if this is the last delivery, or if it has waited
/// too long for a store. Otherwise, returns the error, with which its message is delivered again, or has to wait.
pub(crate) async fn give_up(
    context: &Context,
    delivery: Delivery,
    error: WorkError,
) -> Result<GivenUp, WorkError> {
    let error = wait_if_maintained(error);
    let error = context.circuits.wait_if_down(error).await;
    if let WorkError::Wait(wait) = &error {
        let limit = context.redelivery.store_wait;
        let waits_too_long = delivery.down_since.filter(|since| {
            wait.store.is_some() && context.circuits.now().duration_since(*since) > limit
        });
        return match waits_too_long {
            Some(since) => Ok(GivenUp {
                code: DeadCode::StoreDown,
                reason: format!("waited since {since:.0}: {wait}"),
            }),
            None => Err(error),
        };
    }
    match error.dead_code() {
        Some(code) => Ok(GivenUp {
            code,
            reason: error.to_string(),
        }),
        None if delivery.is_last() => Ok(GivenUp {
            code: DeadCode::RetriesExhausted,
            reason: format!("every attempt failed; the last error: {error}"),
        }),
        None => Err(error),
    }
}
