//! Authentication and authorization by bearer token.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use landfall_auth::{Access, Grant, Scope};

use crate::children::is_row_token;
use crate::{ApiError, Context};

/// What the token of a request allows.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<Grant>);

/// The name of a request's token, for the log.
#[derive(Clone, Default)]
pub(crate) struct TokenName(pub(crate) String);

impl Caller {
    /// Returns an error unless the token has the scope and covers the dataset.
    pub(crate) fn require(&self, scope: Scope, dataset: &str) -> Result<(), ApiError> {
        self.require_scope(scope)?;
        if !self.0.covers(dataset) {
            return Err(ApiError::Dataset(dataset.to_owned()));
        }
        Ok(())
    }

    /// Fails if the token lacks the scope for every dataset.
    pub(crate) fn require_scope(&self, scope: Scope) -> Result<(), ApiError> {
        if self.0.has(scope) {
            Ok(())
        } else {
            Err(ApiError::Scope(scope))
        }
    }

    /// Returns the names of the readable datasets, or `None` if the token covers all.
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
        // `authenticate` sets it for every route that it wraps.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(ApiError::Unauthorized)
    }
}

/// Rejects missing or invalid tokens, and tokens over their rate limit.
pub(crate) async fn authenticate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if is_row_token(request.headers()) {
        return Err(ApiError::NotFound(
            "nothing exists at this path; the token of a row opens only the paths that begin with it".to_owned(),
        ));
    }
    let token = bearer_of(request.headers()).ok_or(ApiError::Unauthorized)?;
    let grant = context.tokens.check(token).await?;
    let grant = grant.ok_or(ApiError::Unauthorized)?;
    // Wall-clock time, because all instances share the windows.
    context.limiter.admit(&grant.name, Timestamp::now()).await?;
    let name = TokenName(grant.name.clone());
    request.extensions_mut().insert(Caller(Arc::new(grant)));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(name);
    Ok(response)
}

/// Returns the bearer token of a request.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    bearer(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// Returns the token of `Bearer <token>`; the scheme is not case-sensitive.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start_matches(' '))
}
