use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use lambda_http::request::RequestContext;
use landfall_domain::JobId;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::field::display;
use tracing::{error, info};
use uuid::Uuid;

use crate::auth::{TokenName, authenticate};
use crate::children::RouteName;
use crate::{ApiError, Context, MAX_BODY_BYTES, children, openapi};

/// Timeout of a request. That of API Gateway is 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(25);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns the whole application.
pub fn app(context: &Arc<Context>) -> Router {
    let (api, _) = openapi::router().split_for_parts();
    let api = api.route_layer(from_fn_with_state(Arc::clone(context), authenticate));
    let open = Router::new()
        .route("/openapi.json", axum::routing::get(openapi::serve))
        .with_state(Arc::clone(context));
    let mut app = api
        .fallback_service(children::fallback(context))
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .with_state(Arc::clone(context))
        .merge(open)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(finish));
    if !context.settings.cors_origins.is_empty() {
        app = app.layer(cors(&context.settings.cors_origins));
    }
    app
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_ENCODING,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            IDEMPOTENCY_KEY,
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            REQUEST_ID,
        ])
        .max_age(Duration::from_hours(1))
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::Internal("panicked".to_owned()).into_response()
}

/// Assigns the request id, enforces the timeout, turns errors into problems, and logs the request.
async fn finish(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "page".to_owned(), |path| path.as_str().to_owned());
    let named = job_of(request.uri().path());
    let mut response = match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable("the request timed out".to_owned()).into_response(),
    };
    let started_job = response.extensions().get::<JobId>().copied();
    let job = started_job.or(named).map(display);
    let route = response
        .extensions_mut()
        .remove::<RouteName>()
        .map_or(route, |RouteName(route)| route);
    let TokenName(token) = response.extensions_mut().remove().unwrap_or_default();
    if let Some(failed) = response.extensions_mut().remove::<ApiError>() {
        if response.status().is_server_error() {
            error!(request_id, job, error = %failed, "request failed");
        }
        let allow = response.headers_mut().remove(header::ALLOW);
        let allow = allow.map(|allow| [(header::ALLOW, allow)]);
        response = (allow, failed.problem(&request_id)).into_response();
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let headers = [
        (REQUEST_ID, request_id.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let response = (headers, response).into_response();
    let status = response.status().as_u16();
    let milliseconds = started.elapsed().as_millis();
    info!(request_id, %method, route, job, status, milliseconds, token, "request handled");
    response
}

/// Returns the job that a path names.
fn job_of(path: &str) -> Option<JobId> {
    path.strip_prefix("/jobs/")?.split('/').next()?.parse().ok()
}

/// Returns the gateway's request id if there is one, so that both logs can be joined.
fn request_id(request: &Request) -> String {
    let gateway = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    gateway.unwrap_or_else(|| Uuid::new_v4().to_string())
}
