//! Pages of lists: their limits, cursors and links, and pages of records that must fit one response.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use landfall_domain::{CursorCodec, Start};
use landfall_stores::{RowPage, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::ApiError;
use crate::cache::Content;
use crate::encode::Table;
use crate::encoding::Encoding;

/// What part of a list is requested.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// The maximum number of entries.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub(super) limit: Option<u32>,
    /// `next` of the previous page.
    pub(super) cursor: Option<String>,
}

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
    ApiError::Invalid(
        "the cursor is invalid or belongs to another list: repeat the request without it"
            .to_owned(),
    )
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
pub(crate) fn next_link(query: &str) -> String {
    format!("<?{query}>; rel=\"next\"")
}

/// Reads a page of at most `limit` records that fit a response. `cursor` encodes places in the list, and `link` returns
/// the query of the next page from its cursor.
///
/// The store bounds a page by the size of its values; names and quoting may take more. Such a page is read again with
/// a smaller limit, rather than cut, because only the store knows where a shorter page ends.
pub(super) async fn read_page<R>(
    encoding: Encoding,
    table: &Table<'_>,
    start: &Start,
    limit: u32,
    read: impl Fn(u32) -> R,
    cursor: &CursorCodec,
    link: impl Fn(&str) -> String,
) -> Result<Content, ApiError>
where
    R: Future<Output = Result<RowPage, StoreError>>,
{
    let mut smaller = limit;
    let (mut body, page) = loop {
        let page = read(smaller).await?;
        let (body, written) = table.write(encoding, &page.rows);
        if written == page.rows.len() {
            break (body, page);
        }
        if written == 0 {
            return Err(ApiError::RowTooLarge);
        }
        smaller = u32::try_from(written).map_err(|error| ApiError::Internal(error.to_string()))?;
    };
    let is_short = page.rows.len() < limit as usize;
    if matches!(start, Start::Skip(_)) && page.next.is_some() && is_short {
        // The page with the next number would skip the rows that are missing here.
        return Err(ApiError::PageTooLarge);
    }
    let next = page.next.map(|place| cursor.encode(&place));
    Table::finish(encoding, &mut body, next.as_deref());
    Ok(Content {
        body: body.into(),
        media_type: encoding.media_type(),
        next: next.map(|next| next_link(&link(&next))),
    })
}
