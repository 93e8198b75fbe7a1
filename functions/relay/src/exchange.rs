//! The calls for one key.

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::{Call, Destination, Due, OnRefused, Outcome, Plan, Reply};
use landfall_fetch::{Received, TransportError};
use landfall_runtime::SlotError;
use landfall_stores::{ChangeOutcome, DueChange, MAX_ANSWER_BYTES};

use crate::circuit::Circuit;
use crate::{Context, RelayError};

/// The maximum number of calls for a key in a lease.
const MAX_CALLS: usize = 8;
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// When a key is due again that has had [`MAX_CALLS`].
const AFTER_CALLS: SignedDuration = SignedDuration::from_secs(30);

/// Sends a key with as many calls as it needs. No call begins unless it is over before `end`.
pub(crate) async fn send(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    change: &DueChange,
    end: Timestamp,
) -> Result<ChangeOutcome, RelayError> {
    let sent = change.sent.as_ref();
    let mut due = Due {
        key: &change.key.values,
        row: change.row.as_ref().map(|row| row.values.as_slice()),
        version: change.version.as_bytes(),
        exists: sent.is_some_and(|sent| sent.exists),
        is_uncertain: change.is_uncertain,
        replays: 0,
        remote_id: sent.and_then(|sent| sent.id.as_deref()),
        attempts: change.attempts,
        wanted_at: change.wanted_at,
    };
    let holds = destination.on_refused == OnRefused::Hold;
    let set_aside = |answer: String| ChangeOutcome::SetAside {
        answer: cut(answer),
        holds,
    };
    let unknown = |answer: String| ChangeOutcome::Unknown {
        answer: cut(answer),
        holds,
    };
    let mut found = None;
    for _ in 0..MAX_CALLS {
        let mut next = due;
        next.remote_id = found.as_deref().or(due.remote_id);
        let call = match destination.plan(&next) {
            Plan::Call(call) => call,
            Plan::Nothing { exists } => return Ok(ChangeOutcome::Sent { exists, id: found }),
            Plan::Unknown(reason) => return Ok(unknown(reason.to_owned())),
            Plan::Refused(reason) => return Ok(set_aside(reason)),
        };
        if !begin(context, destination, circuit, end).await? {
            return Ok(ChangeOutcome::Released);
        }
        let outcome = reply_to(context, destination, circuit, &next, &call).await?;
        match outcome {
            Outcome::Sent { exists, id } => {
                let id = id.or(found);
                return Ok(ChangeOutcome::Sent { exists, id });
            }
            Outcome::Again {
                exists,
                id,
                is_replay,
                is_certain,
            } => {
                due.replays += u32::from(is_replay);
                (due.exists, due.is_uncertain) = (exists, !is_certain);
                if !exists {
                    due.remote_id = None;
                }
                found = id.or(found.filter(|_| exists));
            }
            Outcome::Retry {
                at,
                answer,
                uncertain,
            } => {
                return Ok(ChangeOutcome::Retry {
                    at,
                    answer: cut(answer),
                    counts_as_attempt: true,
                    uncertain,
                });
            }
            Outcome::SetAside(answer) => return Ok(set_aside(answer)),
            Outcome::Unknown(answer) => return Ok(unknown(answer)),
        }
    }
    let now = context.clock.now();
    Ok(ChangeOutcome::Retry {
        at: now.saturating_add(AFTER_CALLS).unwrap_or(now),
        answer: format!("{MAX_CALLS} calls contradicted each other"),
        counts_as_attempt: true,
        uncertain: false,
    })
}

/// Waits for the slot of a call. Returns whether the call may begin.
async fn begin(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    end: Timestamp,
) -> Result<bool, RelayError> {
    let limits = &destination.limits;
    let name = pace_name(destination);
    let latest = end.saturating_sub(timeout(destination)).unwrap_or(end);
    loop {
        if context.clock.now() >= latest || !circuit.may_call().await? {
            return Ok(false);
        }
        let slot = async {
            let slot = context.slots.take(&name, limits.per_second);
            Ok::<_, SlotError>(context.slots.arrive(slot.await?).await)
        };
        match context.until(latest, slot).await {
            None | Some(Err(SlotError::Wait(_))) => return Ok(false),
            Some(Err(SlotError::Ledger(error))) => return Err(error.into()),
            Some(Ok(false)) => {}
            Some(Ok(true)) => return circuit.may_call().await,
        }
    }
}

/// Returns how long a call may take.
fn timeout(destination: &Destination) -> SignedDuration {
    let seconds = i64::try_from(destination.limits.timeout_seconds);
    SignedDuration::from_secs(seconds.unwrap_or(i64::MAX))
}

/// Returns the name of the slots of a destination. No host is named like that.
fn pace_name(destination: &Destination) -> String {
    format!("destination:{}", destination.name)
}

/// Sends a call and judges the reply.
async fn reply_to(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    due: &Due<'_>,
    call: &Call,
) -> Result<Outcome, RelayError> {
    let request = call.reveal(destination, &context.secrets, context.clock.now())?;
    context.policy.check_url(&request.url)?;
    let now = context.clock.now();
    let end = now.saturating_add(timeout(destination)).unwrap_or(now);
    let received = context.until(end, async {
        let received = context.transport.send(&request).await?;
        read(received).await
    });
    let received = received.await;
    let reply = match &received {
        Some(Ok((status, headers, body))) => Reply::Answer {
            status: *status,
            headers,
            body,
        },
        Some(Err(TransportError::Refused(refused))) => return Err(refused.clone().into()),
        Some(Err(TransportError::Unreached(reason))) => Reply::NotSent(reason),
        Some(Err(TransportError::Failed(reason))) => Reply::Lost(reason),
        None => Reply::Lost("there was no answer within limits.timeout_seconds"),
    };
    let (now, random) = (context.clock.now(), (context.random)());
    circuit.note(now, reply.failure(now), random).await;
    Ok(destination.judge(due, call, &reply, &context.secrets, now, random))
}

/// Reads the start of an answer, up to [`ANSWER_BYTES`].
async fn read(mut received: Received) -> Result<(StatusCode, HeaderMap, Vec<u8>), TransportError> {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES {
        match received.body.next().await? {
            None => break,
            Some(piece) => {
                body.extend_from_slice(&piece[..piece.len().min(ANSWER_BYTES - body.len())]);
            }
        }
    }
    Ok((received.status, received.headers, body))
}

/// Returns the start of an answer that stores keep.
fn cut(mut answer: String) -> String {
    answer.truncate(answer.floor_char_boundary(MAX_ANSWER_BYTES));
    answer
}
