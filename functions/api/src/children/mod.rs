//! Rows that have tokens, and the numbered rows below them. Their routes follow from the definitions.
//!
//! `POST /applications` creates a row with a token, if a dataset of this name has tokens. Its children are at
//! `/applications/{token}/chats`, and theirs at `/applications/{token}/chats/{chat}/messages`.
//!
//! 1. The row is decoded as a worker will decode it, so that what a file would reject is refused at once.
//! 2. One update of the parent's item in the ledger gives out the number, if the parent exists.
//! 3. The row is sent to the workers, and the request is answered.
//!
//! A row has the least version of its key, because its number is given out only once: every later change of it wins,
//! also one that is applied before it. A handler that dies between the second and the third step leaves a number
//! without a row, which the janitor makes a void.
//!
//! The token of a row is also a bearer token for it and all rows below it. Everything else is not found.

mod access;
mod claim;
mod counts;
mod create;
mod document;
mod families;
mod lists;
mod live;
mod place;
mod rows;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lambda_http::tower::ServiceExt;
use landfall_domain::MAX_GENERATIONS;

use crate::{ApiError, Context, page};

pub(crate) use access::is_row_token;
pub(crate) use document::Documents;
pub(crate) use families::Families;

/// The name of a route for the log, which has no tokens.
#[derive(Clone)]
pub(crate) struct RouteName(pub(crate) String);

/// Returns the routes of every line of datasets: a list, and a row, for each generation.
fn router(context: &Arc<Context>) -> Router {
    let (mut router, mut path) = (Router::new(), String::new());
    for generation in 0..MAX_GENERATIONS {
        let list = format!("{path}/{{dataset{generation}}}");
        path = format!("{list}/{{row{generation}}}");
        let row = get(rows::one).patch(rows::patch).delete(rows::delete);
        router = router
            .route(&list, get(lists::list).post(create::create))
            .route(&path, row);
    }
    let authenticate = from_fn_with_state(Arc::clone(context), access::authenticate);
    router
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .fallback(|| async { not_found() })
        .layer(authenticate)
        .with_state(Arc::clone(context))
}

/// Serves the paths that no other route has: those of rows with tokens, and the page.
pub(crate) fn fallback(context: &Arc<Context>) -> Router {
    let rows = router(context);
    let serve =
        move |context: State<Arc<Context>>, request: Request| serve(context, rows.clone(), request);
    Router::new()
        .fallback(serve)
        .with_state(Arc::clone(context))
}

async fn serve(
    State(context): State<Arc<Context>>,
    rows: Router,
    request: Request,
) -> Result<Response, ApiError> {
    let first = request.uri().path().split('/').nth(1).unwrap_or_default();
    if context.families.has_root(&context, first).await? {
        return Ok(rows.oneshot(request).await.into_response());
    }
    page::serve(&context, &request)
}

/// The error for everything that a row token does not open, and for what does not exist.
fn not_found() -> ApiError {
    ApiError::NotFound("nothing exists at this path; /openapi.json lists all paths".to_owned())
}
