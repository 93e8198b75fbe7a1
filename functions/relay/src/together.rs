//! Calls that send several keys at once.

use std::collections::VecDeque;

use jiff::Timestamp;
use landfall_destinations::{Call, Destination};
use landfall_stores::{ChangeOutcome, DueChange};

use crate::call::{begin, due, exchange, judge, plan, recorded};
use crate::circuit::Circuit;
use crate::{Context, RelayError};

/// Sends keys with a call for each operation, and those of a call that is refused one by one. Returns their outcomes,
/// in their order. No call begins unless it is over before `end`.
///
/// If this fails, the keys are due again, and calls that were sent are repeated: a definition of batches allows only
/// calls that can be.
pub(crate) async fn send_together(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    changes: &[DueChange],
    end: Timestamp,
) -> Result<Vec<ChangeOutcome>, RelayError> {
    let mut outcomes = vec![ChangeOutcome::Released; changes.len()];
    let mut calls = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match plan(destination, &due(change)) {
            Ok(call) => calls.push((index, call)),
            Err(outcome) => outcomes[index] = outcome,
        }
    }
    let mut batches: VecDeque<Vec<(usize, Call)>> = destination.batches(calls).into();
    while let Some(batch) = batches.pop_front() {
        let Some(joined) = Call::join(batch.iter().map(|(_, call)| call)) else {
            continue;
        };
        if !begin(context, destination, circuit, end).await? {
            break;
        }
        let heard = exchange(context, destination, circuit, &joined).await?;
        if batch.len() > 1 && destination.refuses(&heard.reply()) {
            batches.extend(batch.into_iter().map(|one| vec![one]));
            continue;
        }
        for (index, call) in batch {
            let outcome = judge(context, destination, &due(&changes[index]), &call, &heard);
            outcomes[index] = recorded(context, destination, outcome);
        }
    }
    Ok(outcomes)
}
