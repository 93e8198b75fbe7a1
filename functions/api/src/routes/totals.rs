use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{CursorCodec, MAX_PAGE_ROWS, QueryError, Start, excerpt};
use landfall_stores::{RowPage, StoredRow};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::paging::{limit, read_page};
use super::rows::StoreChoice;
use crate::auth::Caller;
use crate::cache::QueryKey;
use crate::encode::Table;
use crate::encoding::Encoding;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, DatasetErrors, Forbidden, NotAcceptable, ReadResponses};
use crate::{ApiError, Context};

const DEFAULT_GROUPS: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TotalsParams {
    /// The maximum number of groups.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the previous page.
    cursor: Option<String>,
}

/// A page of groups.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "encoded by hand; this is its schema for the document"
)]
struct TotalsPage {
    /// Each group has the values that define it, and its columns, by name.
    totals: Vec<BTreeMap<String, serde_json::Value>>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// List totals of a dataset
///
/// Totals exist in the SQL database only. Groups are ordered by the values that define them.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/totals/{total}",
    operation_id = "list_totals",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("total" = String, Path, description = "Name of the table of totals", example = "products_by_name"),
        TotalsParams
    ),
    responses(
        (status = 200, description = "A page of groups", content(
            (TotalsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")
        ), headers(
            ("etag" = String, description = "Identifies this content"),
            ("link" = Option<String>, description = "The next page, unless this is the last")
        )),
        CommonErrors, Forbidden, DatasetErrors, NotAcceptable, ReadResponses
    )
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, total)): Segments<(String, String)>,
    Query(params): Query<TotalsParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Scope::Read, &name)?;
    let encoding = Encoding::negotiate(&headers, &Encoding::ALL)?;
    let (dataset, reference) = context.dataset(&name).await?;
    let found = dataset.totals.iter().find(|one| one.name == total);
    let total = found.ok_or_else(|| {
        ApiError::NotFound(format!(
            "dataset {name} has no totals {:?}; GET /datasets/{name} lists them",
            excerpt(&total)
        ))
    })?;
    let reader = context
        .reader(Some(StoreChoice::Sql))
        .map_err(|_| ApiError::Query(QueryError::NoTotals))?;
    let limit = limit(params.limit, DEFAULT_GROUPS, MAX_PAGE_ROWS)?;
    let cursor = CursorCodec::for_totals(reader.kind(), &dataset, total);
    let start = match &params.cursor {
        None => Start::First,
        Some(text) => Start::After(cursor.decode(text)?),
    };
    let columns = total.columns.iter().map(|column| &column.name);
    let table = Table {
        name: "totals",
        columns: total.by.iter().chain(columns).map(|name| &**name).collect(),
        rest: None,
        is_marked: false,
        highlights: None,
    };
    let (dataset, start) = (&*dataset, &start);
    let read_groups = |limit| async move {
        let page = reader.totals(dataset, total, start, limit).await;
        page.map(|page| {
            let rows = page.groups.into_iter().map(|values| StoredRow {
                values,
                extra: None,
            });
            RowPage {
                rows: rows.collect(),
                next: page.next,
            }
        })
    };
    let link = |next: &str| format!("limit={limit}&cursor={next}");
    let read = || read_page(encoding, &table, start, limit, read_groups, &cursor, link);
    let query = (start, limit);
    let cache_key = QueryKey::new(reader, &reference, &total.name, encoding, &query);
    let cache = &context.cache;
    cache.respond(&name, cache_key, &headers, read).await
}
