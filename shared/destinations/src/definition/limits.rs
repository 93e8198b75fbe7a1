//! Limits on the calls.

use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use crate::Limits;

/// The maximum number of calls at a time.
const MAX_CONCURRENCY: usize = 64;
/// The maximum time of a call in seconds, much shorter than the lease of a key.
const MAX_TIMEOUT: u64 = 30;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    per_second: Option<Spanned<f64>>,
    concurrency: Option<Spanned<usize>>,
    timeout_seconds: Option<Spanned<u64>>,
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &RawLimits,
) -> Result<Limits, InvalidDefinition> {
    let per_second = text.check_optional("limits.per_second", raw.per_second.as_ref(), |rate| {
        landfall_requests::per_second(*rate)
    })?;
    let concurrency =
        text.check_optional("limits.concurrency", raw.concurrency.as_ref(), |number| {
            let is_valid = (1..=MAX_CONCURRENCY).contains(number);
            is_valid
                .then_some(*number)
                .ok_or_else(|| format!("must be from 1 to {MAX_CONCURRENCY}"))
        })?;
    let timeout = raw.timeout_seconds.as_ref();
    let timeout = text.check_optional("limits.timeout_seconds", timeout, |seconds| {
        let is_valid = (1..=MAX_TIMEOUT).contains(seconds);
        is_valid
            .then_some(*seconds)
            .ok_or_else(|| format!("must be from 1 to {MAX_TIMEOUT}"))
    })?;
    Ok(Limits {
        per_second: per_second.unwrap_or(5.0),
        concurrency: concurrency.unwrap_or(4),
        timeout_seconds: timeout.unwrap_or(10),
    })
}
