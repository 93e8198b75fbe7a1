//! The error responses that routes declare in the `OpenAPI` document.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

type Responses = BTreeMap<String, RefOr<Response>>;

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

/// Errors of every route that needs a token.
pub(crate) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> Responses {
        problems(&[
            ("400", "A part of the request is invalid"),
            ("401", "The token is missing or invalid"),
            ("429", "Too many requests with this token; see Retry-After"),
            ("500", "A defect or a wrong setting of the server"),
            (
                "503",
                "A service or database does not respond; see Retry-After",
            ),
        ])
    }
}

/// The error of routes that need a scope.
pub(crate) struct Forbidden;

impl IntoResponses for Forbidden {
    fn responses() -> Responses {
        problems(&[(
            "403",
            "The token lacks the scope, or does not cover this dataset",
        )])
    }
}

/// Further errors of routes about one dataset.
pub(crate) struct OfDataset;

impl IntoResponses for OfDataset {
    fn responses() -> Responses {
        let mut all = Forbidden::responses();
        all.extend(problems(&[
            ("404", "Not found"),
            (
                "409",
                "The definition of the dataset is invalid, or does not allow this",
            ),
        ]));
        all
    }
}

/// Further responses of routes that read from a store.
pub(crate) struct FromStore;

impl IntoResponses for FromStore {
    fn responses() -> Responses {
        let mut all = OfDataset::responses();
        let unchanged = ResponseBuilder::new()
            .description("Nothing has changed since the ETag in If-None-Match")
            .build();
        all.insert("304".to_owned(), RefOr::T(unchanged));
        all.extend(problems(&[
            ("406", "None of the accepted media types is available"),
            (
                "422",
                "The query would take too long, or a row is too large: narrow the query",
            ),
        ]));
        all
    }
}

/// Further errors of routes with a request body.
pub(crate) struct WithBody;

impl IntoResponses for WithBody {
    fn responses() -> Responses {
        problems(&[
            ("413", "The body is too large"),
            ("415", "The media type of the body is not supported"),
        ])
    }
}
