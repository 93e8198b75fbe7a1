use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_auth::Scope;
use landfall_domain::{Numbers, Value, WriteOperation};
use landfall_ledger::Parent;
use landfall_stores::{KeyVersions, Reader};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::access::Bearer;
use super::counts::{self, extend};
use super::live::{exists, is_live};
use super::not_found;
use super::place::Place;
use crate::cache::{conditional_response, etag};
use crate::encode::{MAX_RESPONSE_BYTES, escaped_len};
use crate::encoding::Encoding;
use crate::extract::{Body, Query, Segments};
use crate::routes::{WriteParams, json_of, respond, table};
use crate::writes::{
    FIRST_LOOK, IdempotencyKey, LONGEST_LOOK, LONGEST_WAIT, RowWrite, accept, wait_for_end,
};
use crate::{ApiError, Context};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowParams {
    at_least: Option<u64>,
}

/// Returns a row, with the counts and last numbers of its children.
pub(super) async fn one(
    State(context): State<Arc<Context>>,
    bearer: Bearer,
    Segments(segments): Segments<Vec<String>>,
    Query(params): Query<RowParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let place = Place::find(&context, &bearer, Scope::Read, &segments).await?;
    Encoding::negotiate(&headers, &[Encoding::Json])?;
    let numbers = require_live(&context, &place).await?;
    let (reader, dataset) = (context.reader(None)?, &**place.dataset());
    if let Some(number) = params.at_least {
        let Some((_, parent)) = place
            .key
            .split_last()
            .filter(|(_, parent)| !parent.is_empty())
        else {
            return Err(ApiError::Invalid(
                "at_least needs the numbers of one parent".to_owned(),
            ));
        };
        let list = place.of_key(parent.to_vec());
        if !wait_for(reader, &list, &numbers, number).await? {
            return Ok(not_stored(None));
        }
    }
    let Some(row) = reader.row(dataset, &place.key).await? else {
        let versions = reader.versions(dataset, &place.key).await?;
        // It may have been stored in between.
        if is_gone(&versions, &place, &numbers) {
            return Err(not_found());
        }
        return Ok(not_stored(Some(&place)));
    };
    let rows = std::slice::from_ref(&row);
    let shown = counts::of_rows(&context, reader, dataset, rows).await?;
    let mut body = Vec::new();
    table(dataset).object(&mut body, &row);
    if let Some(shown) = shown.first() {
        extend(&mut body, shown);
    }
    if escaped_len(&body) > MAX_RESPONSE_BYTES {
        return Err(ApiError::RowTooLarge);
    }
    Ok(answer(&headers, body, None))
}

/// Writes some columns of a row.
pub(super) async fn patch(
    State(context): State<Arc<Context>>,
    bearer: Bearer,
    Segments(segments): Segments<Vec<String>>,
    Query(params): Query<WriteParams>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let place = Place::find(&context, &bearer, Scope::Write, &segments).await?;
    let json = json_of(&headers, &body)?;
    let numbers = require_live(&context, &place).await?;
    let versions = context
        .reader(None)?
        .versions(place.dataset(), &place.key)
        .await?;
    // Otherwise the columns would be a new row of a number that is gone.
    if is_gone(&versions, &place, &numbers) {
        return Err(not_found());
    }
    let new = row_write(&place, WriteOperation::Patch, Some(json))?;
    write(
        &context,
        &bearer,
        (&new, segments.len()),
        &headers,
        params.wait,
    )
    .await
}

/// Deletes a row. What is below it is not found from then on.
pub(super) async fn delete(
    State(context): State<Arc<Context>>,
    bearer: Bearer,
    Segments(segments): Segments<Vec<String>>,
    Query(params): Query<WriteParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let place = Place::find(&context, &bearer, Scope::Write, &segments).await?;
    let rows = place.rows();
    let found = context.parents.parents(&rows).await?;
    let (Some(row), above) = (rows.last(), &rows[..rows.len().saturating_sub(1)]) else {
        return Err(not_found());
    };
    if !exists(&rows, &found) || !(above.is_empty() || is_live(above, &found)) {
        return Err(not_found());
    }
    let new = row_write(&place, WriteOperation::Delete, None)?;
    let children = context.families.children(&context, &row.dataset).await?;
    if place.dataset().token.is_some() || !children.is_empty() {
        // First, so that a repeated request deletes the row if this one does not get to it.
        context.parents.delete_parent(row).await?;
    }
    write(
        &context,
        &bearer,
        (&new, segments.len()),
        &headers,
        params.wait,
    )
    .await
}

fn row_write(
    place: &Place,
    operation: WriteOperation,
    json: Option<String>,
) -> Result<RowWrite, ApiError> {
    let definition = (Arc::clone(place.dataset()), place.reference.clone());
    RowWrite::new(definition, operation, place.key.clone(), None, json)
}

async fn write(
    context: &Context,
    bearer: &Bearer,
    (new, segments): (&RowWrite, usize),
    headers: &HeaderMap,
    waits: bool,
) -> Result<Response, ApiError> {
    let key = IdempotencyKey::of(headers)?;
    let mut write = accept(context, new, &bearer.name(), key).await?;
    if waits {
        write = wait_for_end(context, write).await?;
    }
    respond(write, waits, segments)
}

/// Returns the numbers among which that of a row is. Fails unless the row and all above it exist.
async fn require_live(context: &Context, place: &Place) -> Result<Numbers, ApiError> {
    let rows = place.rows();
    let found = context.parents.parents(&rows).await?;
    if !is_live(&rows, &found) {
        return Err(not_found());
    }
    let parent = rows.iter().rev().nth(1);
    let parent = found.iter().find(|found| Some(&found.row) == parent);
    Ok(parent.map_or_else(Numbers::default, |parent: &Parent| {
        parent.numbers(&place.dataset().name)
    }))
}

/// Returns whether a row is deleted, or never arrived.
fn is_gone(versions: &KeyVersions, place: &Place, numbers: &Numbers) -> bool {
    versions.row.is_none() && (versions.tombstone.is_some() || is_checked(place, numbers))
}

/// Returns whether the number of a row is checked: it is stored by now, or never will be.
fn is_checked(place: &Place, numbers: &Numbers) -> bool {
    match place.key.last() {
        Some(Value::Integer(number)) => {
            u64::try_from(*number).is_ok_and(|number| number <= numbers.checked)
        }
        _ => false,
    }
}

/// Waits until a store has the row of a number, or its delete, for at most ten seconds. Returns whether it has.
pub(super) async fn wait_for(
    reader: &dyn Reader,
    list: &Place,
    numbers: &Numbers,
    number: u64,
) -> Result<bool, ApiError> {
    if number > numbers.last {
        return Err(ApiError::NotFound(format!(
            "the number {number} is not given out"
        )));
    }
    let given = i64::try_from(number).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let key = [&list.key[..], &[Value::Integer(given)]].concat();
    let (until, mut pause) = (Instant::now() + LONGEST_WAIT, FIRST_LOOK);
    while number > numbers.checked && !numbers.voids.contains(&number) {
        let KeyVersions { row, tombstone, .. } = reader.versions(list.dataset(), &key).await?;
        if row.is_some() || tombstone.is_some() {
            break;
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
    Ok(true)
}

/// Returns the response for a row that is accepted, but not stored yet: its key, if one is given.
pub(super) fn not_stored(row: Option<&Place>) -> Response {
    let key = row.map(|row| row.key_json([])).unwrap_or_default();
    let retry = [(header::RETRY_AFTER, "1")];
    (StatusCode::ACCEPTED, retry, Json(key)).into_response()
}

/// Returns a response with an `ETag`, or without a body if the client has it already.
pub(super) fn answer(headers: &HeaderMap, body: Vec<u8>, link: Option<String>) -> Response {
    let etag = etag(&[link.as_deref().unwrap_or_default().as_bytes(), &body]);
    let headers_of_all = [
        // Private; clients must revalidate before reuse.
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::VARY, "accept, authorization"),
    ];
    let link = link.map(|link| [(header::LINK, link)]);
    let response = conditional_response(headers, &etag, "application/json", body.into());
    (headers_of_all, link, response).into_response()
}
