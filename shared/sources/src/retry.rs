//! What an answer's status means.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use landfall_requests::retry_after;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
