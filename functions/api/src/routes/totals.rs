use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{Cursor, MAX_PAGE_ROWS, QueryError, Start, excerpt};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::limit;
use super::rows::{next_link, question_text};
use crate::auth::Caller;
use crate::cache::Content;
use crate::encode::{Encoding, Table};
use crate::extract::{Query, Segments};
use crate::openapi::{FromStore, Refused};
use crate::{ApiError, Context};

const DEFAULT_GROUPS: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TotalsParams {
    /// The most groups.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Some groups of a table of totals.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "written by hand; this is its shape for the document"
)]
struct TotalsPage {
    /// Each with the values that make it and its columns by name.
    totals: Vec<BTreeMap<String, serde_json::Value>>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// Totals of a dataset
///
/// Kept in the SQL database alone. Ordered by the values that make the groups.
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
        (status = 200, description = "Some groups", content(
            (TotalsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")
        ), headers(
            ("etag" = String, description = "Names exactly this answer"),
            ("link" = Option<String>, description = "The next page, if there is one")
        )),
        Refused, FromStore
    )
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, total)): Segments<(String, String)>,
    Query(params): Query<TotalsParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Scope::Read, &name)?;
    let encoding = Encoding::of(&headers, &Encoding::ALL)?;
    let (dataset, reference) = context.dataset(&name).await?;
    let found = dataset.totals.iter().find(|one| one.name == total);
    let total = found.ok_or_else(|| {
        ApiError::NotFound(format!(
            "dataset {name} has no totals {:?}; GET /datasets/{name} lists those it has",
            excerpt(&total)
        ))
    })?;
    let reader = context
        .reader(Some(false))
        .map_err(|_| ApiError::Query(QueryError::NoTotals))?;
    let asked_for = limit(params.limit, DEFAULT_GROUPS, MAX_PAGE_ROWS)?;
    let cursor = Cursor::of_totals(reader.kind(), &dataset, total);
    let start = match &params.cursor {
        None => Start::First,
        Some(text) => Start::After(cursor.decode(text)?),
    };
    let names: Vec<&str> = total
        .by
        .iter()
        .chain(total.columns.iter().map(|column| &column.name))
        .map(String::as_str)
        .collect();
    let table = Table {
        name: "totals",
        columns: &names,
        rest: None,
    };
    let read = || async {
        let mut limit = asked_for;
        loop {
            let page = reader.totals(&dataset, total, &start, limit).await?;
            let records = page.groups.iter().map(|values| (&values[..], None));
            let (mut body, written) = table.write(encoding, records);
            if written < page.groups.len() {
                limit = u32::try_from(written).unwrap_or(u32::MAX);
                if limit == 0 {
                    return Err(ApiError::RowTooLarge);
                }
                continue;
            }
            let next = page.next.map(|place| cursor.encode(&place));
            Table::finish(encoding, &mut body, next.as_deref());
            let link = next.map(|next| next_link(&format!("limit={asked_for}&cursor={next}")));
            return Ok(Content {
                body: body.into(),
                media_type: encoding.media_type(),
                next: link.transpose()?,
            });
        }
    };
    let asked = question_text(
        reader,
        &reference,
        &total.name,
        encoding,
        &(&start, asked_for),
    );
    context
        .answers
        .answer(&*context.jobs, &name, asked, &headers, read)
        .await
}
