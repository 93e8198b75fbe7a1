//! How long to wait before the next request.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, RETRY_AFTER};
use jiff::Timestamp;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// The maximum wait that is not asked for by the server.
const MOST: Duration = Duration::from_mins(1);
/// The maximum wait that a server can ask for. A walk that has to wait for longer fails.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Returns how long the server asks to wait, in seconds or until a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = date(headers, &RETRY_AFTER)?.duration_since(now);
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

/// Returns the HTTP date of a header.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
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
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{value}");
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
