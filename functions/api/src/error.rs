use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use landfall_auth::{AuthError, Scope};
use landfall_aws::AwsError;
use landfall_domain::{QueryError, RejectCode};
use landfall_ledger::LedgerError;
use landfall_runtime::LimitError;
use landfall_stores::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{MAX_BODY_BYTES, MAX_RESPONSE_BYTES};

/// Why a request failed. The message is the `detail` of the client's [`Problem`], except for failures of the server:
/// their message is for the log only.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// The token is missing or invalid.
    #[error(
        "send the header \"Authorization: Bearer <token>\" with a valid token: `landfall tokens add` creates one"
    )]
    Unauthorized,
    /// The token lacks this scope.
    #[error("use a token with the scope {0}")]
    Scope(Scope),
    /// The token does not cover this dataset.
    #[error("use a token for the dataset {0}")]
    Dataset(String),
    /// The thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The job does not exist, or not yet, or the token does not cover it.
    #[error(
        "there is no job with this id yet: a job starts within seconds of its file; try again shortly"
    )]
    NoJob,
    /// The path does not support this method.
    #[error("use one of the methods in the header Allow")]
    Method,
    /// A part of the request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The query is invalid.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The query would take too long.
    #[error("narrow the query: add conditions on the key or on indexed fields, or lower limit")]
    Costly,
    /// None of the accepted media types is available. Names the available ones.
    #[error("accept one of {0}")]
    NotAcceptable(&'static str),
    /// The dataset's definition is invalid, or does not allow the request.
    #[error("{0}")]
    Conflict(String),
    /// A file with the row would have a reject.
    #[error("{message}")]
    Rejected {
        /// The column that is the reason, if a single one is.
        column: Option<String>,
        /// The reason, for programs.
        code: RejectCode,
        /// The reason, for people.
        message: String,
    },
    /// The write that the request waited for has failed.
    #[error("{0}")]
    WriteFailed(String),
    /// Another request has used the idempotency key.
    #[error(
        "another request of this token has used this Idempotency-Key in the last 24 hours: send a new one"
    )]
    OtherRequest,
    /// The first request with the idempotency key is not answered yet; says how many seconds to wait.
    #[error("a request with this Idempotency-Key is being handled: try again in {0} s")]
    InFlight(u64),
    /// The body has more than [`MAX_BODY_BYTES`].
    #[error("send at most {MAX_BODY_BYTES} bytes, or upload a larger file with POST /uploads")]
    BodyTooLarge,
    /// The rows of a page by number do not fit a response.
    #[error("the rows of this page do not fit a response: lower limit, or continue with a cursor")]
    PageTooLarge,
    /// A row has more than [`MAX_RESPONSE_BYTES`].
    #[error(
        "a row is larger than the {MAX_RESPONSE_BYTES} bytes of a response: read it from the database"
    )]
    RowTooLarge,
    /// The media type of the body is not supported.
    #[error("{0}")]
    MediaType(String),
    /// Too many requests with this token; says how many seconds to wait.
    #[error("wait {0} s, then try again")]
    TooMany(u64),
    /// A service or store does not respond, or the request took too long.
    #[error("{0}")]
    Unavailable(String),
    /// A defect, or a wrong setting.
    #[error("{0}")]
    Internal(String),
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
    /// Why a row is rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<RejectedRow>,
}

/// Why a row is rejected.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedRow {
    /// The reason.
    pub code: RejectCode,
    /// The column that is the reason, if a single one is.
    pub column: Option<String>,
}

impl ApiError {
    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Scope(_) | Self::Dataset(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoJob => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Costly
            | Self::PageTooLarge
            | Self::RowTooLarge
            | Self::Rejected { .. }
            | Self::WriteFailed(_)
            | Self::OtherRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict(_) | Self::InFlight(_) => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code_and_title(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized => ("unauthorized", "Missing or invalid token"),
            Self::Scope(_) | Self::Dataset(_) => ("forbidden", "The token does not allow this"),
            Self::NotFound(_) => ("not_found", "Not found"),
            Self::NoJob => ("no_job", "No such job yet"),
            Self::Method => ("method_not_allowed", "Method not allowed"),
            Self::Invalid(_) => ("invalid_request", "The request is not valid"),
            Self::Query(_) => ("invalid_query", "The query is not valid"),
            Self::Costly => ("too_costly", "The query takes too long"),
            Self::NotAcceptable(_) => ("not_acceptable", "No accepted media type is available"),
            Self::Conflict(_) => ("conflict", "Conflict"),
            Self::Rejected { .. } => ("rejected", "The row is rejected"),
            Self::WriteFailed(_) => ("write_failed", "The row could not be written"),
            Self::OtherRequest => ("other_request", "The idempotency key is of another request"),
            Self::InFlight(_) => ("in_flight", "The same request is being handled"),
            Self::BodyTooLarge => ("body_too_large", "The body is too large"),
            Self::PageTooLarge => ("page_too_large", "The page is too large"),
            Self::RowTooLarge => ("row_too_large", "A row is too large"),
            Self::MediaType(_) => ("media_type", "Media type not supported"),
            Self::TooMany(_) => ("too_many_requests", "Too many requests"),
            Self::Unavailable(_) => ("unavailable", "Temporarily unavailable"),
            Self::Internal(_) => ("internal", "Internal error"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unavailable(_) => "try again in a few seconds".to_owned(),
            Self::Internal(_) => {
                "report the request id to the operator; the log has the cause".to_owned()
            }
            error => error.to_string(),
        }
    }

    /// Returns the seconds after which the same request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoJob => Some(1),
            Self::TooMany(seconds) | Self::InFlight(seconds) => Some(*seconds),
            Self::Unavailable(_) => Some(5),
            _ => None,
        }
    }

    /// Returns the error response.
    pub(crate) fn problem(&self, request_id: &str) -> Response {
        let (status, (code, title)) = (self.status(), self.code_and_title());
        let problem = Problem {
            kind: format!("urn:landfall:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            request_id: request_id.to_owned(),
            reject: match self {
                Self::Rejected { column, code, .. } => Some(RejectedRow {
                    code: *code,
                    column: column.clone(),
                }),
                _ => None,
            },
        };
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let retry_after = self
            .retry_after()
            .map(|seconds| [(header::RETRY_AFTER, HeaderValue::from(seconds))]);
        let challenge = match self {
            Self::Unauthorized => Some("Bearer realm=\"landfall\""),
            Self::Scope(_) => Some("Bearer realm=\"landfall\", error=\"insufficient_scope\""),
            _ => None,
        };
        let challenge = challenge.map(|challenge| [(header::WWW_AUTHENTICATE, challenge)]);
        (status, retry_after, challenge, media_type, Json(problem)).into_response()
    }
}

impl IntoResponse for ApiError {
    /// Returns an empty response that carries the error to the outermost layer, which adds the request id.
    fn into_response(self) -> Response {
        (self.status(), Extension(self)).into_response()
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

impl From<LimitError> for ApiError {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::TooMany(seconds) => Self::TooMany(seconds),
            LimitError::Ledger(error) => error.into(),
        }
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
            StoreError::Exceeded { .. } => Self::Costly,
            // The message has names of tables and columns and what to do, but no values.
            StoreError::Schema { .. } | StoreError::Building(_) | StoreError::Indexing(_) => {
                Self::Conflict(error.to_string())
            }
            error => failure(error.is_retryable(), error.to_string()),
        }
    }
}
