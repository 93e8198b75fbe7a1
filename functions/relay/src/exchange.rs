//! The calls for one key.

use jiff::Timestamp;
use landfall_destinations::{Destination, Outcome};
use landfall_stores::{ChangeOutcome, DueChange};

use crate::call::{begin, due, exchange, judge, plan, recorded};
use crate::circuit::Circuit;
use crate::{Context, RelayError};

/// The maximum number of calls for a key in a lease.
const MAX_CALLS: usize = 8;

/// Sends a key with as many calls as it needs. No call begins unless it is over before `end`.
pub(crate) async fn send(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    change: &DueChange,
    end: Timestamp,
) -> Result<ChangeOutcome, RelayError> {
    let (mut due, mut found) = (due(change), None);
    let mut calls = 1;
    loop {
        let mut next = due;
        next.remote_id = found.as_deref().or(due.remote_id);
        let call = match plan(destination, &next) {
            Ok(call) => call,
            Err(outcome) => return Ok(with_id(outcome, found)),
        };
        if !begin(context, destination, circuit, end).await? {
            return Ok(ChangeOutcome::Released);
        }
        let heard = exchange(context, destination, circuit, &call).await?;
        match judge(context, destination, &next, &call, &heard) {
            Outcome::Again {
                exists,
                id,
                is_replay,
                is_certain,
            } if calls < MAX_CALLS => {
                calls += 1;
                due.replays += u32::from(is_replay);
                (due.exists, due.is_uncertain) = (exists, !is_certain);
                if !exists {
                    due.remote_id = None;
                }
                found = id.or(found.filter(|_| exists));
            }
            outcome => return Ok(with_id(recorded(context, destination, outcome), found)),
        }
    }
}

/// Adds the id that an earlier call has found.
fn with_id(outcome: ChangeOutcome, found: Option<String>) -> ChangeOutcome {
    match outcome {
        ChangeOutcome::Sent { exists, id } => ChangeOutcome::Sent {
            exists,
            id: id.or(found),
        },
        outcome => outcome,
    }
}
