//! The media type of a response, by what the client accepts.

use axum::http::{HeaderMap, header};

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

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Ndjson => ("application", "x-ndjson"),
            Self::Csv => ("text", "csv"),
        }
    }

    /// Returns the available encoding that the client prefers by `Accept`, or the first one if it accepts all.
    /// `available` must not be empty.
    pub(crate) fn negotiate(headers: &HeaderMap, available: &[Self]) -> Result<Self, ApiError> {
        let mut accepted = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(MediaRange::parse)
            .peekable();
        if accepted.peek().is_none() {
            return Ok(available[0]);
        }
        let accepted: Vec<MediaRange> = accepted.collect();
        let quality = |encoding: &Self| {
            // The most specific matching range decides.
            let ranges = accepted.iter().filter(|range| range.matches(*encoding));
            ranges
                .max_by_key(|range| range.specificity())
                .map_or(0, |range| range.quality)
        };
        let mut best = None;
        for encoding in available {
            let quality = quality(encoding);
            if quality > best.map_or(0, |(quality, _)| quality) {
                best = Some((quality, *encoding));
            }
        }
        best.map(|(_, encoding)| encoding)
            .ok_or(ApiError::NotAcceptable(if available.contains(&Self::Csv) {
                "application/json, application/x-ndjson and text/csv"
            } else {
                "application/json and application/x-ndjson"
            }))
    }
}

/// A range of `Accept`, like `text/*;q=0.5`.
struct MediaRange {
    kind: String,
    subtype: String,
    /// Thousandths.
    quality: u16,
}

impl MediaRange {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
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
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            quality,
        })
    }

    fn matches(&self, encoding: Encoding) -> bool {
        let (kind, subtype) = encoding.essence();
        matches!(&*self.kind, "*") && self.subtype == "*"
            || self.kind == kind && (self.subtype == "*" || self.subtype == subtype)
    }

    fn specificity(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_preferred_media_type_is_chosen() {
        let negotiate = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            Encoding::negotiate(&headers, &Encoding::ALL).ok()
        };
        assert_eq!(
            Encoding::negotiate(&HeaderMap::new(), &Encoding::ALL).ok(),
            Some(Encoding::Json)
        );
        assert_eq!(negotiate("text/csv"), Some(Encoding::Csv));
        assert_eq!(
            negotiate("text/*, application/json;q=0.5"),
            Some(Encoding::Csv)
        );
        assert_eq!(negotiate("*/*"), Some(Encoding::Json));
        assert_eq!(
            negotiate("*/*, application/json;q=0"),
            Some(Encoding::Ndjson)
        );
        assert_eq!(negotiate("image/png"), None);
        assert_eq!(negotiate("text/csv;q=0"), None);
    }
}
