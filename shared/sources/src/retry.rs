//! What an answer's status means, and how long to wait before the next request.

use std::time::Duration;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// The maximum wait that is not asked for by the server.
const MOST: Duration = Duration::from_mins(1);
/// The maximum wait that a server can ask for. A walk that has to wait for longer fails.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a page, or says that nothing has changed.
    Page,
    /// It leads to another URL.
    Redirect,
    /// The token or the signature is not accepted, perhaps because it has expired.
    Unauthorized,
    /// The same request may succeed later, after this wait if the server asks for one.
    Retry(Option<Duration>),
    /// The same request would fail again.
    Refused,
}

/// Returns what an answer means.
pub fn verdict(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Verdict {
    match status.as_u16() {
        200..=299 | 304 => Verdict::Page,
        301 | 302 | 303 | 307 | 308 => Verdict::Redirect,
        401 => Verdict::Unauthorized,
        408 | 425 | 429 | 500..=599 => Verdict::Retry(retry_after(headers, now)),
        _ => Verdict::Refused,
    }
}

/// Returns how long the server asks to wait, in seconds or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = date(headers, &RETRY_AFTER)?.duration_since(now);
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

/// Returns the HTTP date of a header.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text.trim()).ok()
}

/// Returns how long to wait before attempt `attempt`, counted from 1, of a request that failed. `random` is from 0 to 1
/// and spreads requests that failed at the same time. A wait that the server asks for is never cut short.
pub fn wait(attempt: u32, asked: Option<Duration>, random: f64) -> Duration {
    let random = random.clamp(0.0, 1.0);
    if let Some(asked) = asked {
        let asked = asked.min(MAX_RETRY_AFTER);
        return asked + (asked / 10).min(FIRST).max(FIRST / 10).mul_f64(random);
    }
    let most = FIRST
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(MOST);
    most / 2 + (most / 2).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use http::header::DATE;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), value.parse().unwrap())])
    }

    #[test]
    fn answers_are_retried_refused_or_read() {
        let now = Timestamp::UNIX_EPOCH;
        for (status, expected) in [
            (200, Verdict::Page),
            (204, Verdict::Page),
            (304, Verdict::Page),
            (307, Verdict::Redirect),
            (300, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::Unauthorized),
            (403, Verdict::Refused),
            (404, Verdict::Refused),
            (408, Verdict::Retry(None)),
            (425, Verdict::Retry(None)),
            (429, Verdict::Retry(None)),
            (500, Verdict::Retry(None)),
            (503, Verdict::Retry(None)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                verdict(status, &HeaderMap::new(), now),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn a_server_asks_for_seconds_or_for_a_date() {
        let now: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        for (value, seconds) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("Fri, 20 Nov 2026 08:30:30 GMT", Some(30)),
            ("Fri, 20 Nov 2026 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = headers(&RETRY_AFTER, value);
            let verdict = verdict(StatusCode::TOO_MANY_REQUESTS, &headers, now);
            let expected = Verdict::Retry(seconds.map(Duration::from_secs));
            assert_eq!(verdict, expected, "{value}");
        }
        let headers = headers(&DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        let expected = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(date(&headers, &DATE), Some(expected));
    }

    proptest! {
        #[test]
        fn waits_grow_are_bounded_and_as_long_as_asked(
            attempt in 1_u32..100, random in 0.0..=1.0_f64, asked in prop::option::of(0_u64..100_000),
        ) {
            let asked = asked.map(Duration::from_secs);
            let waited = wait(attempt, asked, random);
            match asked {
                None => prop_assert!(waited >= FIRST / 2 && waited <= MOST),
                Some(asked) => {
                    prop_assert!(waited >= asked.min(MAX_RETRY_AFTER));
                    prop_assert!(waited <= MAX_RETRY_AFTER + FIRST);
                }
            }
            prop_assert!(wait(attempt + 1, None, 0.0) >= wait(attempt, None, 0.0));
        }
    }
}
