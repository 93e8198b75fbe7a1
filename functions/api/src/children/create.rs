use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future;
use landfall_auth::{RowToken, Scope};
use landfall_aws::{AwsError, Failure, WorkMessage};
use landfall_domain::{KeyDigest, Value, WriteMessage, WriteOperation};
use landfall_ledger::LedgerError;
use serde::Deserialize;
use serde_json::{Map, Value as JsonValue, json};

use super::access::Bearer;
use super::claim::ClaimedKey;
use super::live::is_live;
use super::not_found;
use super::place::{Place, parent_row, text};
use crate::extract::{Body, Query, Segments};
use crate::routes::json_of;
use crate::writes::{IdempotencyKey, RowWrite, written};
use crate::{ApiError, Context};

/// Seconds after which a number may be given out under a parent that has given out too many.
const HOT_SECONDS: u64 = 1;

/// No query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// A row that is created.
struct Created {
    /// The id of the row with a token, or the number.
    last: Value,
    token: Option<RowToken>,
}

/// Creates a row with a token, or a number.
pub(super) async fn create(
    State(context): State<Arc<Context>>,
    bearer: Bearer,
    Segments(segments): Segments<Vec<String>>,
    Query(NoParams {}): Query<NoParams>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let place = Place::find(&context, &bearer, Scope::Write, &segments).await?;
    if !place.is_of_parent() {
        return Err(not_found());
    }
    let json = match &body[..] {
        [] => "{}".to_owned(),
        body => json_of(&headers, body)?,
    };
    check(&place, &json)?;
    let created = match IdempotencyKey::of(&headers)? {
        None => create_once(&context, &bearer, &place, json, None).await?,
        Some(key) => {
            let now = (context.clock)().as_millisecond();
            let request = digest(&place, &json);
            let name = bearer.name();
            let mut claimed = ClaimedKey::claim(&context, (&name, &key), request, now).await?;
            let created = create_claimed(&context, &bearer, &place, json, &mut claimed).await;
            if !claimed.is_sent {
                claimed.end(&context, created.is_ok()).await;
            }
            created?
        }
    };
    Ok(respond(&place, &created))
}

/// Checks a row as a worker will. It must not have the number, which no client can know.
fn check(place: &Place, json: &str) -> Result<(), ApiError> {
    let dataset = place.dataset();
    let placeholders = match dataset.token {
        Some(_) => [Value::Text("a".into()), Value::Text("b".into())],
        None => [Value::Integer(0), Value::Integer(-1)],
    };
    for last in placeholders {
        let key = [&place.key[..], &[last]].concat();
        let row = (Arc::clone(dataset), place.reference.clone());
        RowWrite::new(row, WriteOperation::Put, key, None, Some(json.to_owned()))?;
    }
    Ok(())
}

/// Returns the hash of everything that a request says.
fn digest(place: &Place, json: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    let parent = KeyDigest::new(&place.dataset().name, &place.key).to_string();
    hasher.update(parent.as_bytes()).update(json.as_bytes());
    hasher.finalize().to_hex().to_string()
}

async fn create_claimed(
    context: &Context,
    bearer: &Bearer,
    place: &Place,
    json: String,
    claimed: &mut ClaimedKey,
) -> Result<Created, ApiError> {
    if let Some(parent) = place.parent() {
        let now = (context.clock)().as_millisecond();
        let child = place.dataset().name.as_str();
        claimed.check_number(context, (&parent, child), now).await?;
    }
    create_once(context, bearer, place, json, Some(claimed)).await
}

/// Creates a row, and sends it unless an earlier handler of the request has.
async fn create_once(
    context: &Context,
    bearer: &Bearer,
    place: &Place,
    json: String,
    claimed: Option<&ClaimedKey>,
) -> Result<Created, ApiError> {
    let created = match place.dataset().token {
        Some(_) => with_token(context, bearer, place, claimed).await?,
        None => Created {
            last: number(context, place, claimed).await?,
            token: None,
        },
    };
    if claimed.is_none_or(|claimed| !claimed.is_sent) {
        send(context, place, &created.last, &json).await?;
    }
    Ok(created)
}

async fn with_token(
    context: &Context,
    bearer: &Bearer,
    place: &Place,
    claimed: Option<&ClaimedKey>,
) -> Result<Created, ApiError> {
    let token = match claimed {
        None => RowToken::random(),
        Some(claimed) => RowToken::derived(&bearer.secret, &claimed.id.to_string()),
    };
    let id = token.id();
    let row = parent_row(&place.dataset().name, std::slice::from_ref(&id));
    context.parents.create_parent(&row).await?;
    Ok(Created {
        last: Value::Text(id.into()),
        token: Some(token),
    })
}

/// Returns the number of the row: a new one, or that of an earlier handler of the request.
async fn number(
    context: &Context,
    place: &Place,
    claimed: Option<&ClaimedKey>,
) -> Result<Value, ApiError> {
    let number = if let Some(number) = claimed.and_then(|claimed| claimed.number) {
        number
    } else {
        let number = allocate(context, place).await?;
        match claimed {
            None => number,
            Some(claimed) => claimed.record(context, number).await?,
        }
    };
    let number = i64::try_from(number).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(Value::Integer(number))
}

/// Gives out a number, if the parent and all above it exist.
async fn allocate(context: &Context, place: &Place) -> Result<u64, ApiError> {
    let rows = place.rows();
    let (Some(parent), child) = (rows.last(), &place.dataset().name) else {
        return Err(not_found());
    };
    let now = (context.clock)().as_millisecond();
    let allocated = |creates| async move {
        let allocated = context.parents.allocate(parent, child, creates, now);
        allocated.await.map_err(hot)
    };
    let above = async {
        // The first row has nothing above it, and must be recorded itself.
        if rows.len() == 1 {
            return Ok(None);
        }
        let found = context.parents.parents(&rows).await?;
        Ok(Some(is_live(&rows, &found)))
    };
    let (number, is_live) = future::try_join(allocated(false), above).await?;
    match (number, is_live) {
        (Some(number), None | Some(true)) => Ok(number),
        // The parent exists, but is not recorded before its first child.
        (None, Some(true)) => allocated(true).await?.ok_or_else(not_found),
        (None, None) | (_, Some(false)) => Err(not_found()),
    }
}

/// Maps an update that the table throttles: one item takes about 1,000 updates a second.
fn hot(error: LedgerError) -> ApiError {
    match error {
        LedgerError::Aws(AwsError::Call {
            failure: Failure::Throttled,
            ..
        }) => ApiError::TooMany(HOT_SECONDS),
        error => error.into(),
    }
}

async fn send(context: &Context, place: &Place, last: &Value, json: &str) -> Result<(), ApiError> {
    let key = [&place.key[..], std::slice::from_ref(last)].concat();
    let write = KeyDigest::new(&place.dataset().name, &key).create();
    let row = written(context, write, json).await?;
    let message = WriteMessage {
        write,
        dataset: place.reference.clone(),
        operation: WriteOperation::Put,
        key: key.iter().map(text).collect(),
        order_value: None,
        row: Some(row),
        created_at: Some((context.clock)().as_millisecond()),
    };
    let message = WorkMessage::Write(Box::new(message));
    Ok(context.queue.send(&[message]).await?)
}

/// Returns the response: the key of the row, and its token if it has one.
fn respond(place: &Place, created: &Created) -> Response {
    let dataset = place.dataset();
    let mut body: Map<String, JsonValue> = place.key_json([&created.last]);
    let last = match (&dataset.token, &created.token) {
        (Some(name), Some(token)) => {
            body.insert(name.clone(), json!(token.reveal()));
            token.reveal().to_owned()
        }
        _ => text(&created.last),
    };
    // Relative to the route, which holds whatever prefix a gateway has added to the path.
    let location = [(header::LOCATION, format!("{}/{last}", dataset.name))];
    (StatusCode::CREATED, location, Json(body)).into_response()
}
