use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_auth::Scope;
use landfall_domain::{Dataset, excerpt, is_name};
use landfall_formats::infer::Source;
use landfall_preview::{
    Choices, Form, FormError, Report, check_start, choose_start, form, suggest_start,
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::ApiError;
use crate::auth::Caller;
use crate::extract;
use crate::responses::{BodyErrors, CommonErrors, Forbidden};

/// The maximum number of bytes of a file that are looked at.
const MAX_START: usize = 1024 * 1024;

/// The start of a file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileStart {
    /// The name of its dataset, which need not exist.
    #[schema(example = "flights")]
    dataset: String,
    /// The name of the file, whose extension may say its format.
    #[schema(example = "flights.csv")]
    name: String,
    /// The size of the whole file in bytes.
    #[schema(minimum = 1)]
    size: u64,
    /// The first bytes of the file, in base64, at most 1 MiB.
    start: String,
    /// A definition to check the file against, in TOML. By default, one is inferred.
    definition: Option<String>,
    /// What to change in the definition: the names of the dataset and of the fields of its key, and `name`, `type` and
    /// `required` of all fields. The key is the place of a row in its file if it names no fields.
    #[schema(value_type = Option<Object>, example = json!({
        "name": "flights",
        "key": ["flight_no"],
        "fields": [{ "name": "flight_no", "type": "text", "required": false }],
    }))]
    choices: Option<Choices>,
}

/// What would happen to a file.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    /// The definition, in TOML. An inferred one has comments that say what is uncertain.
    definition: String,
    /// The definition as a form: `name` of the dataset, `key` and the comments on it, and `name`, `column`, `type`,
    /// `required` and the comments of each field.
    #[schema(value_type = Object)]
    form: Form,
    /// What would happen to the records of the start: format, encoding, problem, warnings, numbers of rows and rejects,
    /// rejects by reason, and first rows.
    #[schema(value_type = Object)]
    report: Report,
}

/// Preview a file
///
/// Infers the definition of a dataset from the start of a file, or takes the given one, rewrites it for the choices if
/// there are any, and reports what would happen to the records of the start. Nothing is stored.
#[utoipa::path(
    post,
    path = "/previews",
    operation_id = "preview_file",
    tag = "datasets",
    request_body = FileStart,
    responses((status = 200, description = "The preview", body = Preview), CommonErrors, Forbidden, BodyErrors)
)]
pub(crate) async fn preview(
    caller: Caller,
    extract::Json(file): extract::Json<FileStart>,
) -> Result<Json<Preview>, ApiError> {
    caller.require(Scope::Write, &file.dataset)?;
    if !is_name(&file.dataset) {
        return Err(ApiError::Invalid(format!(
            "{:?} is no name of a dataset: it must start with a letter a-z and contain only a-z, 0-9 and _",
            excerpt(&file.dataset)
        )));
    }
    let start = STANDARD.decode(&file.start);
    let start = start.map_err(|error| ApiError::Invalid(format!("start: {error}")))?;
    if start.len() > MAX_START || start.len() as u64 > file.size {
        return Err(ApiError::Invalid(format!(
            "start: send at most {MAX_START} bytes, and no more than the file has"
        )));
    }
    let preview = spawn_blocking(move || preview_of(file, &start));
    let preview = preview.await;
    preview
        .map_err(|error| ApiError::Internal(error.to_string()))?
        .map(Json)
}

fn preview_of(file: FileStart, start: &[u8]) -> Result<Preview, ApiError> {
    let source = Source {
        dataset: &file.dataset,
        file: &file.name,
        size: file.size,
    };
    let infer = || {
        let suggestion = suggest_start(source, start);
        suggestion.map_err(|problem| ApiError::Invalid(problem.message))
    };
    let invalid = |error: FormError| ApiError::Invalid(error.to_string());
    let (definition, report) = match (file.definition, &file.choices) {
        (None, None) => {
            let suggestion = infer()?;
            (suggestion.definition, suggestion.report)
        }
        (Some(definition), None) => {
            let report = check_start(&parse(&definition)?, &file.name, file.size, start);
            (definition, report)
        }
        (definition, Some(choices)) => {
            let infer = || infer().map(|suggestion| suggestion.definition);
            let definition = definition.map_or_else(infer, Ok)?;
            choose_start(&definition, choices, source, start).map_err(invalid)?
        }
    };
    let form = form(&definition).map_err(invalid)?;
    Ok(Preview {
        definition,
        form,
        report,
    })
}

/// Parses a definition of a request.
pub(super) fn parse(definition: &str) -> Result<Dataset, ApiError> {
    Dataset::from_toml("definition", definition)
        .map_err(|error| ApiError::Invalid(error.to_string()))
}
