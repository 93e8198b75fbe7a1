use aws_lambda_events::event::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use landfall_auth::Scope;
use landfall_domain::JobState;
use landfall_ledger::{JobHead, JobView, JobsQuery};
use landfall_runtime::LimitError;
use tracing::{info, warn};

use crate::connections::{Connection, MAX_TOPICS};
use crate::gateway::Delivery;
use crate::messages::{ClientMessage, ServerMessage, Topic};
use crate::queue::PushMessage;
use crate::{Context, SocketError};

/// The subprotocol. Browsers cannot set headers, so clients offer their token as a second one.
const PROTOCOL: &str = "landfall";
const BEARER: &str = "bearer.";
/// The most open jobs of a dataset that a new subscriber receives, and the number of newest jobs among which
/// the last closed one is looked for.
const NEWEST_JOBS: usize = 20;

/// Handles a route of the WebSocket API.
pub(crate) async fn respond(
    context: &Context,
    request: &ApiGatewayWebsocketProxyRequest,
) -> Result<ApiGatewayProxyResponse, SocketError> {
    let event = &request.request_context;
    let id = event.connection_id.as_deref();
    let id = id.ok_or(SocketError::Missing("connection id"))?;
    match event.event_type.as_deref() {
        Some("CONNECT") => connect(context, id, request).await,
        Some("DISCONNECT") => {
            context.connections.close(id).await?;
            Ok(status(StatusCode::OK))
        }
        Some("MESSAGE") => {
            message(context, id, request.body.as_deref().unwrap_or_default()).await?;
            Ok(status(StatusCode::OK))
        }
        _ => Err(SocketError::Missing("known event type")),
    }
}

fn status(code: StatusCode) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = code.as_u16().into();
    response
}

async fn connect(
    context: &Context,
    id: &str,
    request: &ApiGatewayWebsocketProxyRequest,
) -> Result<ApiGatewayProxyResponse, SocketError> {
    let offered = Offered::parse(&request.headers);
    let in_query = context
        .token_in_query
        .then(|| request.query_string_parameters.first("token"))
        .flatten();
    let Some(token) = offered.token.as_deref().or(in_query) else {
        return Ok(status(StatusCode::UNAUTHORIZED));
    };
    let Some(grant) = context.tokens.check(token).await? else {
        return Ok(status(StatusCode::UNAUTHORIZED));
    };
    if !grant.has(Scope::Read) {
        info!(
            token = grant.name,
            "refused: the token lacks the scope read"
        );
        return Ok(status(StatusCode::FORBIDDEN));
    }
    if excess(context, &grant.name).await?.is_some() {
        return Ok(status(StatusCode::TOO_MANY_REQUESTS));
    }
    info!(connection = id, token = grant.name, "connected");
    context.connections.open(id, grant).await?;
    let mut response = status(StatusCode::OK);
    if offered.landfall {
        response
            .headers
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(response)
}

/// Counts a connect or a message of a token. Over the limit, returns what to do.
async fn excess(context: &Context, token: &str) -> Result<Option<String>, SocketError> {
    // Wall-clock time, because all instances share the windows.
    match context.limiter.admit(token, Timestamp::now()).await {
        Ok(()) => Ok(None),
        Err(too_many @ LimitError::TooMany(_)) => {
            info!(token, "refused: too many messages");
            Ok(Some(format!("too many messages: {too_many}")))
        }
        Err(LimitError::Ledger(error)) => Err(error.into()),
    }
}

/// The subprotocols that a client offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offered {
    landfall: bool,
    token: Option<String>,
}

impl Offered {
    fn parse(headers: &HeaderMap) -> Self {
        let mut offered = Self::default();
        let protocols = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        for protocol in protocols {
            if protocol == PROTOCOL {
                offered.landfall = true;
            } else if let Some(token) = protocol.strip_prefix(BEARER) {
                offered.token = Some(token.to_owned());
            }
        }
        offered
    }
}

async fn message(context: &Context, id: &str, body: &str) -> Result<(), SocketError> {
    let Some(connection) = context.connections.find(id).await? else {
        reply_error(context, id, "this connection has expired: connect again").await?;
        return context.gateway.close(id).await;
    };
    if let Some(excess) = excess(context, &connection.token).await? {
        return reply_error(context, id, &excess).await;
    }
    match ClientMessage::parse(body) {
        Err(detail) => reply_error(context, id, &detail).await,
        Ok(ClientMessage::Ping) => reply(context, id, &ServerMessage::Pong).await,
        Ok(ClientMessage::Unsubscribe(topic)) => context.connections.unsubscribe(id, &topic).await,
        Ok(ClientMessage::Subscribe(topic)) => subscribe(context, id, &connection, &topic).await,
    }
}

async fn subscribe(
    context: &Context,
    id: &str,
    connection: &Connection,
    topic: &Topic,
) -> Result<(), SocketError> {
    let datasets = &connection.datasets;
    if let Topic::Dataset(name) = topic
        && !datasets.includes(Some(name))
    {
        let detail = format!("this token does not cover the dataset {name}");
        return reply_error(context, id, &detail).await;
    }
    // Before the state is read, so that any later change is pushed.
    if !context.connections.subscribe(id, connection, topic).await? {
        let detail =
            format!("a connection can have {MAX_TOPICS} subscriptions: unsubscribe from one first");
        return reply_error(context, id, &detail).await;
    }
    match topic {
        Topic::Job(job) => {
            // A job that does not exist yet is pushed as soon as it does, if the token covers it. If it does not,
            // the client cannot find out whether the job exists.
            let head = context.ledger.head(*job).await?;
            let Some(head) = head.filter(|head| datasets.includes(head.object.dataset_name()))
            else {
                return Ok(());
            };
            reply_job(context, id, &head).await?;
            if head.published {
                let to = Some(id.to_owned());
                let completion = PushMessage { job: *job, to };
                context.queue.send(&[completion]).await?;
            }
        }
        Topic::Dataset(name) => {
            for head in current_jobs(context, name).await? {
                reply_job(context, id, &head).await?;
            }
        }
    }
    Ok(())
}

/// Returns the job that closed last among a dataset's newest, then its open jobs from old to new.
async fn current_jobs(context: &Context, dataset: &str) -> Result<Vec<JobHead>, SocketError> {
    let query = |state: Option<JobState>| JobsQuery {
        datasets: Some(vec![dataset.to_owned()]),
        state,
        limit: NEWEST_JOBS,
        after: None,
    };
    let newest = context.ledger.jobs(&query(None)).await?.heads;
    let open = query(Some(JobState::Open));
    let open = context.ledger.jobs(&open).await?.heads;
    let closed = newest
        .into_iter()
        .filter(|head| head.closed_at.is_some())
        .max_by(|one, other| one.closed_at.cmp(&other.closed_at));
    Ok(closed.into_iter().chain(open.into_iter().rev()).collect())
}

async fn reply_job(context: &Context, id: &str, head: &JobHead) -> Result<(), SocketError> {
    let view = JobView::read(&*context.ledger, head).await?;
    reply(context, id, &ServerMessage::Job { job: &view }).await
}

async fn reply_error(context: &Context, id: &str, detail: &str) -> Result<(), SocketError> {
    reply(context, id, &ServerMessage::Error { detail }).await
}

async fn reply(
    context: &Context,
    id: &str,
    message: &ServerMessage<'_>,
) -> Result<(), SocketError> {
    if context.gateway.post(id, &message.encode()?).await? == Delivery::Gone {
        warn!(connection = id, "gone before the reply");
        context.connections.close(id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(values: &[&'static str]) -> Offered {
        let headers = values
            .iter()
            .map(|value| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value)));
        Offered::parse(&headers.collect())
    }

    #[test]
    fn the_token_is_one_of_the_subprotocols() {
        let both = Offered {
            landfall: true,
            token: Some("lf_x".to_owned()),
        };
        assert_eq!(offered(&["landfall, bearer.lf_x"]), both);
        assert_eq!(offered(&["bearer.lf_x", "landfall"]), both);
        assert_eq!(offered(&["graphql-ws,Bearer lf_x"]), Offered::default());
        assert_eq!(offered(&[]), Offered::default());
    }

    #[test]
    fn the_handshake_headers_of_the_gateway_are_parsed() {
        let event = include_str!("../../../events/socket-connect.json");
        let request: ApiGatewayWebsocketProxyRequest = serde_json::from_str(event).unwrap();
        let offered = Offered::parse(&request.headers);
        assert!(offered.landfall);
        assert_eq!(
            offered.token.as_deref(),
            Some("lf_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        );
    }
}
