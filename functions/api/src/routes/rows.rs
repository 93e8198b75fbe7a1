use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{
    Cursor, Dataset, DatasetRef, Filter, MAX_PAGE_ROWS, RowQuery, Sort, Start, UnknownColumns,
};
use landfall_stores::Reader;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{encoded, key, limit};
use crate::auth::Caller;
use crate::cache::Content;
use crate::encode::{Encoding, MAX_ANSWER_BYTES, Table, escaped_len};
use crate::extract::{Query, Segments};
use crate::openapi::{FromStore, Refused};
use crate::{ApiError, Context};

const DEFAULT_ROWS: u32 = 50;
/// The most rows that a page by number may come after; more are read in vain for it.
const MAX_SKIPPED: u64 = 100_000;
/// Name of what has no column of its own.
const EXTRA: &str = "_extra";

/// The store that is read from.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreChoice {
    /// The SQL database.
    Sql,
    /// MongoDB.
    Mongodb,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowsParams {
    /// The store; SQL where there is one, unless given.
    #[param(inline)]
    store: Option<StoreChoice>,
    /// The most rows.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before: goes on after its last row, whatever was written meanwhile.
    cursor: Option<String>,
    /// A page by number, from 1, instead of a cursor; rows that come or go move the pages.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// An indexed field, or the first one of the key; with `-` before it, the greatest first. The key unless
    /// given.
    #[param(example = "-name")]
    sort: Option<String>,
    /// Conditions `field:op:value` that all hold; op is `eq`, `gte`, `gt`, `lte`, `lt` or `prefix`.
    #[serde(default, rename = "where")]
    #[param(rename = "where", max_items = 16, example = json!(["name:prefix:La"]))]
    conditions: Vec<String>,
}

/// Some rows of a dataset.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "written by hand; this is its shape for the document"
)]
struct RowsPage {
    /// Each with its fields by name. Decimals are strings, so that none loses a digit; dates are ISO 8601,
    /// timestamps RFC 3339. Columns that the dataset does not name are together in `_extra`.
    rows: Vec<BTreeMap<String, serde_json::Value>>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// Rows of a dataset
///
/// A page ends before its limit where it would be too large. CSV and NDJSON tell the next page by `Link`. In CSV,
/// an apostrophe comes before texts that a spreadsheet would take for a formula.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/rows",
    operation_id = "list_rows",
    tag = "rows",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products"), RowsParams),
    responses(
        (status = 200, description = "Some rows", content(
            (RowsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")
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
    Segments(name): Segments<String>,
    Query(params): Query<RowsParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Scope::Read, &name)?;
    let encoding = Encoding::of(&headers, &Encoding::ALL)?;
    let (dataset, reference) = context.dataset(&name).await?;
    let is_mongodb = params
        .store
        .map(|store| matches!(store, StoreChoice::Mongodb));
    let reader = context.reader(is_mongodb)?;
    let query = question(reader, &dataset, &params)?;
    let columns = Columns::of(&dataset);
    let limit = query.limit;
    let read = || async {
        let mut query = query.clone();
        loop {
            let page = reader.rows(&dataset, &query).await?;
            let table = columns.table();
            let records = page
                .rows
                .iter()
                .map(|row| (&row.values[..], row.extra.as_deref()));
            let (mut body, written) = table.write(encoding, records);
            if written < page.rows.len() {
                // Names and quoting take more than the values: a shorter page has its own place to go on at.
                query.limit = u32::try_from(written).unwrap_or(u32::MAX);
                if query.limit == 0 {
                    return Err(ApiError::RowTooLarge);
                }
                continue;
            }
            if matches!(query.start, Start::Skip(_))
                && page.next.is_some()
                && written < limit as usize
            {
                // The page with the next number would begin after rows that this one lacks.
                return Err(ApiError::PageTooLarge);
            }
            let next = page.next.map(|place| {
                let cursor = Cursor::of_rows(reader.kind(), &dataset, &query.filters, query.sort);
                cursor.encode(&place)
            });
            Table::finish(encoding, &mut body, next.as_deref());
            return Ok(Content {
                body: body.into(),
                media_type: encoding.media_type(),
                next: next.map(|next| link(&params, &next)).transpose()?,
            });
        }
    };
    let asked = question_text(reader, &reference, "rows", encoding, &query);
    context
        .answers
        .answer(&*context.jobs, &name, asked, &headers, read)
        .await
}

/// A row of a dataset
///
/// Each value of the key is percent-encoded, they are joined by commas, and the whole is percent-encoded as every
/// segment of a path. Where there is nothing to encode, it is just the value.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/rows/{key}",
    operation_id = "get_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, with commas between", example = "0001"),
        RowParams
    ),
    responses(
        (status = 200, description = "The row", body = BTreeMap<String, serde_json::Value>, content_type = "application/json", headers(
            ("etag" = String, description = "Names exactly this answer")
        )),
        Refused, FromStore
    )
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, segment)): Segments<(String, String)>,
    Query(params): Query<RowParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Scope::Read, &name)?;
    let encoding = Encoding::of(&headers, &[Encoding::Json])?;
    let (dataset, reference) = context.dataset(&name).await?;
    let is_mongodb = params
        .store
        .map(|store| matches!(store, StoreChoice::Mongodb));
    let reader = context.reader(is_mongodb)?;
    let key = key::values(&dataset, &segment)?;
    let query = RowQuery::of_key(&dataset, &key)?;
    let columns = Columns::of(&dataset);
    let read = || async {
        let row = reader.row(&dataset, &key).await?;
        let row = row.ok_or_else(|| {
            ApiError::NotFound(format!(
                "dataset {name} has no row of this key in {}",
                reader.kind()
            ))
        })?;
        let mut body = Vec::new();
        columns
            .table()
            .object(&mut body, &row.values, row.extra.as_deref());
        if escaped_len(&body) > MAX_ANSWER_BYTES {
            return Err(ApiError::RowTooLarge);
        }
        Ok(Content {
            body: body.into(),
            media_type: encoding.media_type(),
            next: None,
        })
    };
    let asked = question_text(reader, &reference, "row", encoding, &query);
    context
        .answers
        .answer(&*context.jobs, &name, asked, &headers, read)
        .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowParams {
    /// The store; SQL where there is one, unless given.
    #[param(inline)]
    store: Option<StoreChoice>,
}

/// Names of the columns of a dataset's rows.
struct Columns<'a> {
    names: Vec<&'a str>,
    rest: Option<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(dataset: &'a Dataset) -> Self {
        Self {
            names: dataset
                .fields
                .iter()
                .map(|field| field.name.as_str())
                .collect(),
            rest: (dataset.unknown_columns == UnknownColumns::Keep).then_some(EXTRA),
        }
    }

    fn table(&self) -> Table<'_> {
        Table {
            name: "rows",
            columns: &self.names,
            rest: self.rest,
        }
    }
}

fn question(
    reader: &dyn Reader,
    dataset: &Dataset,
    params: &RowsParams,
) -> Result<RowQuery, ApiError> {
    let limit = limit(params.limit, DEFAULT_ROWS, MAX_PAGE_ROWS)?;
    let filters = params
        .conditions
        .iter()
        .map(|text| Filter::parse(dataset, text))
        .collect::<Result<Vec<_>, _>>()?;
    let sort = params
        .sort
        .as_deref()
        .map(|text| Sort::parse(dataset, text))
        .transpose()?;
    let start = match (&params.cursor, params.page) {
        (None, None) => Start::First,
        (Some(_), Some(_)) => {
            return Err(ApiError::Invalid(
                "give a cursor or a page, not both".to_owned(),
            ));
        }
        (Some(cursor), None) => {
            let place = Cursor::of_rows(reader.kind(), dataset, &filters, sort).decode(cursor)?;
            Start::After(place)
        }
        (None, Some(page)) => Start::Skip(skipped(page, limit)?),
    };
    let query = RowQuery {
        filters,
        sort,
        start,
        limit,
    };
    query.check(dataset)?;
    Ok(query)
}

/// Rows before a page.
fn skipped(page: u64, limit: u32) -> Result<u64, ApiError> {
    page.checked_sub(1)
        .and_then(|before| before.checked_mul(limit.into()))
        .filter(|skipped| *skipped <= MAX_SKIPPED)
        .ok_or_else(|| {
            ApiError::Invalid(format!(
                "page is 1 or more, and at most {MAX_SKIPPED} rows come before it: go on by cursor, or add conditions"
            ))
        })
}

/// All that an answer depends on.
pub(super) fn question_text(
    reader: &dyn Reader,
    reference: &DatasetRef,
    what: &str,
    encoding: Encoding,
    query: &dyn std::fmt::Debug,
) -> String {
    format!(
        "{} {reference:?} {what} {encoding:?} {query:?}",
        reader.kind()
    )
}

/// The same question, further on.
fn link(params: &RowsParams, next: &str) -> Result<HeaderValue, ApiError> {
    let mut asked = vec![format!("cursor={next}")];
    asked.extend(params.store.map(|store| match store {
        StoreChoice::Sql => "store=sql".to_owned(),
        StoreChoice::Mongodb => "store=mongodb".to_owned(),
    }));
    asked.extend(params.limit.map(|limit| format!("limit={limit}")));
    asked.extend(
        params
            .sort
            .iter()
            .map(|sort| format!("sort={}", encoded(sort))),
    );
    let conditions = params.conditions.iter();
    asked.extend(conditions.map(|condition| format!("where={}", encoded(condition))));
    next_link(&asked.join("&"))
}

/// The `Link` to the next page: the same path with this query, whatever a gateway has put before the path.
pub(super) fn next_link(query: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(format!("<?{query}>; rel=\"next\""))
        .map_err(|error| ApiError::Internal(error.to_string()))
}
