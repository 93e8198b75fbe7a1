//! Who asks, and what they may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use landfall_auth::{Access, Grant, Scope};

use crate::{ApiError, Context};

/// Whoever bears the token of a request.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<Grant>);

/// The name of the token of a request, for the log.
#[derive(Clone)]
pub(crate) struct CallerName(pub(crate) String);

impl Caller {
    /// Refuses what the token has not the scope for, or not for this dataset.
    pub(crate) fn may(&self, scope: Scope, dataset: &str) -> Result<(), ApiError> {
        if !self.0.has(scope) {
            return Err(ApiError::Scope(scope));
        }
        if !self.0.covers(dataset) {
            return Err(ApiError::Dataset(dataset.to_owned()));
        }
        Ok(())
    }

    /// The datasets that may be read: all of them where none are given.
    pub(crate) fn readable(&self) -> Result<Option<Vec<String>>, ApiError> {
        if !self.0.has(Scope::Read) {
            return Err(ApiError::Scope(Scope::Read));
        }
        Ok(match &self.0.datasets {
            Access::All => None,
            Access::Only(names) => Some(names.iter().cloned().collect()),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Only a route beside the layer below has none.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(ApiError::Unauthorized)
    }
}

/// Lets nobody through without a token that is taken, nor more often than a token may ask.
pub(crate) async fn authenticate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer)
        .ok_or(ApiError::Unauthorized)?;
    let grant = context.tokens.check(token).await?;
    let grant = grant.ok_or(ApiError::Unauthorized)?;
    // Wall-clock time, which instances share.
    context.limiter.admit(&grant.name, Timestamp::now()).await?;
    let name = CallerName(grant.name.clone());
    request.extensions_mut().insert(Caller(Arc::new(grant)));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(name);
    Ok(response)
}

/// The token of `Bearer <token>`; the word may be in any case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start_matches(' '))
}
