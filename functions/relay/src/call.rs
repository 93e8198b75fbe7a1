//! A call: its slot, the request and its reply.

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::{Call, Destination, Due, OnRefused, Outcome, Plan, Reply};
use landfall_fetch::{Received, TransportError};
use landfall_runtime::SlotError;
use landfall_stores::{ChangeOutcome, DueChange, MAX_ANSWER_BYTES};

use crate::circuit::Circuit;
use crate::{Context, RelayError};

/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// When a key is due again whose calls contradicted each other.
const AFTER_CALLS: SignedDuration = SignedDuration::from_secs(30);

/// An answer with the start of its body.
pub(crate) type Answer = (StatusCode, HeaderMap, Vec<u8>);

/// The reply to a call, or why there is none.
pub(crate) enum Heard {
    Answer(Answer),
    NotSent(String),
    Lost(String),
}

impl Heard {
    pub(crate) fn reply(&self) -> Reply<'_> {
        match self {
            Self::Answer((status, headers, body)) => Reply::Answer {
                status: *status,
                headers,
                body,
            },
            Self::NotSent(reason) => Reply::NotSent(reason),
            Self::Lost(reason) => Reply::Lost(reason),
        }
    }
}

/// Returns what is known of a leased key.
pub(crate) fn due(change: &DueChange) -> Due<'_> {
    let sent = change.sent.as_ref();
    Due {
        key: &change.key.values,
        row: change.row.as_ref().map(|row| row.values.as_slice()),
        version: change.version.as_bytes(),
        exists: sent.is_some_and(|sent| sent.exists),
        is_uncertain: change.is_uncertain,
        replays: 0,
        remote_id: sent.and_then(|sent| sent.id.as_deref()),
        attempts: change.attempts,
        wanted_at: change.wanted_at,
    }
}

/// Returns the next call for a key, or the outcome if there is none.
pub(crate) fn plan(destination: &Destination, due: &Due<'_>) -> Result<Call, ChangeOutcome> {
    Err(match destination.plan(due) {
        Plan::Call(call) => return Ok(call),
        Plan::Nothing { exists } => ChangeOutcome::Sent { exists, id: None },
        Plan::Unknown(reason) => unknown(destination, reason.to_owned()),
        Plan::Refused(reason) => set_aside(destination, reason),
    })
}

/// Returns what a reply means for a key.
pub(crate) fn judge(
    context: &Context,
    destination: &Destination,
    due: &Due<'_>,
    call: &Call,
    heard: &Heard,
) -> Outcome {
    let (now, random) = (context.clock.now(), (context.random)());
    destination.judge(due, call, &heard.reply(), &context.secrets, now, random)
}

/// Returns what is recorded of the last call for a key.
pub(crate) fn recorded(
    context: &Context,
    destination: &Destination,
    outcome: Outcome,
) -> ChangeOutcome {
    match outcome {
        Outcome::Sent { exists, id } => ChangeOutcome::Sent { exists, id },
        Outcome::Again { .. } => {
            let now = context.clock.now();
            ChangeOutcome::Retry {
                at: now.saturating_add(AFTER_CALLS).unwrap_or(now),
                answer: "the calls contradicted each other".to_owned(),
                counts_as_attempt: true,
                uncertain: false,
            }
        }
        Outcome::Retry {
            at,
            answer,
            uncertain,
        } => ChangeOutcome::Retry {
            at,
            answer: cut(answer),
            counts_as_attempt: true,
            uncertain,
        },
        Outcome::SetAside(answer) => set_aside(destination, answer),
        Outcome::Unknown(answer) => unknown(destination, answer),
    }
}

fn set_aside(destination: &Destination, answer: String) -> ChangeOutcome {
    ChangeOutcome::SetAside {
        answer: cut(answer),
        holds: destination.on_refused == OnRefused::Hold,
    }
}

fn unknown(destination: &Destination, answer: String) -> ChangeOutcome {
    ChangeOutcome::Unknown {
        answer: cut(answer),
        holds: destination.on_refused == OnRefused::Hold,
    }
}

/// Waits for the slot of a call. Returns whether the call may begin.
pub(crate) async fn begin(
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

/// Sends a call. The circuit notes what the reply says about the service.
pub(crate) async fn exchange(
    context: &Context,
    destination: &Destination,
    circuit: &Circuit<'_>,
    call: &Call,
) -> Result<Heard, RelayError> {
    let request = call.reveal(destination, &context.secrets, context.clock.now())?;
    context.policy.check_url(&request.url)?;
    let now = context.clock.now();
    let end = now.saturating_add(timeout(destination)).unwrap_or(now);
    let received = context.until(end, async {
        let received = context.transport.send(&request).await?;
        read(received).await
    });
    let heard = match received.await {
        Some(Ok(answer)) => Heard::Answer(answer),
        Some(Err(TransportError::Refused(refused))) => return Err(refused.into()),
        Some(Err(TransportError::Unreached(reason))) => Heard::NotSent(reason),
        Some(Err(TransportError::Failed(reason))) => Heard::Lost(reason),
        None => Heard::Lost("there was no answer within limits.timeout_seconds".to_owned()),
    };
    let now = context.clock.now();
    let failure = heard.reply().failure(now);
    circuit.note(now, failure, (context.random)()).await;
    Ok(heard)
}

/// Reads the start of an answer, up to [`ANSWER_BYTES`].
pub(crate) async fn read(mut received: Received) -> Result<Answer, TransportError> {
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
pub(crate) fn cut(mut answer: String) -> String {
    answer.truncate(answer.floor_char_boundary(MAX_ANSWER_BYTES));
    answer
}
