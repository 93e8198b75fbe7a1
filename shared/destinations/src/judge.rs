//! What the reply to a call means.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_requests::{Secrets, retry_after, shown_answer, wait};
use serde_json::Value as Json;

use crate::destination::{Conflict, Destination, NotFound};
use crate::{Call, Due, Operation};

/// The number of attempts after which a change is set aside: about three days, with [`wait`] and the steps below.
pub const MAX_ATTEMPTS: u32 = 500;
/// From this attempt on, waits grow further than those of a single request.
const LONG_WAITS: u32 = 7;
/// By how much they grow at most.
const LONGEST: u32 = 10;

/// The reply to a call.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// The service answered.
    Answer {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: &'a HeaderMap,
        /// The start of the body.
        body: &'a [u8],
    },
    /// The call did not reach the service.
    NotSent(&'a str),
    /// The call was sent, and there is no answer.
    Lost(&'a str),
}

/// What has become of a call. Answers are short and contain no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has the row as it stood, or no longer has the key.
    Sent {
        /// Whether it has the key.
        exists: bool,
        /// The id that it gave to the key, if the answer has it.
        id: Option<String>,
    },
    /// Another call may follow at once, with this knowledge.
    Again {
        /// Whether the service has the key.
        exists: bool,
        /// The id that it gave to the key, if that is known.
        id: Option<String>,
        /// Whether the answer may be that to an earlier create. [`Due::replays`] counts these.
        is_replay: bool,
        /// Whether this is all that earlier calls can have done: [`Due::is_uncertain`] is false then.
        is_certain: bool,
    },
    /// The key is due again later.
    Retry {
        /// When.
        at: Timestamp,
        /// What the service answered.
        answer: String,
        /// Whether the call may have been processed.
        uncertain: bool,
    },
    /// The service refused the call for good.
    SetAside(String),
    /// The call may have been processed, and there are no attempts left.
    Unknown(String),
}

impl Reply<'_> {
    /// Returns why the service seems to be down, and how long it asks to wait, if the reply says so: it is a time-out,
    /// a failed connection, 408, 429 or 5xx.
    pub fn failure(&self, now: Timestamp) -> Option<(String, Option<Duration>)> {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) => Some(((*reason).to_owned(), None)),
            Self::Answer {
                status, headers, ..
            } => {
                let is_failure = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
                is_failure.then(|| (format!("status {status}"), retry_after(headers, now)))
            }
        }
    }
}

impl Destination {
    /// Returns what the reply to a call means. `random`, from 0 to 1, spreads retries.
    pub fn judge(
        &self,
        due: &Due<'_>,
        call: &Call,
        reply: &Reply<'_>,
        secrets: &Secrets,
        now: Timestamp,
        random: f64,
    ) -> Outcome {
        let is_lookup = call.operation == Operation::Lookup;
        let retry = |answer: String, asked: Option<Duration>, uncertain: bool| {
            let uncertain = uncertain && !is_lookup;
            let attempt = due.attempts.saturating_add(1);
            if attempt < MAX_ATTEMPTS {
                let at = now + retry_wait(attempt, asked, random);
                Outcome::Retry {
                    at,
                    answer,
                    uncertain,
                }
            } else if uncertain || due.is_uncertain {
                Outcome::Unknown(answer)
            } else {
                Outcome::SetAside(answer)
            }
        };
        let (status, headers, body) = match *reply {
            Reply::Answer {
                status,
                headers,
                body,
            } => (status, headers, body),
            Reply::NotSent(reason) => return retry(secrets.remove_from(reason), None, false),
            Reply::Lost(reason) => return retry(secrets.remove_from(reason), None, true),
        };
        let answer = format!("status {status}: {}", shown_answer(body, secrets));
        if self.is_success(status) {
            return self.accepted(due, call, body);
        }
        match status.as_u16() {
            404 | 410 => self.not_found(due, call.operation, answer),
            409 => match self.conflict(call.operation) {
                Conflict::Update => Outcome::Again {
                    exists: true,
                    id: due.remote_id.map(str::to_owned),
                    is_replay: false,
                    is_certain: true,
                },
                Conflict::Retry => retry(answer, retry_after(headers, now), false),
                Conflict::Refused => Outcome::SetAside(answer),
            },
            // Behind a gateway that answers with 502 or 504, the service may have processed the call.
            500 | 502 | 504 => retry(answer, retry_after(headers, now), true),
            _ if is_temporary(status) || status.is_server_error() => {
                retry(answer, retry_after(headers, now), false)
            }
            _ => Outcome::SetAside(answer),
        }
    }

    pub(crate) fn is_success(&self, status: StatusCode) -> bool {
        match self.success.as_slice() {
            [] => status.is_success(),
            codes => codes.contains(&status),
        }
    }

    fn accepted(&self, due: &Due<'_>, call: &Call, body: &[u8]) -> Outcome {
        let id = |path: &Option<Vec<String>>| {
            let json: Json = serde_json::from_slice(body).ok()?;
            path.as_ref().and_then(|path| text_at(&json, path))
        };
        match call.operation {
            Operation::Delete => Outcome::Sent {
                exists: false,
                id: None,
            },
            Operation::Lookup => {
                let path = self
                    .lookup
                    .as_ref()
                    .and_then(|lookup| lookup.id_from.clone());
                let id = id(&path);
                let exists = path.is_none() || id.is_some();
                Outcome::Again {
                    exists,
                    id,
                    is_replay: false,
                    is_certain: true,
                }
            }
            // An earlier version of the row may have been created, and the service answers to that.
            Operation::Create
                if is_doubtful(due)
                    && self.idempotency_header.is_some()
                    && self.update.is_some() =>
            {
                Outcome::Again {
                    exists: true,
                    id: id(&self.id_from),
                    is_replay: true,
                    is_certain: true,
                }
            }
            Operation::Create | Operation::Update => Outcome::Sent {
                exists: true,
                id: id(&self.id_from),
            },
        }
    }

    fn not_found(&self, due: &Due<'_>, operation: Operation, answer: String) -> Outcome {
        let endpoint = match operation {
            Operation::Lookup => return gone(true),
            Operation::Create => return Outcome::SetAside(answer),
            Operation::Update => self.update.as_ref(),
            Operation::Delete => self.delete.as_ref(),
        };
        let rule = endpoint.map_or(NotFound::Refused, |endpoint| endpoint.not_found);
        // The id is unknown if the reply to the create was lost.
        let by_id = endpoint.is_some_and(|endpoint| endpoint.path.uses_remote_id());
        let is_certain = !(by_id && due.is_uncertain);
        match (operation, rule) {
            // Perhaps an earlier call has deleted it.
            (Operation::Update, NotFound::Refused) if is_doubtful(due) && self.create.is_some() => {
                gone(is_certain)
            }
            (Operation::Update, NotFound::Create) => gone(is_certain),
            (Operation::Delete, NotFound::Refused) if !due.is_uncertain => {
                Outcome::SetAside(answer)
            }
            (Operation::Delete, _) if !is_certain && self.lookup.is_some() => gone(false),
            (Operation::Delete, _) => Outcome::Sent {
                exists: false,
                id: None,
            },
            _ => Outcome::SetAside(answer),
        }
    }

    fn conflict(&self, operation: Operation) -> Conflict {
        let endpoint = match operation {
            Operation::Create => &self.create,
            Operation::Update => &self.update,
            Operation::Delete => &self.delete,
            Operation::Lookup => &None,
        };
        endpoint
            .as_ref()
            .map_or(Conflict::Refused, |endpoint| endpoint.conflict)
    }
}

/// Returns whether a status of 4xx says that the same call may succeed later.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 408 | 425 | 429)
}

/// Returns the outcome of a call that has not found the key.
fn gone(is_certain: bool) -> Outcome {
    Outcome::Again {
        exists: false,
        id: None,
        is_replay: false,
        is_certain,
    }
}

/// Returns whether earlier calls may have done more than is known.
fn is_doubtful(due: &Due<'_>) -> bool {
    due.is_uncertain || due.replays > 0
}

/// Returns how long to wait before the next attempt: up to 10 minutes, or as long as the service asks.
fn retry_wait(attempt: u32, asked: Option<Duration>, random: f64) -> SignedDuration {
    let growth = match asked {
        Some(_) => 1,
        None => attempt.saturating_sub(LONG_WAITS).clamp(1, LONGEST),
    };
    let wait = wait(attempt, asked, random) * growth;
    SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1))
}

/// Returns the text or number at a path in a JSON answer.
pub(crate) fn text_at(json: &Json, path: &[String]) -> Option<String> {
    match json_at(json, path)? {
        Json::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the value at a path. Numbers in the path are indexes of arrays.
pub(crate) fn json_at<'j>(json: &'j Json, path: &[String]) -> Option<&'j Json> {
    path.iter().try_fold(json, |json, name| match json {
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        json => json.get(name),
    })
}
