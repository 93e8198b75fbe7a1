//! Pages of lists: their limits, cursors and links, and pages of records that must fit one response.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ApiError;
use crate::cache::Content;
use crate::encode::{MAX_RESPONSE_BYTES, Table};
use crate::encoding::Encoding;

/// Returns the number of entries of a page: the requested one, from 1 to `most`.
pub(super) fn limit(requested: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    let limit = requested.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::Invalid(format!("limit must be 1 to {most}")))
    }
}

/// The error for a cursor that belongs to another list, or to none.
pub(super) fn invalid_cursor() -> ApiError {
    ApiError::Invalid("the cursor is not from this list: start again without one".to_owned())
}

/// Encodes a place in a list as a cursor.
pub(super) fn to_cursor(place: &impl Serialize) -> Result<String, ApiError> {
    let json = serde_json::to_vec(place).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Decodes the place from a cursor.
pub(super) fn from_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, ApiError> {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(invalid_cursor)
}

/// Returns the `Link` to the next page: the same path with this query, whatever prefix a gateway has added to the
/// path.
pub(super) fn next_link(query: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(format!("<?{query}>; rel=\"next\""))
        .map_err(|error| ApiError::Internal(error.to_string()))
}

/// Returns the limit with which a page must be read again because only `written` of its `read` records fit a response,
/// or `None` if all fit.
///
/// The store bounds a page by the size of its values; names and quoting may take more. The page is read again, rather
/// than cut, because only the store knows where a shorter page ends.
pub(super) fn smaller_limit(read: usize, written: usize) -> Result<Option<u32>, ApiError> {
    debug_assert!(written <= read, "{written} of {read} records written");
    if written == read {
        return Ok(None);
    }
    match u32::try_from(written) {
        Ok(0) => Err(ApiError::RowTooLarge(MAX_RESPONSE_BYTES)),
        Ok(limit) => Ok(Some(limit)),
        Err(error) => Err(ApiError::Internal(error.to_string())),
    }
}

/// Completes a page of records. `link` returns the link to the next page from its cursor.
pub(super) fn finish(
    encoding: Encoding,
    mut body: Vec<u8>,
    next: Option<&str>,
    link: impl FnOnce(&str) -> Result<HeaderValue, ApiError>,
) -> Result<Content, ApiError> {
    Table::finish(encoding, &mut body, next);
    Ok(Content {
        body: body.into(),
        media_type: encoding.media_type(),
        next: next.map(link).transpose()?,
    })
}
