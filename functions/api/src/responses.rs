//! The error responses that routes declare in the `OpenAPI` document.

#![expect(dead_code, reason = "the variants only describe responses")]

use utoipa::IntoResponses;

use crate::Problem;

/// Errors of every route that needs a token.
#[derive(IntoResponses)]
pub(crate) enum CommonErrors {
    /// A part of the request is invalid
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The token is missing or invalid
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// Too many requests with this token; see Retry-After
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// A defect or a wrong setting of the server
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// A service or database does not respond; see Retry-After
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// The token lacks the scope, or does not cover this dataset
#[derive(IntoResponses)]
#[response(status = 403, content_type = "application/problem+json")]
pub(crate) struct Forbidden(Problem);

/// Further errors of routes about one dataset.
#[derive(IntoResponses)]
pub(crate) enum DatasetErrors {
    /// Not found
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The definition of the dataset is invalid, or does not allow this
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}

/// Further errors of routes about one source.
#[derive(IntoResponses)]
pub(crate) enum SourceErrors {
    /// Not found, or the token does not cover its dataset
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The definition of the source is invalid, or it is paused
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}

/// Further errors of routes about one destination.
#[derive(IntoResponses)]
pub(crate) enum DestinationErrors {
    /// Not found, or the token does not cover its dataset
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The definition of the destination is invalid or new, or it has too many tasks
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}

/// None of the accepted media types is available
#[derive(IntoResponses)]
#[response(status = 406, content_type = "application/problem+json")]
pub(crate) struct NotAcceptable(Problem);

/// Further responses of routes that read from a store.
#[derive(IntoResponses)]
pub(crate) enum ReadResponses {
    #[response(
        status = 304,
        description = "Nothing has changed since the ETag in If-None-Match"
    )]
    Unchanged,
    /// The query would take too long, or a row is too large: narrow the query
    #[response(status = 422, content_type = "application/problem+json")]
    TooLarge(Problem),
}

/// Further errors of routes that write a row.
#[derive(IntoResponses)]
pub(crate) enum WriteErrors {
    /// The row is rejected, the write that was waited for has failed, or the Idempotency-Key is of another request
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
}

/// There is no such write, or no more, or the token does not cover its dataset
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
pub(crate) struct WriteMissing(Problem);

/// Further errors of routes with a request body.
#[derive(IntoResponses)]
pub(crate) enum BodyErrors {
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The media type of the body is not supported
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
}
