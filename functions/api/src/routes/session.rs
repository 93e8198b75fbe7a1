use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use landfall_auth::{Access, Scope};
use landfall_domain::MAX_PAGE_ROWS;
use serde::Serialize;
use utoipa::ToSchema;

use super::uploads::MAX_UPLOAD_BYTES;
use crate::auth::Caller;
use crate::responses::CommonErrors;
use crate::{Context, MAX_BODY_BYTES};

/// What the token allows, and the limits of the API.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// The token's name.
    name: String,
    /// Its scopes: `read`, `write`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The datasets it covers: `"all"`, or a list of names.
    #[schema(value_type = serde_json::Value)]
    datasets: Access,
    /// URL of the WebSocket API, if there is one.
    socket_url: Option<String>,
    limits: SessionLimits,
}

/// The maximum values.
#[derive(Serialize, ToSchema)]
struct SessionLimits {
    /// Bytes in the body of a request.
    body_bytes: usize,
    /// Bytes in an upload.
    upload_bytes: u64,
    /// Rows in a page.
    page_rows: u32,
}

/// Describe the token and the limits
#[utoipa::path(
    get,
    path = "/session",
    operation_id = "get_session",
    tag = "session",
    responses((status = 200, description = "What the token allows", body = Session), CommonErrors)
)]
pub(crate) async fn session(State(context): State<Arc<Context>>, caller: Caller) -> Json<Session> {
    let grant = &caller.0;
    Json(Session {
        name: grant.name.clone(),
        scopes: grant.scopes.iter().copied().collect(),
        datasets: grant.datasets.clone(),
        socket_url: context.settings.socket_url.clone(),
        limits: SessionLimits {
            body_bytes: MAX_BODY_BYTES,
            upload_bytes: MAX_UPLOAD_BYTES,
            page_rows: MAX_PAGE_ROWS,
        },
    })
}
