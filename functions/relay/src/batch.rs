//! The keys of one lease.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::Destination;
use landfall_stores::{ChangeOutcome, ChangeResult, DueChange, Lease};
use tracing::{error, warn};
use uuid::Uuid;

use crate::bell::Bells;
use crate::busy::Busy;
use crate::circuit::Circuit;
use crate::exchange::send;
use crate::{Context, RelayError};

/// The length of a lease.
pub const LEASE: SignedDuration = SignedDuration::from_mins(4);
/// How much of a lease is used for calls. The rest is for recording, and for clocks that differ by up to two minutes.
pub const USABLE: SignedDuration = SignedDuration::from_secs(90);
/// The maximum number of keys in a lease.
const MAX_KEYS: usize = 200;
/// How long the keys of a lease take, as far as its limits say.
const SECONDS_OF_KEYS: f64 = 20.0;
/// The number of results that are recorded at once.
const MAX_RESULTS: usize = 50;
/// How long to wait before results are recorded again.
const RECORD_WAITS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// What has become of a batch of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// They were sent, and more may be due.
    Sent,
    /// No key is due.
    Empty,
    /// No key may be sent for now.
    Stopped,
}

/// Leases keys and sends them, as far as time allows.
pub(crate) async fn send_batch(
    context: &Context,
    destination: &Destination,
    busy: &Busy<'_>,
    bells: &mut Bells,
    stop_at: Timestamp,
) -> Result<Batch, RelayError> {
    let Some(circuit) = Circuit::enter(context, &destination.name, busy).await? else {
        return Ok(Batch::Stopped);
    };
    let (dataset, name) = (destination.dataset(), &destination.name);
    let limit = if circuit.is_probe() {
        1
    } else {
        keys(destination)
    };
    let now = context.clock.now();
    let lease = Lease {
        id: Uuid::new_v4().to_string(),
        now,
        until: now.saturating_add(LEASE).unwrap_or(now),
    };
    let leased = context.store.lease(dataset, name, &lease, limit).await?;
    if leased.is_empty() {
        return Ok(Batch::Empty);
    }
    let end = stop_at.min(now.saturating_add(USABLE).unwrap_or(now));
    let failure = Mutex::new(None);
    let outcomes = stream::iter(&leased).map(async |change| {
        let has_failed = || {
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some()
        };
        let outcome = if has_failed() {
            ChangeOutcome::Released
        } else {
            match send(context, destination, &circuit, change, end).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    ChangeOutcome::Released
                }
            }
        };
        result(change, outcome)
    });
    let concurrency = destination.limits.concurrency;
    let mut results = outcomes
        .buffer_unordered(concurrency)
        .ready_chunks(MAX_RESULTS);
    let mut is_whole = true;
    while let Some(results) = results.next().await {
        for result in &results {
            match &result.outcome {
                ChangeOutcome::Released => is_whole = false,
                ChangeOutcome::Retry { at, .. } => bells.add(*at),
                _ => {}
            }
        }
        record(context, destination, &lease, &results).await;
    }
    drop(results);
    if let Some(at) = circuit.probe_at() {
        bells.add(at);
    }
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None if is_whole => Ok(Batch::Sent),
        None => Ok(Batch::Stopped),
    }
}

/// Returns the number of keys to lease: what can be sent soon, so that other relays get their part.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a definition allows from 0.001 to 1000 calls in a second"
)]
fn keys(destination: &Destination) -> usize {
    let limits = &destination.limits;
    let keys = (limits.per_second * SECONDS_OF_KEYS).ceil() as usize;
    keys.clamp(limits.concurrency.min(MAX_KEYS), MAX_KEYS)
}

fn result(change: &DueChange, outcome: ChangeOutcome) -> ChangeResult {
    ChangeResult {
        key: change.key.clone(),
        version: change.version,
        outcome,
    }
}

/// Records results. If that fails, the lease ends without them, and the outcomes are uncertain.
async fn record(
    context: &Context,
    destination: &Destination,
    lease: &Lease,
    results: &[ChangeResult],
) {
    let (dataset, name) = (destination.dataset(), destination.name.as_str());
    let mut waits = RECORD_WAITS.into_iter();
    loop {
        let recorded = context.store.record(dataset, name, lease, results).await;
        match (recorded, waits.next()) {
            (Ok(recorded), _) => {
                let lost = (results.len() as u64).saturating_sub(recorded);
                if lost > 0 {
                    warn!(destination = name, lost, "the lease of keys had ended");
                }
                return;
            }
            (Err(failure), Some(wait)) if failure.is_retryable() => {
                warn!(destination = name, error = %failure, "results are recorded again");
                context.clock.sleep(wait).await;
            }
            (Err(failure), _) => {
                error!(destination = name, error = %failure, "results are not recorded");
                return;
            }
        }
    }
}
