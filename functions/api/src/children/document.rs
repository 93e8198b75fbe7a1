//! The paths of rows with tokens or numbers in the `OpenAPI` document.

use std::sync::{Arc, Mutex, PoisonError};

use landfall_domain::{Dataset, FieldType, check_family};
use serde_json::{Map, Value as Json, json};

use crate::openapi::{self, Document};
use crate::{ApiError, Context};

/// The document, and the datasets that it describes.
type Described = (Arc<[Arc<Dataset>]>, Arc<Document>);

/// The document of the stack, which is encoded again when the datasets are read again.
#[derive(Default)]
pub(crate) struct Documents {
    cached: Mutex<Option<Described>>,
}

impl Documents {
    /// Returns the document.
    pub(crate) async fn get(&self, context: &Context) -> Result<Arc<Document>, ApiError> {
        let datasets = context.families.all(context).await?;
        let cached = || self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((described, document)) = &*cached()
            && Arc::ptr_eq(described, &datasets)
        {
            return Ok(Arc::clone(document));
        }
        let mut document = serde_json::to_value(openapi::document())
            .map_err(|error| ApiError::Internal(error.to_string()))?;
        if let Some(paths) = document["paths"].as_object_mut() {
            for dataset in &*datasets {
                if let Some(line) = line(&datasets, dataset) {
                    add_paths(paths, &line);
                }
            }
        }
        let document = Arc::new(Document::new(&document));
        *cached() = Some((datasets, Arc::clone(&document)));
        Ok(document)
    }
}

/// Returns the line of a dataset, from the one with the token; `None` if it is not valid.
fn line(all: &[Arc<Dataset>], dataset: &Arc<Dataset>) -> Option<Vec<Arc<Dataset>>> {
    let mut line = vec![Arc::clone(dataset)];
    while let Some(child) = line.last().and_then(|last| last.child.as_ref()) {
        let parent = all.iter().find(|other| other.name == child.parent)?;
        if line.len() > landfall_domain::MAX_GENERATIONS {
            return None;
        }
        line.push(Arc::clone(parent));
    }
    check_family(&line).ok()?;
    line.reverse();
    Some(line)
}

fn add_paths(paths: &mut Map<String, Json>, line: &[Arc<Dataset>]) {
    let Some((dataset, above)) = line.split_last() else {
        return;
    };
    let segment =
        |parent: &Arc<Dataset>| format!("/{}/{{{}}}", parent.name, parameter_name(parent));
    let start: String = above.iter().map(segment).collect();
    let mut parameters: Vec<Json> = above.iter().map(|parent| parameter(parent)).collect();
    let path = format!("{start}/{}", dataset.name);
    paths.insert(
        path,
        json!({
            "get": list(dataset, "list", &parameters, "the rows with one parent, or all rows with tokens"),
            "post": create(dataset, &parameters),
        }),
    );
    if let [root, .., _] = above {
        let all = format!("/{}/{{token}}/{}", root.name, dataset.name);
        let listed = list(
            dataset,
            "list_all",
            &[parameter(root)],
            "the rows below a row with a token",
        );
        paths.insert(all, json!({ "get": listed }));
    }
    let path = start + &segment(dataset);
    parameters.push(parameter(dataset));
    paths.insert(
        path,
        json!({
            "get": one(dataset, &parameters),
            "patch": write(dataset, "change", &parameters),
            "delete": write(dataset, "delete", &parameters),
        }),
    );
}

fn parameter_name(dataset: &Dataset) -> String {
    if dataset.token.is_some() {
        "token".to_owned()
    } else {
        format!("{}_number", dataset.name)
    }
}

fn parameter(dataset: &Dataset) -> Json {
    let name = parameter_name(dataset);
    if dataset.token.is_some() {
        let description = format!(
            "The token of a row of {}; for tokens of the API, also the key of the row",
            dataset.name
        );
        return json!({ "name": name, "in": "path", "required": true, "description": description,
            "schema": { "type": "string" } });
    }
    let description = format!("The number of a row of {}", dataset.name);
    json!({ "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "integer", "format": "int64", "minimum": 1 } })
}

fn query(name: &str, description: &str, schema: &Json) -> Json {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn at_least() -> Json {
    let description =
        "Waits until the store has the row of this number, or its delete, for at most 10 seconds";
    query(
        "at_least",
        description,
        &json!({ "type": "integer", "format": "int64", "minimum": 1 }),
    )
}

fn idempotency_key() -> Json {
    json!({ "name": "idempotency-key", "in": "header", "required": false,
        "description": "Identifies the request among those of the token", "schema": { "type": "string" } })
}

fn operation(dataset: &Dataset, verb: &str, summary: &str, parameters: &[Json]) -> Json {
    json!({
        "tags": [dataset.name],
        "operationId": format!("{}.{verb}", dataset.name),
        "summary": summary,
        "parameters": parameters,
        "responses": problems(),
    })
}

/// Returns the responses that any of these operations may have.
fn problems() -> Json {
    let problem = |description: &str| {
        let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        json!({ "description": description, "content": { "application/problem+json": schema } })
    };
    json!({
        "400": problem("A part of the request is invalid"),
        "401": problem("The token is missing or invalid"),
        "403": problem("The token of the API lacks the scope, or does not cover this dataset"),
        "404": problem("Not found, or not open to the token of the row"),
        "409": problem("The definition does not allow this, or the same request is being handled"),
        "429": problem("Too many requests with this token, or rows with this parent; see Retry-After"),
        "500": problem("A defect or a wrong setting of the server"),
        "503": problem("A service or database does not respond; see Retry-After"),
    })
}

fn respond(operation: &mut Json, status: &str, description: &str, content: Option<Json>) {
    let mut response = json!({ "description": description });
    if let Some(schema) = content {
        response["content"] = json!({ "application/json": { "schema": schema } });
    }
    operation["responses"][status] = response;
}

fn problem(operation: &mut Json, status: &str, description: &str) {
    respond(operation, status, description, None);
    let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    operation["responses"][status]["content"] = json!({ "application/problem+json": schema });
}

fn list(dataset: &Dataset, verb: &str, parameters: &[Json], what: &str) -> Json {
    let mut parameters = parameters.to_vec();
    let text = || json!({ "type": "string" });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 });
    parameters.push(query("limit", "The maximum number of rows", &limit));
    parameters.push(query("cursor", "`next` of the previous page", &text()));
    let sort = "The number, an indexed field, or with `search` also `relevance`; descending with a leading `-`";
    parameters.push(query("sort", sort, &text()));
    if !dataset.search_indexes().is_empty() {
        let search = json!({ "type": "string", "maxLength": 200 });
        let words = "Words that rows must have in the searched fields; the newest rows come first";
        parameters.push(query("search", words, &search));
    }
    let conditions = json!({ "type": "array", "items": text() });
    parameters.push(query(
        "where",
        "Conditions `field:op:value`, which must all hold",
        &conditions,
    ));
    if dataset.child.is_some() && verb == "list" {
        parameters.push(at_least());
    }
    let mut operation = operation(
        dataset,
        verb,
        &format!("List {what} of {}", dataset.name),
        &parameters,
    );
    let page = json!({
        "type": "object",
        "required": ["rows", "next", "last_number", "voids"],
        "properties": {
            "rows": { "type": "array", "items": row(dataset) },
            "next": { "type": ["string", "null"], "description": "The cursor of the next page; null on the last page" },
            "last_number": { "type": ["integer", "null"],
                "description": "The last number that is given out under the parent" },
            "voids": { "type": "array", "items": { "type": "integer" },
                "description": "The numbers in the range of the page whose rows never arrived" },
        },
    });
    respond(&mut operation, "200", "A page of rows", Some(page));
    respond(
        &mut operation,
        "202",
        "The number of at_least is not stored yet; see Retry-After",
        Some(json!({ "type": "object" })),
    );
    respond(
        &mut operation,
        "304",
        "Nothing has changed since the ETag in If-None-Match",
        None,
    );
    problem(&mut operation, "406", "The response is JSON");
    problem(
        &mut operation,
        "422",
        "The query would take too long, or a row is too large",
    );
    operation
}

fn one(dataset: &Dataset, parameters: &[Json]) -> Json {
    let mut parameters = parameters.to_vec();
    if dataset.child.is_some() {
        parameters.push(at_least());
    }
    let mut operation = operation(
        dataset,
        "get",
        &format!("Get a row of {}", dataset.name),
        &parameters,
    );
    respond(
        &mut operation,
        "200",
        "The row, with the counts and last numbers of what belongs to it",
        Some(row(dataset)),
    );
    respond(
        &mut operation,
        "202",
        "The row is not stored yet; see Retry-After",
        Some(json!({ "type": "object" })),
    );
    respond(
        &mut operation,
        "304",
        "Nothing has changed since the ETag in If-None-Match",
        None,
    );
    problem(&mut operation, "406", "The response is JSON");
    problem(&mut operation, "422", "The row is too large");
    operation
}

fn create(dataset: &Dataset, parameters: &[Json]) -> Json {
    let mut parameters = parameters.to_vec();
    parameters.push(idempotency_key());
    let mut operation = operation(
        dataset,
        "create",
        &format!("Create a row of {}", dataset.name),
        &parameters,
    );
    operation["requestBody"] = body("The row, without its key");
    let mut key = row_of(dataset, true);
    if let Some(token) = &dataset.token {
        let text =
            json!({ "type": "string", "description": "The token, which is shown only here" });
        key["properties"][token] = text;
    }
    respond(
        &mut operation,
        "201",
        "The key of the row, which will be stored within moments",
        Some(key),
    );
    operation["responses"]["201"]["headers"] =
        json!({ "location": { "description": "The row", "schema": { "type": "string" } } });
    refusals(&mut operation);
    operation
}

fn write(dataset: &Dataset, verb: &str, parameters: &[Json]) -> Json {
    let mut parameters = parameters.to_vec();
    parameters.push(idempotency_key());
    let wait = "Whether to wait until the stores have it, for at most 10 seconds";
    parameters.push(query("wait", wait, &json!({ "type": "boolean" })));
    let is_change = verb == "change";
    let summary = if is_change {
        "Write some columns of a row"
    } else {
        "Delete a row"
    };
    let mut operation = operation(
        dataset,
        verb,
        &format!("{summary} of {}", dataset.name),
        &parameters,
    );
    if is_change {
        operation["requestBody"] = body("Columns of the row");
    }
    let write = json!({ "$ref": "#/components/schemas/Write" });
    respond(
        &mut operation,
        "200",
        "With wait: the stores have it",
        Some(write.clone()),
    );
    respond(&mut operation, "202", "It will be written", Some(write));
    refusals(&mut operation);
    operation
}

fn refusals(operation: &mut Json) {
    problem(operation, "413", "The body is too large");
    problem(
        operation,
        "415",
        "The media type of the body is not supported",
    );
    problem(
        operation,
        "422",
        "The row is rejected, or the Idempotency-Key is of another request",
    );
}

fn body(description: &str) -> Json {
    json!({ "description": description, "content": { "application/json": { "schema": { "type": "object" } } } })
}

fn row(dataset: &Dataset) -> Json {
    row_of(dataset, false)
}

/// Returns the schema of a row, or of its key.
fn row_of(dataset: &Dataset, only_key: bool) -> Json {
    let fields = dataset.fields.iter().enumerate();
    let fields = fields.filter(|(index, _)| !only_key || dataset.key_indexes().contains(index));
    let properties: Map<String, Json> = fields
        .map(|(_, field)| {
            let kind = match field.kind {
                FieldType::Integer => "integer",
                FieldType::Float => "number",
                FieldType::Boolean => "boolean",
                FieldType::Json => return (field.name.clone(), json!({})),
                FieldType::Text | FieldType::Decimal | FieldType::Date | FieldType::Timestamp => {
                    "string"
                }
            };
            (field.name.clone(), json!({ "type": [kind, "null"] }))
        })
        .collect();
    json!({ "type": "object", "properties": properties })
}
