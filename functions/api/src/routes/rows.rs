use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{
    CursorCodec, Dataset, EXTRA_COLUMN, Filter, MAX_PAGE_ROWS, QueryError, RowQuery, Search, Sort,
    Start, UnknownColumns,
};
use landfall_stores::Reader;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::key;
use super::paging::{limit, read_page};
use crate::auth::Caller;
use crate::cache::{Content, QueryKey};
use crate::encode::{Highlights, MAX_RESPONSE_BYTES, Table, escaped_len};
use crate::encoding::Encoding;
use crate::extract::{Query, Segments};
use crate::responses::{CommonErrors, DatasetErrors, Forbidden, NotAcceptable, ReadResponses};
use crate::{ApiError, Context};

const DEFAULT_ROWS: u32 = 50;
/// The sort order by how well rows match a search, unless a field has this name.
const RELEVANCE: &str = "relevance";
/// The most rows that may precede a page by number. The store reads them all, only to skip them.
const MAX_SKIPPED: u64 = 100_000;

/// The store to read from.
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
    /// The store to read from. Default: the SQL database if there is one, else MongoDB.
    #[param(inline)]
    store: Option<StoreChoice>,
    /// The maximum number of rows.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next` of the previous page. Continues after its last row, even if rows have been written since.
    cursor: Option<String>,
    /// A page number, from 1, instead of a cursor. Pages shift when rows are inserted or deleted.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// An indexed field or the first field of the key; with a leading `-`, in descending order. With `search`, also
    /// `relevance`: rows with whole words come before those with words that begin with the terms, and these before all
    /// others. Default: the key.
    #[param(example = "-name")]
    sort: Option<String>,
    /// Words that rows must have in the searched fields of the dataset: `gard` finds words that contain it, `gard*`
    /// words that begin with it, `"garden"` the word, and `"front garden"` the phrase. Terms of one or two letters are
    /// whole words. At most 200 characters and 16 terms. Only SQL databases can be searched.
    #[param(max_length = 200, example = "gard")]
    search: Option<String>,
    /// Conditions `field:op:value`, which must all hold; `op` is `eq`, `gte`, `gt`, `lte`, `lt` or `prefix`.
    #[serde(default, rename = "where")]
    #[param(rename = "where", max_items = 16, example = json!(["name:prefix:La"]))]
    conditions: Vec<String>,
}

/// A page of rows.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "encoded by hand; this is its schema for the document"
)]
struct RowsPage {
    /// Each row has its fields by name. Decimals are strings, so that no digit is lost; dates are ISO 8601 and
    /// timestamps RFC 3339. `_extra` holds columns that the dataset does not define. With `search`, `_highlight` has a
    /// part of each text that matches, of at most 160 characters, by field: a list of its parts, each as
    /// `{"text": "…", "match": true}`.
    rows: Vec<BTreeMap<String, serde_json::Value>>,
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// List rows of a dataset
///
/// A page has fewer rows than its limit if it would be too large. For CSV and NDJSON, the header `Link` leads to the
/// next page. Files in these formats can be edited and uploaded again, whatever the definition says about files. They
/// are marked by the column `_landfall`. In CSV, an empty cell is null. An apostrophe precedes texts that a spreadsheet
/// could interpret as a formula, that are empty, or that start with one; it is removed when the file is uploaded.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/rows",
    operation_id = "list_rows",
    tag = "rows",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products"), RowsParams),
    responses(
        (status = 200, description = "A page of rows", content(
            (RowsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")
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
    Segments(name): Segments<String>,
    Query(params): Query<RowsParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Scope::Read, &name)?;
    let encoding = Encoding::negotiate(&headers, &Encoding::ALL)?;
    let (dataset, reference) = context.dataset(&name).await?;
    let reader = context.reader(params.store)?;
    let dataset = &*dataset;
    let query = parse(reader, dataset, &params)?;
    let mut table = table(dataset);
    let search = query.search.as_ref();
    table.highlights = search.map(|search| Highlights {
        search,
        columns: dataset.search_indexes(),
    });
    let read_rows = |limit| {
        let query = RowQuery {
            limit,
            ..query.clone()
        };
        async move { reader.rows(dataset, &query).await }
    };
    let read = || async {
        let cursor = codec(reader, dataset, &query);
        let (start, limit) = (&query.start, query.limit);
        let link = |next: &str| link(&params, next);
        read_page(encoding, &table, start, limit, read_rows, &cursor, link).await
    };
    let cache_key = QueryKey::new(reader, &reference, "rows", encoding, &query);
    let cache = &context.cache;
    cache.respond(&name, cache_key, &headers, read).await
}

/// Get a row by its key
///
/// To form the last segment of the path, percent-encode each value of the key, join the values with commas, and
/// percent-encode the result. A simple value stays as it is.
#[utoipa::path(
    get,
    path = "/datasets/{dataset}/rows/{key}",
    operation_id = "get_row",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("key" = String, Path, description = "Values of the key, separated by commas", example = "0001"),
        RowParams
    ),
    responses(
        (status = 200, description = "The row",
            body = BTreeMap<String, serde_json::Value>, content_type = "application/json", headers(
            ("etag" = String, description = "Identifies this content")
        )),
        CommonErrors, Forbidden, DatasetErrors, NotAcceptable, ReadResponses
    )
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments((name, segment)): Segments<(String, String)>,
    Query(params): Query<RowParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Scope::Read, &name)?;
    let encoding = Encoding::negotiate(&headers, &[Encoding::Json])?;
    let (dataset, reference) = context.dataset(&name).await?;
    let reader = context.reader(params.store)?;
    let key = key::values(&dataset, &segment)?;
    let query = RowQuery::of_key(&dataset, &key)?;
    let table = table(&dataset);
    let read = || async {
        let row = reader.row(&dataset, &key).await?;
        let row = row.ok_or_else(|| {
            ApiError::NotFound(format!(
                "dataset {name} has no row with this key in {}",
                reader.kind()
            ))
        })?;
        let mut body = Vec::new();
        table.object(&mut body, &row);
        if escaped_len(&body) > MAX_RESPONSE_BYTES {
            return Err(ApiError::RowTooLarge);
        }
        Ok(Content {
            body: body.into(),
            media_type: encoding.media_type(),
            next: None,
        })
    };
    let cache_key = QueryKey::new(reader, &reference, "row", encoding, &query);
    let cache = &context.cache;
    cache.respond(&name, cache_key, &headers, read).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowParams {
    /// The store to read from. Default: the SQL database if there is one, else MongoDB.
    #[param(inline)]
    pub(super) store: Option<StoreChoice>,
}

/// Returns the list of a dataset's rows.
pub(crate) fn table(dataset: &Dataset) -> Table<'_> {
    let names = dataset.fields.iter().map(|field| field.name.as_str());
    Table {
        name: "rows",
        columns: names.collect(),
        rest: (dataset.unknown_columns == UnknownColumns::Keep).then_some(EXTRA_COLUMN),
        is_marked: true,
        highlights: None,
    }
}

/// Parses the parameters of a page.
fn parse(
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
    let search = params.search.as_deref().map(Search::parse).transpose();
    let search = search.map_err(QueryError::from)?;
    if search.is_some() && dataset.search_indexes().is_empty() {
        return Err(QueryError::NoSearch(dataset.name.clone()).into());
    }
    let has_field = dataset.fields.iter().any(|field| field.name == RELEVANCE);
    let by_relevance = search.is_some() && !has_field && params.sort.as_deref() == Some(RELEVANCE);
    let sort = params
        .sort
        .as_deref()
        .filter(|_| !by_relevance)
        .map(|text| Sort::parse(dataset, text))
        .transpose()?;
    let mut query = RowQuery {
        filters,
        search,
        sort,
        by_relevance,
        start: Start::First,
        limit,
    };
    query.start = match (&params.cursor, params.page) {
        (None, None) => Start::First,
        (Some(_), Some(_)) => {
            return Err(ApiError::Invalid("send either cursor or page".to_owned()));
        }
        (Some(cursor), None) => {
            let place = codec(reader, dataset, &query).decode(cursor)?;
            Start::After(place)
        }
        (None, Some(page)) => Start::Skip(skipped(page, limit)?),
    };
    query.check(dataset)?;
    Ok(query)
}

/// Returns the cursors of a query.
pub(crate) fn codec(reader: &dyn Reader, dataset: &Dataset, query: &RowQuery) -> CursorCodec {
    let (filters, search) = (&query.filters, query.search.as_ref());
    CursorCodec::for_rows(
        reader.kind(),
        dataset,
        filters,
        search,
        query.sort,
        query.by_relevance,
    )
}

/// Returns the number of rows before a page.
fn skipped(page: u64, limit: u32) -> Result<u64, ApiError> {
    page.checked_sub(1)
        .and_then(|before| before.checked_mul(limit.into()))
        .filter(|skipped| *skipped <= MAX_SKIPPED)
        .ok_or_else(|| {
            ApiError::Invalid(format!(
                "page must be 1 or more, after at most {MAX_SKIPPED} rows: continue with a cursor, or add conditions"
            ))
        })
}

/// Returns the query string of the next page of the same query.
fn link(params: &RowsParams, next: &str) -> String {
    let store = params.store.map(|store| match store {
        StoreChoice::Sql => "store=sql".to_owned(),
        StoreChoice::Mongodb => "store=mongodb".to_owned(),
    });
    let limit = params.limit.map(|limit| format!("limit={limit}"));
    let sort = params
        .sort
        .iter()
        .map(|sort| format!("sort={}", encoded(sort)));
    let conditions = params.conditions.iter();
    let conditions = conditions.map(|condition| format!("where={}", encoded(condition)));
    let mut query = vec![format!("cursor={next}")];
    let search = params.search.iter();
    let search = search.map(|search| format!("search={}", encoded(search)));
    query.extend(
        store
            .into_iter()
            .chain(limit)
            .chain(sort)
            .chain(search)
            .chain(conditions),
    );
    query.join("&")
}

/// Percent-encodes the value of a query parameter.
fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
