use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_auth::{AuthError, Scope};
use landfall_aws::AwsError;
use landfall_domain::QueryError;
use landfall_ledger::LedgerError;
use landfall_stores::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request failed. Clients receive a [`Problem`]; the message here is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The token is missing or invalid.
    #[error("the token is missing or invalid")]
    Unauthorized,
    /// The token lacks this scope.
    #[error("the token lacks the scope {0}")]
    Scope(Scope),
    /// The token does not cover this dataset.
    #[error("the token does not cover dataset {0}")]
    Dataset(String),
    /// The thing does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The job does not exist, or not yet, or the token does not cover it.
    #[error("no such job, or not yet")]
    NoJob,
    /// The path does not support this method.
    #[error("method not allowed")]
    Method,
    /// A part of the request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The query is invalid.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The query would take too long.
    #[error("{0}")]
    Costly(String),
    /// None of the accepted media types is available. Names the available ones.
    #[error("the client accepts none of {0}")]
    NotAcceptable(&'static str),
    /// The dataset's definition is invalid, or does not allow the request.
    #[error("{0}")]
    Conflict(String),
    /// The body has more than this number of bytes.
    #[error("the body has more than {0} bytes")]
    BodyTooLarge(usize),
    /// The rows of a page by number do not fit a response.
    #[error("the page does not fit a response")]
    PageTooLarge,
    /// A row has more than this number of bytes, the maximum of a response.
    #[error("a row has more than {0} bytes")]
    RowTooLarge(usize),
    /// The media type of the body is not supported.
    #[error("{0}")]
    MediaType(String),
    /// Too many requests with this token; says how long to wait.
    #[error("too many requests")]
    TooMany(Duration),
    /// A service or store does not respond.
    #[error("{0}")]
    Unavailable(String),
    /// The request took too long.
    #[error("the request timed out")]
    Timeout,
    /// A defect, or a wrong setting.
    #[error("{0}")]
    Internal(String),
    /// The error of a read that several requests share.
    #[error(transparent)]
    Shared(#[from] Arc<ApiError>),
}

/// An error response, as in RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The kind of problem, for programs: `urn:landfall:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(example = "urn:landfall:problem:not_found")]
    pub kind: String,
    /// The kind of problem, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
    /// The id of the request, which is also in the log.
    pub request_id: String,
}

impl ApiError {
    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// Returns status, code and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Missing or invalid token",
            ),
            Self::Scope(_) | Self::Dataset(_) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The token does not allow this",
            ),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::NoJob => (StatusCode::NOT_FOUND, "no_job", "No such job yet"),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            ),
            Self::Invalid(_) => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The request is not valid",
            ),
            Self::Query(_) => (
                StatusCode::BAD_REQUEST,
                "invalid_query",
                "The query is not valid",
            ),
            Self::Costly(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_costly",
                "The query takes too long",
            ),
            Self::NotAcceptable(_) => (
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "No accepted media type is available",
            ),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::BodyTooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is too large",
            ),
            Self::PageTooLarge => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "page_too_large",
                "The page is too large",
            ),
            Self::RowTooLarge(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "row_too_large",
                "A row is too large",
            ),
            Self::MediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                "Media type not supported",
            ),
            Self::TooMany(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
            ),
            Self::Unavailable(_) | Self::Timeout => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
            ),
            Self::Shared(error) => error.kind(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unauthorized => {
                "send the header \"Authorization: Bearer <token>\" with a valid token: `landfall tokens add` creates one".to_owned()
            }
            Self::Scope(scope) => format!("use a token with the scope {scope}"),
            Self::Dataset(dataset) => format!("use a token for the dataset {dataset}"),
            Self::NotFound(detail) => detail.clone(),
            Self::NoJob => {
                "there is no job with this id yet: a job starts within seconds of its file; try again shortly".to_owned()
            }
            Self::Method => "use one of the methods in the header Allow".to_owned(),
            Self::Costly(_) => {
                "narrow the query: add conditions on the key or on indexed fields, or lower limit".to_owned()
            }
            Self::NotAcceptable(types) => format!("accept one of {types}"),
            Self::BodyTooLarge(most) => format!(
                "send at most {most} bytes, or upload a larger file with POST /uploads"
            ),
            Self::PageTooLarge => {
                "the rows of this page do not fit a response: lower limit, or continue with a cursor".to_owned()
            }
            Self::RowTooLarge(most) => {
                format!("a row is larger than the {most} bytes of a response: read it from the database")
            }
            Self::TooMany(wait) => format!("wait {} s, then try again", seconds(*wait)),
            Self::Unavailable(_) | Self::Timeout => "try again in a few seconds".to_owned(),
            Self::Internal(_) => {
                "report the request id to the operator; the log has the cause".to_owned()
            }
            Self::Query(error) => error.to_string(),
            Self::Invalid(detail) | Self::Conflict(detail) | Self::MediaType(detail) => {
                detail.clone()
            }
            Self::Shared(error) => error.detail(),
        }
    }

    /// Returns the seconds after which the same request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoJob => Some(1),
            Self::TooMany(wait) => Some(seconds(*wait)),
            Self::Unavailable(_) | Self::Timeout => Some(5),
            Self::Shared(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Returns the error response.
    pub(crate) fn problem(&self, request_id: &str) -> Response {
        let (status, code, title) = self.kind();
        let problem = Problem {
            kind: format!("urn:landfall:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            request_id: request_id.to_owned(),
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let challenge = match self {
            Self::Unauthorized => Some("Bearer realm=\"landfall\""),
            Self::Scope(_) => Some("Bearer realm=\"landfall\", error=\"insufficient_scope\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        response
    }
}

/// Rounds up to whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

/// The error of a response, for the outermost layer, which adds the request id.
#[derive(Clone)]
pub(crate) struct Failed(pub(crate) Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}

fn failure(retryable: bool, message: String) -> ApiError {
    if retryable {
        ApiError::Unavailable(message)
    } else {
        ApiError::Internal(message)
    }
}

impl From<AwsError> for ApiError {
    fn from(error: AwsError) -> Self {
        failure(error.retryable(), error.to_string())
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        failure(error.retryable(), error.to_string())
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        failure(error.retryable(), error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Query(error) => Self::Query(error),
            StoreError::Exceeded { .. } => Self::Costly(error.to_string()),
            // The message has names of tables and columns and what to do, but no values.
            StoreError::Schema { .. } => Self::Conflict(error.to_string()),
            error => failure(error.is_retryable(), error.to_string()),
        }
    }
}
