//! Limits on each run.

use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use crate::source::Limits;

const MIB: u64 = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    requests_per_second: Option<Spanned<f64>>,
    requests_per_day: Option<Spanned<u64>>,
    bytes: Option<Spanned<u64>>,
    pages: Option<Spanned<u64>>,
    seconds: Option<Spanned<u64>>,
    response_bytes: Option<Spanned<u64>>,
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &RawLimits,
) -> Result<Limits, InvalidDefinition> {
    let number = |setting: &str, raw: Option<&Spanned<u64>>, most: u64| {
        text.check_optional(&format!("limits.{setting}"), raw, |number| {
            let is_valid = (1..=most).contains(number);
            is_valid
                .then_some(*number)
                .ok_or_else(|| format!("must be from 1 to {most}"))
        })
    };
    let per_second = raw.requests_per_second.as_ref();
    let per_second = text.check_optional("limits.requests_per_second", per_second, |rate| {
        landfall_requests::per_second(*rate)
    })?;
    Ok(Limits {
        requests_per_second: per_second.unwrap_or(5.0),
        requests_per_day: number(
            "requests_per_day",
            raw.requests_per_day.as_ref(),
            1_000_000_000,
        )?,
        bytes: number("bytes", raw.bytes.as_ref(), 32 << 30)?.unwrap_or(4 << 30),
        pages: number("pages", raw.pages.as_ref(), 1_000_000)?.unwrap_or(10_000),
        seconds: number("seconds", raw.seconds.as_ref(), 86_400)?.unwrap_or(3600),
        response_bytes: number("response_bytes", raw.response_bytes.as_ref(), 64 * MIB)?
            .unwrap_or(16 * MIB),
    })
}
