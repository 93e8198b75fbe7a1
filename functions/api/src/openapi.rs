//! The `OpenAPI` document, generated from the routes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;

use crate::cache::{conditional_response, etag};
use crate::error::Problem;
use crate::{Context, routes};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Landfall",
        description = "Reads rows, totals, jobs and rejects of datasets, accepts files and rows, shows and runs \
            sources and destinations, and shows and sends notifications of webhooks.\n\n\
            Rows and totals may be up to 2 seconds old, but always include every job that was closed before the \
            request. Responses have an `ETag`; a request with `If-None-Match` is answered with 304 if nothing has \
            changed. `Cache-Control: no-cache` bypasses the cache.",
        license(name = "MIT OR Apache-2.0")
    ),
    // Relative to the document, whatever prefix a gateway has added to its path.
    servers((url = "./")),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token from `landfall tokens add`"))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Returns all routes with their document.
pub(crate) fn router() -> OpenApiRouter<Arc<Context>> {
    routes::router(Base::openapi())
}

/// Returns the document.
pub fn document() -> OpenApi {
    router().into_openapi()
}

/// The document as JSON.
pub(crate) struct Document {
    body: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// Encodes a document.
    ///
    /// # Panics
    ///
    /// If it cannot be encoded, which would be a defect of the routes' declarations.
    pub(crate) fn new(document: &serde_json::Value) -> Self {
        let body = serde_json::to_vec(document).expect("strings and maps with string keys");
        let etag = etag(&[&body]);
        Self {
            body: body.into(),
            etag,
        }
    }
}

/// Serves the document, with the paths of rows that have tokens or numbers.
pub(crate) async fn serve(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let document = match context.documents.get(&context).await {
        Ok(document) => document,
        Err(error) => return error.into_response(),
    };
    let body = document.body.clone();
    let response = conditional_response(&headers, &document.etag, "application/json", body);
    ([(header::CACHE_CONTROL, "no-cache")], response).into_response()
}
