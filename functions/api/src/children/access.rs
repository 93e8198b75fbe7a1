//! Authentication by tokens of the API, and by those of rows.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use landfall_auth::{RowToken, Scope};
use landfall_ledger::Parent;

use super::{RouteName, not_found};
use crate::auth::{Caller, TokenName, bearer_of};
use crate::{ApiError, Context};

/// Who sends a request.
#[derive(Clone)]
pub(super) struct Bearer {
    pub(super) kind: BearerKind,
    /// The token, from which those of rows are derived.
    pub(super) secret: Arc<str>,
}

#[derive(Clone)]
pub(super) enum BearerKind {
    /// The bearer of a token of the API.
    Caller(Caller),
    /// The bearer of the token of the row with this id.
    Row(String),
}

impl Bearer {
    /// Returns the name for idempotency keys, writes and the log.
    pub(super) fn name(&self) -> String {
        match &self.kind {
            BearerKind::Caller(caller) => caller.0.name.clone(),
            BearerKind::Row(id) => format!("row/{id}"),
        }
    }

    /// Fails unless the bearer may do this with rows of a dataset. A row token may do anything below its row.
    pub(super) fn require(&self, scope: Scope, dataset: &str) -> Result<(), ApiError> {
        match &self.kind {
            BearerKind::Caller(caller) => caller.require(scope, dataset),
            BearerKind::Row(_) => Ok(()),
        }
    }

    /// Returns the id of the row that a segment of a path names: by its token, or, for callers of the API, by itself.
    pub(super) fn opened(&self, segment: &str) -> Result<String, ApiError> {
        let of_token = RowToken::parse(segment).map(|token| token.id());
        match (&self.kind, of_token) {
            (BearerKind::Row(opened), Some(id)) if id == *opened => Ok(id),
            (BearerKind::Row(_), _) => Err(not_found()),
            (BearerKind::Caller(_), Some(id)) => Ok(id),
            (BearerKind::Caller(_), None) => Ok(segment.to_owned()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // `authenticate` sets it for every route that it wraps.
        let bearer = parts.extensions.get::<Self>().cloned();
        bearer.ok_or(ApiError::Unauthorized)
    }
}

/// Returns whether a request has the form of a row token, which opens nothing but its row.
pub(crate) fn is_row_token(headers: &HeaderMap) -> bool {
    bearer_of(headers).is_some_and(|token| RowToken::parse(token).is_some())
}

/// Rejects missing or invalid tokens, and tokens over their rate limit.
pub(super) async fn authenticate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let secret: Arc<str> = bearer_of(request.headers())
        .ok_or(ApiError::Unauthorized)?
        .into();
    let kind = if let Some(token) = RowToken::parse(&secret) {
        BearerKind::Row(row(&context, &token, request.uri().path()).await?)
    } else {
        let grant = context.tokens.check(&secret).await?;
        BearerKind::Caller(Caller(Arc::new(grant.ok_or(ApiError::Unauthorized)?)))
    };
    let bearer = Bearer { kind, secret };
    let name = bearer.name();
    // Wall-clock time, because all instances share the windows.
    context.limiter.admit(&name, Timestamp::now()).await?;
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(|path| RouteName(path.as_str().to_owned()));
    request.extensions_mut().insert(bearer);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(TokenName(name));
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    Ok(response)
}

/// Returns the id of the row of a token, if the path begins at it. Only rows that exist have permits in the ledger.
async fn row(context: &Context, token: &RowToken, path: &str) -> Result<String, ApiError> {
    let id = token.id();
    let mut segments = path.split('/').skip(1);
    let (dataset, named) = (segments.next(), segments.next());
    let Some(dataset) = dataset.filter(|_| named == Some(token.reveal())) else {
        return Err(not_found());
    };
    let known = (dataset.to_owned(), id.clone());
    if context.known_rows.get(&known).await.is_none() {
        let row = super::place::parent_row(dataset, std::slice::from_ref(&id));
        let found: Vec<Parent> = context.parents.parents(&[row]).await?;
        if found.is_empty() {
            return Err(not_found());
        }
        context.known_rows.insert(known, ()).await;
    }
    Ok(id)
}
