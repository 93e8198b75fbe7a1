//! The keys of one lease.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join;
use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::Destination;
use landfall_ledger::DestinationError;
use landfall_stores::{ChangeOutcome, ChangeResult, DueChange, Lease, StoreError};
use tokio::sync::mpsc;
use tracing::{error, warn};
use uuid::Uuid;

use crate::bell::Bells;
use crate::circuit::Circuit;
use crate::exchange::send;
use crate::together::send_together;
use crate::{Context, RelayError};

/// The length of a lease.
pub const LEASE: SignedDuration = SignedDuration::from_mins(4);
/// How much of a lease is used for calls. The rest is for recording, and for clocks that differ by up to two minutes.
pub const USABLE: SignedDuration = SignedDuration::from_secs(90);
/// The maximum number of keys in a lease.
const MAX_KEYS: usize = 500;
/// How long the keys of a lease take, as far as its limits say.
const SECONDS_OF_KEYS: f64 = 20.0;
/// Calls in a second, from which on keys are leased while others are sent.
const FAST: f64 = 100.0;
/// The number of results that are recorded at once.
const MAX_RESULTS: usize = 200;
/// The maximum number of answers of a batch that are kept as errors.
const MAX_ERRORS: usize = 5;
/// How long to wait before results are recorded again.
pub(crate) const RECORD_WAITS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Keys that a relay has leased.
pub(crate) struct Leased {
    lease: Lease,
    changes: Vec<DueChange>,
    /// Whether it has as many keys as a lease may have, so that there are probably more.
    pub(crate) is_full: bool,
}

impl Leased {
    /// Leases keys that are due, if there are any: one as a probe, or as many as can be sent soon.
    pub(crate) async fn next(
        context: &Context,
        destination: &Destination,
        is_probe: bool,
    ) -> Result<Option<Self>, StoreError> {
        let limit = if is_probe { 1 } else { keys(destination) };
        let now = context.clock.now();
        let lease = Lease {
            id: Uuid::new_v4().to_string(),
            now,
            until: now.saturating_add(LEASE).unwrap_or(now),
        };
        let (dataset, name) = (destination.dataset(), &destination.name);
        let changes = context.store.lease(dataset, name, &lease, limit).await?;
        Ok((!changes.is_empty()).then_some(Self {
            lease,
            is_full: changes.len() >= limit,
            changes,
        }))
    }

    /// Makes the keys due again, unsent.
    pub(crate) async fn release(&self, context: &Context, destination: &Destination) {
        let released = std::iter::repeat(ChangeOutcome::Released);
        let results: Vec<_> = self.changes.iter().zip(released).map(result).collect();
        record(context, destination, &self.lease, &results).await;
    }
}

/// Sends keys, as far as time allows, and records the results of some while others are sent. Returns whether more calls
/// may be sent.
pub(crate) async fn send_batch(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    bells: &mut Bells,
    leased: &Leased,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let (sent, results) = mpsc::channel(MAX_RESULTS);
    let sending = send_keys(context, destination, circuit, leased, sent, stop_at);
    let recording = record_all(context, destination, bells, &leased.lease, results);
    let (failure, (is_whole, errors)) = join(sending, recording).await;
    if let Some(at) = circuit.probe_at() {
        bells.add(at);
    }
    if !errors.is_empty() {
        circuit.add_errors(errors).await;
    }
    failure.map_or(Ok(is_whole), Err)
}

/// Sends the keys of a lease until a call cannot be made, and passes on a result for each. Returns why a call could not
/// be made.
async fn send_keys(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    leased: &Leased,
    results: mpsc::Sender<ChangeResult>,
    stop_at: Timestamp,
) -> Option<RelayError> {
    let now = leased.lease.now;
    let end = stop_at.min(now.saturating_add(USABLE).unwrap_or(now));
    let failure = Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    stream::iter(leased.changes.chunks(destination.batch().unwrap_or(1)))
        .for_each_concurrent(destination.limits.concurrency, async |changes| {
            let mut outcomes = vec![ChangeOutcome::Released; changes.len()];
            let has_failed = failed().is_some();
            if !has_failed {
                match send_all(context, destination, circuit, changes, end).await {
                    Ok(sent) => outcomes = sent,
                    Err(error) => *failed() = Some(error),
                }
            }
            for result in changes.iter().zip(outcomes).map(result) {
                // They are received until all are sent.
                let _ = results.send(result).await;
            }
        })
        .await;
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Records results as they come. Returns whether all keys were sent, and the last answers that are errors.
async fn record_all(
    context: &Context,
    destination: &Destination,
    bells: &mut Bells,
    lease: &Lease,
    mut results: mpsc::Receiver<ChangeResult>,
) -> (bool, Vec<DestinationError>) {
    let (mut is_whole, mut errors) = (true, Vec::new());
    let mut some = Vec::new();
    while results.recv_many(&mut some, MAX_RESULTS).await > 0 {
        for result in &some {
            match &result.outcome {
                ChangeOutcome::Released => is_whole = false,
                ChangeOutcome::Retry { at, .. } => bells.add(*at),
                _ => {}
            }
        }
        record(context, destination, lease, &some).await;
        let now = context.clock.now();
        let answers = some.iter().filter_map(answer);
        errors.extend(answers.map(|answer| DestinationError::new(now, answer)));
        errors.drain(..errors.len().saturating_sub(MAX_ERRORS));
        some.clear();
    }
    (is_whole, errors)
}

/// Sends keys: several at once if calls have several rows, and one otherwise. Returns their outcomes.
async fn send_all(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    changes: &[DueChange],
    end: Timestamp,
) -> Result<Vec<ChangeOutcome>, RelayError> {
    match changes {
        [change] if destination.batch().is_none() => {
            let sent = send(context, destination, circuit, change, end).await;
            sent.map(|outcome| vec![outcome])
        }
        changes => send_together(context, destination, circuit, changes, end).await,
    }
}

/// Returns what the service answered to a change that it did not accept.
fn answer(result: &ChangeResult) -> Option<&str> {
    match &result.outcome {
        ChangeOutcome::Retry { answer, .. }
        | ChangeOutcome::SetAside { answer, .. }
        | ChangeOutcome::Unknown { answer, .. } => Some(answer),
        ChangeOutcome::Sent { .. } | ChangeOutcome::Released => None,
    }
}

/// Returns the number of keys to lease: what can be sent soon, so that other relays get their part.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a definition allows from 0.001 to 10,000 calls in a second"
)]
pub(crate) fn keys(destination: &Destination) -> usize {
    let (limits, rows) = (&destination.limits, destination.batch().unwrap_or(1));
    let calls = (limits.per_second * SECONDS_OF_KEYS).ceil() as usize;
    let calls = calls.max(limits.concurrency);
    calls.saturating_mul(rows).min(MAX_KEYS)
}

/// Returns whether the keys of a lease take so little time that those of the next one are leased meanwhile.
pub(crate) fn is_fast(destination: &Destination) -> bool {
    destination.limits.per_second >= FAST
}

fn result((change, outcome): (&DueChange, ChangeOutcome)) -> ChangeResult {
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
