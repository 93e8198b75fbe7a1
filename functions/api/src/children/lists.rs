use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{
    Condition, Dataset, Filter, MAX_FILTERS, Numbers, QueryError, RowQuery, Search, Sort, Start,
    Value,
};
use landfall_ledger::Parent;
use landfall_stores::{Reader, RowPage};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::Bearer;
use super::counts::{self, MAX_ROWS, extend};
use super::live::is_live;
use super::not_found;
use super::place::Place;
use super::rows::{answer, not_stored, wait_for};
use crate::encode::{Highlights, MAX_RESPONSE_BYTES, Table, escaped_len};
use crate::encoding::Encoding;
use crate::extract::{Query, Segments};
use crate::routes::{codec, next_link, table};
use crate::{ApiError, Context};

const DEFAULT_ROWS: u32 = 50;
const RELEVANCE: &str = "relevance";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    limit: Option<u32>,
    cursor: Option<String>,
    sort: Option<String>,
    search: Option<String>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    #[serde(skip_serializing)]
    at_least: Option<u64>,
}

/// Lists the rows with one parent, all rows with tokens, or the rows of a dataset below a row with a token.
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    bearer: Bearer,
    Segments(segments): Segments<Vec<String>>,
    Query(params): Query<ListParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let place = Place::find(&context, &bearer, Scope::Read, &segments).await?;
    Encoding::negotiate(&headers, &[Encoding::Json])?;
    let dataset = &**place.dataset();
    let reader = context.reader(None)?;
    let query = parse(reader, &place, &params)?;
    let numbers = numbers(&context, &place).await?;
    if let Some(number) = params.at_least {
        let Some(numbers) = &numbers else {
            return Err(ApiError::Invalid(
                "at_least needs the numbers of one parent".to_owned(),
            ));
        };
        if !wait_for(reader, &place, numbers, number).await? {
            return Ok(not_stored(None));
        }
    }
    let mut table = table(dataset);
    table.highlights = query.search.as_ref().map(|search| Highlights {
        search,
        columns: dataset.search_indexes(),
    });
    let (mut body, page) = page(&context, reader, &place, &table, &query).await?;
    let cursor = codec(reader, dataset, &query);
    let next = page.next.as_ref().map(|place| cursor.encode(place));
    let voids = numbers
        .as_ref()
        .map(|numbers| voids(dataset, &query, &page, numbers));
    let end = json!({
        "next": next,
        "last_number": numbers.as_ref().map(|numbers| numbers.last),
        "voids": voids.unwrap_or_default(),
    });
    // The rows are written, without the end of their list.
    body.extend_from_slice(b"],");
    body.extend_from_slice(&end.to_string().as_bytes()[1..]);
    let link = next.map(|next| link(&params, next)).transpose()?;
    Ok(answer(&headers, body, link))
}

/// Returns the numbers of the rows with the parent of a list, if it has one. Fails unless all above the list exists.
async fn numbers(context: &Context, place: &Place) -> Result<Option<Numbers>, ApiError> {
    let rows = place.rows();
    let Some(parent) = rows.last() else {
        return Ok(None);
    };
    let found = context.parents.parents(&rows).await?;
    if !is_live(&rows, &found) {
        return Err(not_found());
    }
    let numbers = found.iter().find(|found| found.row == *parent);
    let numbers = numbers.map(|parent: &Parent| parent.numbers(&place.dataset().name));
    Ok(place.is_of_parent().then(|| numbers.unwrap_or_default()))
}

/// Reads a page, and writes its rows with what is shown of their children, without the end of the list.
async fn page(
    context: &Context,
    reader: &dyn Reader,
    place: &Place,
    table: &Table<'_>,
    query: &RowQuery,
) -> Result<(Vec<u8>, RowPage), ApiError> {
    let dataset = place.dataset();
    let mut limit = query.limit;
    loop {
        let query = RowQuery {
            limit,
            ..query.clone()
        };
        let page = reader.rows(dataset, &query).await?;
        let shown = if place.is_of_parent() {
            counts::of_rows(context, reader, dataset, &page.rows).await?
        } else {
            Vec::new()
        };
        let mut body = b"{\"rows\":[".to_vec();
        for (index, row) in page.rows.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            table.object(&mut body, row);
            if let Some(shown) = shown.get(index) {
                extend(&mut body, shown);
            }
        }
        if escaped_len(&body) <= MAX_RESPONSE_BYTES {
            return Ok((body, page));
        }
        if limit == 1 {
            return Err(ApiError::RowTooLarge);
        }
        limit /= 2;
    }
}

fn parse(reader: &dyn Reader, place: &Place, params: &ListParams) -> Result<RowQuery, ApiError> {
    let dataset = &**place.dataset();
    let limit = params.limit.unwrap_or(DEFAULT_ROWS);
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(ApiError::Invalid(format!("limit must be 1 to {MAX_ROWS}")));
    }
    // Nothing that a client sends can leave the rows of the path.
    let fields = dataset.key_indexes().iter().zip(&place.key);
    let mut filters: Vec<Filter> = fields
        .map(|(field, value)| Filter {
            field: *field,
            condition: Condition::Equals(value.clone()),
        })
        .collect();
    if params.conditions.len() + filters.len() > MAX_FILTERS {
        return Err(QueryError::Filters.into());
    }
    for condition in &params.conditions {
        filters.push(Filter::parse(dataset, condition)?);
    }
    let search = params.search.as_deref().map(Search::parse).transpose();
    let search = search.map_err(QueryError::from)?;
    let by_relevance = search.is_some() && params.sort.as_deref() == Some(RELEVANCE);
    let sort = match params.sort.as_deref() {
        // The newest first.
        None => search.is_some().then(|| by_key(dataset, true)),
        Some(_) if by_relevance => None,
        Some(text) => Some(sort(dataset, text)?),
    };
    let mut query = RowQuery {
        filters,
        search,
        sort,
        by_relevance,
        start: Start::First,
        limit,
    };
    if let Some(cursor) = &params.cursor {
        query.start = Start::After(codec(reader, dataset, &query).decode(cursor)?);
    }
    query.check(dataset)?;
    Ok(query)
}

/// Returns the order of the key, which is that of the numbers within one parent.
fn by_key(dataset: &Dataset, descending: bool) -> Sort {
    let field = dataset.key_indexes().first().copied().unwrap_or_default();
    Sort { field, descending }
}

fn sort(dataset: &Dataset, text: &str) -> Result<Sort, QueryError> {
    let name = text.strip_prefix('-');
    let last = dataset.key_fields().last();
    if last.is_some_and(|last| last.name == name.unwrap_or(text)) {
        return Ok(by_key(dataset, name.is_some()));
    }
    Sort::parse(dataset, text)
}

/// Returns the numbers in the range of a page that are voids. A page by relevance, or by another field, has no range.
fn voids(dataset: &Dataset, query: &RowQuery, page: &RowPage, numbers: &Numbers) -> Vec<u64> {
    if query.by_relevance || query.sort_field(dataset).is_some() {
        return Vec::new();
    }
    let number = |value: Option<&Value>| match value {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let start = match &query.start {
        Start::After(place) => number(place.last()),
        Start::First | Start::Skip(_) => None,
    };
    let end = page.next.as_ref().and_then(|place| number(place.last()));
    let (first, last) = if query.is_descending() {
        (
            end.unwrap_or(1),
            start.map_or(numbers.last, |start| start.saturating_sub(1)),
        )
    } else {
        (
            start.map_or(1, |start| start + 1),
            end.unwrap_or(numbers.last),
        )
    };
    let is_in_page = |void: &&u64| (first..=last).contains(*void);
    numbers.voids.iter().filter(is_in_page).copied().collect()
}

/// Returns the link to the next page of the same query.
fn link(params: &ListParams, next: String) -> Result<String, ApiError> {
    let params = ListParams {
        limit: params.limit,
        cursor: Some(next),
        sort: params.sort.clone(),
        search: params.search.clone(),
        conditions: params.conditions.clone(),
        at_least: None,
    };
    let query = serde_html_form::to_string(&params);
    let query = query.map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(next_link(&query))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_page_shows_the_voids_of_its_range() {
        let text = "name = \"m\"\nkey = [\"a\", \"n\"]\nparent = \"p\"\nnumber = \"n\"\n\
            [[fields]]\nname = \"a\"\ntype = \"text\"\n[[fields]]\nname = \"n\"\ntype = \"integer\"\n";
        let dataset = Dataset::from_toml("m.toml", text).unwrap();
        let numbers = Numbers {
            last: 9,
            voids: BTreeSet::from([1, 3, 6, 9]),
            ..Numbers::default()
        };
        let place = |number: i64| vec![Value::Text("x".into()), Value::Integer(number)];
        for (descending, start, next, expected) in [
            (false, None, Some(4), vec![1, 3]),
            (false, Some(4), Some(7), vec![6]),
            (false, Some(7), None, vec![9]),
            (true, None, Some(5), vec![6, 9]),
            (true, Some(5), None, vec![1, 3]),
            (false, None, None, vec![1, 3, 6, 9]),
        ] {
            let query = RowQuery {
                filters: Vec::new(),
                search: None,
                sort: Some(by_key(&dataset, descending)),
                by_relevance: false,
                start: start.map_or(Start::First, |start| Start::After(place(start))),
                limit: 3,
            };
            let page = RowPage {
                rows: Vec::new(),
                next: next.map(place),
            };
            assert_eq!(
                voids(&dataset, &query, &page, &numbers),
                expected,
                "{start:?} {next:?}"
            );
        }
    }
}
