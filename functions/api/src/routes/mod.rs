//! The routes, each with what it may answer.

mod datasets;
mod jobs;
mod key;
mod rejects;
mod rows;
mod session;
mod take;
mod totals;
mod uploads;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{ApiError, Context, openapi};

/// All of them; the document has them as they are.
pub(crate) fn router() -> OpenApiRouter<Arc<Context>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(session::session))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::one))
        .routes(routes!(rows::list, take::rows))
        .routes(routes!(rows::one))
        .routes(routes!(totals::list))
        .routes(routes!(uploads::begin))
        .routes(routes!(uploads::complete))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one))
        .routes(routes!(rejects::list))
}

/// The most entries of a list but that of rows.
const MAX_LISTED: u32 = 100;

/// How many entries a list is to have.
fn limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::Invalid(format!("limit is 1 to {most}")))
    }
}

/// A place in a list as text for clients to hand back.
fn to_cursor(place: &impl Serialize) -> Result<String, ApiError> {
    let json = serde_json::to_vec(place).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// The place that a client handed back.
fn from_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, ApiError> {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| {
            ApiError::Invalid("the cursor is not one of this list: start again without one".into())
        })
}

/// A segment of a path, or a value of a query, with all that could mean something else there encoded.
fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
