//! The media type of a response, by what the client accepts.

use axum::http::{HeaderMap, HeaderName, header};

use crate::ApiError;

/// The encoding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Ndjson,
    Csv,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];
    /// The encodings of lists without columns.
    pub(crate) const LINES: [Self; 2] = [Self::Json, Self::Ndjson];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// Returns the available encoding that the client prefers by `Accept`, or the first one if it accepts all.
    /// `available` must not be empty.
    pub(crate) fn negotiate(headers: &HeaderMap, available: &[Self]) -> Result<Self, ApiError> {
        let accepted: Vec<(String, u16)> = header_list(headers, &header::ACCEPT)
            .filter_map(media_range)
            .collect();
        if accepted.is_empty() {
            return Ok(available[0]);
        }
        let quality = |encoding: &Self| {
            // The most specific matching range decides.
            let matching = accepted.iter().filter_map(|(range, quality)| {
                let specificity = encoding.specificity(range)?;
                Some((specificity, *quality))
            });
            matching
                .max_by_key(|(specificity, _)| *specificity)
                .map_or(0, |(_, quality)| quality)
        };
        // Of several maxima, `max_by_key` returns the last.
        let best = available.iter().rev().max_by_key(|one| quality(one));
        best.filter(|best| quality(best) > 0)
            .copied()
            .ok_or(ApiError::NotAcceptable(if available.contains(&Self::Csv) {
                "application/json, application/x-ndjson and text/csv"
            } else {
                "application/json and application/x-ndjson"
            }))
    }

    /// Returns how specific a matching range is, or `None` if the range does not match.
    fn specificity(self, range: &str) -> Option<u8> {
        let (kind, subtype) = match self {
            Self::Json => ("application", "json"),
            Self::Ndjson => ("application", "x-ndjson"),
            Self::Csv => ("text", "csv"),
        };
        match range.split_once('/')? {
            ("*", "*") => Some(0),
            (own, "*") => (own == kind).then_some(1),
            own => (own == (kind, subtype)).then_some(2),
        }
    }
}

/// Parses a range of `Accept`, like `text/*;q=0.5`. Returns it in lower case, with its quality in thousandths.
fn media_range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?;
    let quality = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("q"))
        .and_then(|(_, value)| value.parse::<f32>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1000"
    )]
    let quality = quality.map_or(1000, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u16);
    Some((range.to_ascii_lowercase(), quality))
}

/// Returns the members of a header that is a comma-separated list.
pub(crate) fn header_list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_preferred_media_type_is_chosen() {
        for (accept, expected) in [
            (None, Some(Encoding::Json)),
            (Some("text/csv"), Some(Encoding::Csv)),
            (Some("text/*, application/json;q=0.5"), Some(Encoding::Csv)),
            (Some("*/*"), Some(Encoding::Json)),
            (Some("*/*, application/json;q=0"), Some(Encoding::Ndjson)),
            (Some("image/png"), None),
            (Some("text/csv;q=0"), None),
        ] {
            let accept = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
            let headers = accept.into_iter().collect();
            let negotiated = Encoding::negotiate(&headers, &Encoding::ALL).ok();
            assert_eq!(negotiated, expected, "{headers:?}");
        }
    }
}
