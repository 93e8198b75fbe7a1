//! The `OpenAPI` document, made of the routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi as _};

use crate::cache::has_etag;
use crate::error::Problem;
use crate::routes;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Landfall",
        description = "Rows, totals, jobs and rejects of datasets, and ways to hand in files and rows.\n\n\
            Answers about rows and totals are as they were at most 2 seconds before the request, and never from \
            before the close of a job that was closed by then. They have an `ETag`; with `If-None-Match` what has \
            not changed is answered with 304. `Cache-Control: no-cache` asks the database itself.",
        license(name = "MIT OR Apache-2.0")
    ),
    // Beside the document, whatever a gateway has put before its path.
    servers((url = "./")),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token as `landfall tokens add` makes it"))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document without its routes.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The whole document.
pub fn document() -> OpenApi {
    routes::router().into_openapi()
}

/// The document as it is sent.
pub(crate) struct Document {
    body: Bytes,
    etag: Option<HeaderValue>,
}

impl Document {
    pub(crate) fn new(document: &OpenApi) -> Self {
        // Strings and maps with string keys: it can be written.
        let body = serde_json::to_vec(document).unwrap_or_default();
        let hex = blake3::hash(&body).to_hex();
        Self {
            body: body.into(),
            etag: HeaderValue::try_from(format!("\"{}\"", &hex[..32])).ok(),
        }
    }
}

/// Answers with the document.
pub(crate) async fn serve(State(document): State<Arc<Document>>, headers: HeaderMap) -> Response {
    let is_known = document
        .etag
        .as_ref()
        .is_some_and(|etag| has_etag(&headers, etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], document.body.clone()).into_response()
    };
    let told = response.headers_mut();
    if let Some(etag) = &document.etag {
        told.insert(header::ETAG, etag.clone());
    }
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

type Responses = BTreeMap<String, RefOr<utoipa::openapi::Response>>;

fn problems(statuses: &[(&str, &str)]) -> Responses {
    let problem = |description: &str| {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build()
    };
    statuses
        .iter()
        .map(|(status, description)| ((*status).to_owned(), RefOr::T(problem(description))))
        .collect()
}

/// What every route may answer that needs a token.
pub(crate) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> Responses {
        problems(&[
            ("400", "A part of the request is not what it should be"),
            ("401", "No token, or one that is not taken"),
            ("429", "Too many requests with this token; see Retry-After"),
            ("500", "A defect, or a setting that is wrong"),
            (
                "503",
                "Something that this needs does not answer; see Retry-After",
            ),
        ])
    }
}

/// The token lacks the scope, or is not for the dataset.
pub(crate) struct Forbidden;

impl IntoResponses for Forbidden {
    fn responses() -> Responses {
        problems(&[(
            "403",
            "The token lacks the scope, or is not for this dataset",
        )])
    }
}

/// What a route about one dataset may answer beside.
pub(crate) struct OfDataset;

impl IntoResponses for OfDataset {
    fn responses() -> Responses {
        let mut all = Forbidden::responses();
        all.extend(problems(&[
            ("404", "There is no such thing"),
            (
                "409",
                "The definition of the dataset has an error, or does not allow this",
            ),
        ]));
        all
    }
}

/// What a route that reads from a store may answer beside.
pub(crate) struct FromStore;

impl IntoResponses for FromStore {
    fn responses() -> Responses {
        let mut all = OfDataset::responses();
        let unchanged = ResponseBuilder::new()
            .description("What If-None-Match names still holds")
            .build();
        all.insert("304".to_owned(), RefOr::T(unchanged));
        all.extend(problems(&[
            ("406", "None of the accepted media types can be given"),
            (
                "422",
                "It would take too long, or a row is too large: narrow it",
            ),
        ]));
        all
    }
}

/// What a route with a body may answer beside.
pub(crate) struct WithBody;

impl IntoResponses for WithBody {
    fn responses() -> Responses {
        problems(&[
            ("413", "The body is too large"),
            ("415", "The body is of a media type that is not taken"),
        ])
    }
}
