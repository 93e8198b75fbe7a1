//! What the reply to a notification means.

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use landfall_requests::{Secrets, retry_after, shown_answer, wait};

use crate::Reply;

/// How long a notification is retried.
pub const RETRY_FOR: SignedDuration = SignedDuration::from_hours(72);
/// The first wait after a failure.
const FIRST: Duration = Duration::from_secs(5);
/// The maximum wait that is not asked for by the server.
const MOST: Duration = Duration::from_hours(1);

/// What has become of an attempt to deliver a notification. Answers are short and contain no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was accepted.
    Delivered,
    /// It is due again later.
    Retry {
        /// When.
        at: Timestamp,
        /// What the server answered, or why there was no answer.
        answer: String,
    },
    /// It is not sent again, unless somebody requests it.
    SetAside(String),
}

/// Returns what the reply to the `attempt`th attempt means, counted from 1. `since` is when the notification was first
/// due. `random`, from 0 to 1, spreads retries.
pub fn judge_delivery(
    reply: &Reply<'_>,
    attempt: u32,
    since: Timestamp,
    secrets: &Secrets,
    now: Timestamp,
    random: f64,
) -> Delivery {
    let (answer, asked) = match *reply {
        Reply::NotSent(reason) | Reply::Lost(reason) => (secrets.remove_from(reason), None),
        Reply::Answer { status, .. } if status.is_success() => return Delivery::Delivered,
        Reply::Answer {
            status,
            headers,
            body,
        } => {
            let answer = format!("status {status}: {}", shown_answer(body, secrets));
            if is_final(status) {
                return Delivery::SetAside(answer);
            }
            (answer, retry_after(headers, now))
        }
    };
    if now.duration_since(since) >= RETRY_FOR {
        return Delivery::SetAside(answer);
    }
    let at = now.saturating_add(backoff(attempt, asked, random));
    Delivery::Retry {
        at: at.unwrap_or(now),
        answer,
    }
}

/// Returns whether a status says that the server will not accept the notification later. What somebody may correct at
/// the server, such as a missing route or rights, is not final.
fn is_final(status: StatusCode) -> bool {
    let is_correctable = matches!(
        status.as_u16(),
        401 | 403 | 404 | 408 | 409 | 421 | 423 | 425 | 429
    );
    status.is_client_error() && !is_correctable
}

fn backoff(attempt: u32, asked: Option<Duration>, random: f64) -> SignedDuration {
    let most = FIRST
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(MOST);
    let own = most / 2 + (most / 2).mul_f64(random.clamp(0.0, 1.0));
    let asked = asked.map(|asked| wait(attempt, Some(asked), random));
    SignedDuration::try_from(asked.map_or(own, |asked| asked.max(own)))
        .unwrap_or(SignedDuration::from_hours(1))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::RETRY_AFTER;
    use proptest::prelude::*;

    use super::*;

    const SINCE: Timestamp = Timestamp::UNIX_EPOCH;

    fn answer(status: u16, headers: &HeaderMap, at: SignedDuration, attempt: u32) -> Delivery {
        let reply = Reply::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: b"no: s3cret",
        };
        let secrets = Secrets::from_iter([("hook", "s3cret")]);
        judge_delivery(&reply, attempt, SINCE, &secrets, SINCE + at, 0.5)
    }

    #[test]
    fn what_may_be_accepted_later_is_retried() {
        let none = HeaderMap::new();
        let at = |status| answer(status, &none, SignedDuration::ZERO, 1);
        for status in [200, 202, 204] {
            assert_eq!(at(status), Delivery::Delivered, "{status}");
        }
        for status in [
            301, 302, 401, 403, 404, 408, 409, 425, 429, 500, 501, 503, 504,
        ] {
            let Delivery::Retry { at, answer } = at(status) else {
                panic!("{status}")
            };
            assert!(
                at > SINCE && answer.ends_with("no: {secret:hook}"),
                "{answer}"
            );
        }
        for status in [400, 405, 410, 413, 422] {
            assert!(matches!(at(status), Delivery::SetAside(_)), "{status}");
        }
    }

    #[test]
    fn it_is_set_aside_after_three_days() {
        let none = HeaderMap::new();
        let (mut now, mut attempts) = (SignedDuration::ZERO, 0);
        let end = loop {
            attempts += 1;
            match answer(503, &none, now, attempts) {
                Delivery::Retry { at, .. } => now = at.duration_since(SINCE),
                end => break end,
            }
        };
        assert!(matches!(end, Delivery::SetAside(_)), "{end:?}");
        assert!(now >= RETRY_FOR && now < RETRY_FOR + SignedDuration::from_hours(1));
        assert!((70..150).contains(&attempts), "{attempts}");
    }

    proptest! {
        #[test]
        fn waits_are_bounded_and_as_long_as_asked(
            attempt in 1_u32..200, random in 0.0..=1.0_f64, asked in prop::option::of(0_u64..3600),
        ) {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(RETRY_AFTER, asked.into());
            }
            let reply = Reply::Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers: &headers, body: b"" };
            let judged = judge_delivery(&reply, attempt, SINCE, &Secrets::default(), SINCE, random);
            let Delivery::Retry { at, .. } = judged else { panic!("{judged:?}") };
            let waited = at.duration_since(SINCE);
            prop_assert!(waited >= SignedDuration::from_secs(asked.unwrap_or(0).try_into().unwrap()));
            prop_assert!(waited >= SignedDuration::from_millis(2500));
            prop_assert!(waited <= SignedDuration::from_secs(3602));
        }
    }
}
