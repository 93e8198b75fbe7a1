//! The routes of the API.

mod accepted;
mod cancel;
mod datasets;
mod destination_changes;
mod destinations;
mod fixed_rejects;
mod jobs;
mod key;
mod notifications;
mod origin;
mod paging;
mod pause;
mod post_rows;
mod preview;
mod prune;
mod redrive;
mod rejects;
mod row_writes;
mod rows;
mod session;
mod sources;
mod totals;
mod uploads;
mod writes;

use std::sync::Arc;

use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Context;

pub(crate) use paging::next_link;
pub(crate) use row_writes::{WriteParams, json_of, respond};
pub(crate) use rows::{StoreChoice, codec, table};

/// Returns all routes, and `document` with their descriptions added.
pub(crate) fn router(document: OpenApi) -> OpenApiRouter<Arc<Context>> {
    OpenApiRouter::with_openapi(document)
        .routes(routes!(session::session))
        .routes(routes!(datasets::list, datasets::create))
        .routes(routes!(datasets::one))
        .routes(routes!(preview::preview))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .routes(routes!(rows::list, post_rows::post_rows))
        .routes(routes!(
            rows::one,
            row_writes::put,
            row_writes::patch,
            row_writes::delete
        ))
        .routes(routes!(writes::one))
        .routes(routes!(origin::origin))
        .routes(routes!(totals::list))
        .routes(routes!(sources::list))
        .routes(routes!(sources::one))
        .routes(routes!(sources::runs))
        .routes(routes!(sources::run))
        .routes(routes!(sources::pause))
        .routes(routes!(sources::resume))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::redrive))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::one))
        .routes(routes!(destinations::pause))
        .routes(routes!(destinations::resume))
        .routes(routes!(destination_changes::list))
        .routes(routes!(destination_changes::redrive))
        .routes(routes!(destination_changes::sync))
        .routes(routes!(destination_changes::task))
        .routes(routes!(uploads::begin))
        .routes(routes!(uploads::complete))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one, cancel::cancel))
        .routes(routes!(prune::confirm))
        .routes(routes!(redrive::redrive))
        .routes(routes!(rejects::list, fixed_rejects::post))
}
