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

/// Why a request was not answered. What a client is told is in [`Problem`]; the message here is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No token, or one that is not taken.
    #[error("no token that is taken")]
    Unauthorized,
    /// The token lacks this scope.
    #[error("the token lacks the scope {0}")]
    Scope(Scope),
    /// The token is not for this dataset.
    #[error("the token is not for dataset {0}")]
    Dataset(String),
    /// There is no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// There is no such job, or not yet, or not for this token.
    #[error("no such job, or not yet")]
    NoJob,
    /// The path is there, but not for this method.
    #[error("method not allowed")]
    Method,
    /// A part of the request is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// A question that cannot be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A question that would take a store too long.
    #[error("{0}")]
    Costly(String),
    /// None of the media types that are accepted.
    #[error("none of the accepted media types: {0}")]
    NotAcceptable(&'static str),
    /// The dataset's definition has an error, or contradicts what is asked.
    #[error("{0}")]
    Conflict(String),
    /// The request's body is too large.
    #[error("a body over {0} bytes")]
    BodyTooLarge(usize),
    /// A page by number whose rows no answer can hold.
    #[error("a page by number over the size of an answer")]
    PageTooLarge,
    /// A row that no answer can hold.
    #[error("a row over the size of an answer")]
    RowTooLarge,
    /// The request's body is of another media type.
    #[error("{0}")]
    MediaType(String),
    /// Too many requests with this token.
    #[error("too many requests")]
    TooMany(Duration),
    /// A service or store that this needs does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The time of the request is over.
    #[error("no time is left")]
    Time,
    /// A defect, or a setting that is wrong.
    #[error("{0}")]
    Internal(String),
    /// The error of another request that asked the same.
    #[error(transparent)]
    Shared(#[from] Arc<ApiError>),
}

/// What a client is told of an error, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, for programs: `urn:landfall:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(example = "urn:landfall:problem:not_found")]
    pub kind: String,
    /// What kind of problem, for people.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
    /// The id of the request; the log has it too.
    pub request_id: String,
}

impl ApiError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.told().0
    }

    fn told(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "No token that is accepted",
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
                "The question cannot be asked",
            ),
            Self::Costly(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_costly",
                "The question takes too long to answer",
            ),
            Self::NotAcceptable(_) => (
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "No accepted media type",
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
                "The page is too large for an answer",
            ),
            Self::RowTooLarge => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "row_too_large",
                "A row is too large for an answer",
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
            Self::Unavailable(_) | Self::Time => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not available at the moment",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something is wrong here",
            ),
            Self::Shared(error) => error.told(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unauthorized => {
                "send the header \"Authorization: Bearer <token>\", with a token that is on the list: `landfall tokens add` makes one".to_owned()
            }
            Self::Scope(scope) => format!("this needs a token with the scope {scope}"),
            Self::Dataset(dataset) => format!("this needs a token for the dataset {dataset}"),
            Self::NotFound(what) => what.clone(),
            Self::NoJob => {
                "there is no job of this id, or not yet: a job begins within seconds of its file; try again shortly".to_owned()
            }
            Self::Method => "the header Allow says which methods this path has".to_owned(),
            Self::Costly(_) => {
                "narrow it: add conditions on the key or on indexed fields, or ask for fewer rows".to_owned()
            }
            Self::NotAcceptable(types) => format!("accept one of {types}"),
            Self::BodyTooLarge(most) => format!(
                "send at most {most} bytes, or ask POST /uploads for a place to put a larger file"
            ),
            Self::PageTooLarge => {
                "lower limit, or go on by cursor: the rows of this page are more than an answer holds".to_owned()
            }
            Self::RowTooLarge => {
                format!("a row is larger than the {} bytes of an answer: read it from the database", crate::MAX_ANSWER_BYTES)
            }
            Self::TooMany(wait) => format!("wait {} s, then try again", seconds(*wait)),
            Self::Unavailable(_) | Self::Time => "try again in some seconds".to_owned(),
            Self::Internal(_) => {
                "tell whoever runs this, with the request id; the log has the cause".to_owned()
            }
            Self::Query(error) => error.to_string(),
            Self::Invalid(detail) | Self::Conflict(detail) | Self::MediaType(detail) => {
                detail.clone()
            }
            Self::Shared(error) => error.detail(),
        }
    }

    /// Seconds after which the same request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoJob => Some(1),
            Self::TooMany(wait) => Some(seconds(*wait)),
            Self::Unavailable(_) | Self::Time => Some(5),
            Self::Shared(error) => error.retry_after(),
            _ => None,
        }
    }

    /// The answer, with the request's id.
    pub(crate) fn answer(&self, request_id: &str) -> Response {
        let (status, code, title) = self.told();
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

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

/// The error of a response, until the outermost layer, which knows the request's id, writes it down.
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
            // Names of tables and columns, and what to do; no values.
            StoreError::Schema { .. } => Self::Conflict(error.to_string()),
            error => failure(error.is_retryable(), error.to_string()),
        }
    }
}
