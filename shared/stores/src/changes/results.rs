//! What is recorded of the outcome of an attempt.

use landfall_domain::ChangeState;

use super::updates::UnsentKey;
use super::{ChangeOutcome, ChangeResult, MAX_ANSWER_BYTES, milliseconds};

/// Returns what is recorded of a key that was not sent.
pub(super) fn unsent_key<'r>(
    result: &'r ChangeResult,
    outcome: &'r ChangeOutcome,
    now: i64,
) -> UnsentKey<'r> {
    let mut key = UnsentKey {
        id: result.key.place,
        version: result.version,
        state: ChangeState::Waiting,
        due_at: now,
        answer: None,
        attempts: 0,
        is_uncertain: false,
        holds: false,
    };
    match outcome {
        ChangeOutcome::Retry {
            at,
            answer,
            counts_as_attempt,
            uncertain,
        } => {
            key.due_at = milliseconds(*at);
            key.answer = Some(cut(answer));
            key.attempts = u8::from(*counts_as_attempt);
            key.is_uncertain = *uncertain;
        }
        ChangeOutcome::SetAside { answer, holds } => {
            key.state = ChangeState::SetAside;
            key.answer = Some(cut(answer));
            (key.attempts, key.holds) = (1, *holds);
        }
        ChangeOutcome::Unknown { answer, holds } => {
            key.state = ChangeState::Unknown;
            key.answer = Some(cut(answer));
            (key.attempts, key.holds, key.is_uncertain) = (1, *holds, true);
        }
        ChangeOutcome::Released | ChangeOutcome::Sent { .. } => {}
    }
    key
}

/// Cuts an answer to what is kept of it.
pub(crate) fn cut(answer: &str) -> &str {
    &answer[..answer.floor_char_boundary(MAX_ANSWER_BYTES)]
}
