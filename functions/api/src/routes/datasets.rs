use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use landfall_auth::Scope;
use landfall_aws::{Lookup, MAX_DEFINITION_BYTES};
use landfall_domain::{Dataset, FieldType, Measure, Mode, StoreKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::preview;
use crate::auth::Caller;
use crate::extract::{self, Segments};
use crate::responses::{BodyErrors, CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// Definitions that are read concurrently.
const CONCURRENT_READS: usize = 8;

/// The datasets that the token covers.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetList {
    datasets: Vec<DatasetView>,
    /// Invalid definitions.
    broken: Vec<BrokenDataset>,
}

/// An invalid definition.
#[derive(Serialize, ToSchema)]
struct BrokenDataset {
    /// Name of the dataset.
    name: String,
    /// File, line, field and error.
    message: String,
}

/// A dataset, from its definition.
#[derive(Serialize, ToSchema)]
#[schema(as = Dataset)]
pub(crate) struct DatasetView {
    name: String,
    mode: Mode,
    /// Name of the field whose value decides which of two rows of a key is newer. Without one, the time at which the
    /// file was created in the bucket decides, then the place in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// Names of the fields that make up the key.
    key: Vec<String>,
    fields: Vec<FieldView>,
    /// Names of the fields that `search` finds words in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    search: Vec<String>,
    totals: Vec<TotalView>,
    /// The databases that store the rows. Reads use the first by default.
    stores: Vec<StoreKind>,
}

/// A field of a dataset.
#[derive(Serialize, ToSchema)]
#[schema(as = Field)]
struct FieldView {
    name: String,
    #[serde(rename = "type")]
    kind: FieldType,
    /// Whether every row has a value.
    required: bool,
    /// Whether rows can be sorted by it and conditions on it are fast.
    indexed: bool,
}

/// A table of totals.
#[derive(Serialize, ToSchema)]
#[schema(as = Total)]
struct TotalView {
    name: String,
    /// Names of the fields whose values define a group.
    by: Vec<String>,
    /// The value of each column: `count`, `sum(field)`, `min(field)` or `max(field)`.
    columns: BTreeMap<String, String>,
}

impl DatasetView {
    fn new(dataset: &Dataset, context: &Context) -> Self {
        let fields = dataset.fields.iter().enumerate();
        Self {
            name: dataset.name.clone(),
            mode: dataset.mode,
            order: dataset.order().map(|field| field.name.clone()),
            key: dataset
                .key_fields()
                .map(|field| field.name.clone())
                .collect(),
            fields: fields
                .map(|(index, field)| FieldView {
                    name: field.name.clone(),
                    kind: field.kind,
                    required: field.required,
                    indexed: dataset.can_sort_by(index),
                })
                .collect(),
            search: dataset
                .search_indexes()
                .iter()
                .map(|field| dataset.fields[*field].name.clone())
                .collect(),
            totals: dataset
                .totals
                .iter()
                .map(|total| TotalView {
                    name: total.name.clone(),
                    by: total.by.clone(),
                    columns: total
                        .columns
                        .iter()
                        .map(|column| (column.name.clone(), measure(&column.measure)))
                        .collect(),
                })
                .collect(),
            stores: context.readers.iter().map(|reader| reader.kind()).collect(),
        }
    }
}

fn measure(measure: &Measure) -> String {
    match measure {
        Measure::Count => "count".to_owned(),
        Measure::Sum(field) => format!("sum({field})"),
        Measure::Min(field) => format!("min({field})"),
        Measure::Max(field) => format!("max({field})"),
    }
}

/// List datasets
#[utoipa::path(
    get,
    path = "/datasets",
    operation_id = "list_datasets",
    tag = "datasets",
    responses((status = 200, description = "The datasets", body = DatasetList), CommonErrors, Forbidden)
)]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
) -> Result<Json<DatasetList>, ApiError> {
    caller.readable()?;
    let names = context.datasets.names().await?;
    let mut covered = names.to_vec();
    covered.retain(|name| caller.0.covers(name));
    let context = &context;
    let lookups: Vec<(String, Lookup)> = stream::iter(covered)
        .map(|name| async move {
            let lookup = context.datasets.latest(&name).await?;
            Ok::<_, ApiError>((name, lookup))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    let mut list = DatasetList {
        datasets: Vec::new(),
        broken: Vec::new(),
    };
    for (name, lookup) in lookups {
        match lookup {
            Lookup::Found(dataset, _) => list.datasets.push(DatasetView::new(&dataset, context)),
            Lookup::Bad(error, _) => list.broken.push(BrokenDataset {
                name,
                message: error.to_string(),
            }),
            // Deleted after the names were listed.
            Lookup::Unknown => {}
        }
    }
    Ok(Json(list))
}

/// Get a dataset
#[utoipa::path(
    get,
    path = "/datasets/{dataset}",
    operation_id = "get_dataset",
    tag = "datasets",
    params(("dataset" = String, Path, description = "Name of the dataset", example = "products")),
    responses((status = 200, description = "The dataset", body = DatasetView), CommonErrors, Forbidden, DatasetErrors)
)]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DatasetView>, ApiError> {
    caller.require(Scope::Read, &name)?;
    let (dataset, _) = context.dataset(&name).await?;
    Ok(Json(DatasetView::new(&dataset, &context)))
}

/// A new dataset.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDataset {
    /// The definition, in TOML, at most 256 KiB.
    definition: String,
}

/// Create a dataset
///
/// Its definition is stored in the configuration bucket. A dataset that exists is not changed.
#[utoipa::path(
    post,
    path = "/datasets",
    operation_id = "create_dataset",
    tag = "datasets",
    request_body = NewDataset,
    responses(
        (status = 201, description = "The dataset is created", body = DatasetView),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors
    )
)]
pub(crate) async fn create(
    State(context): State<Arc<Context>>,
    caller: Caller,
    extract::Json(NewDataset { definition }): extract::Json<NewDataset>,
) -> Result<(StatusCode, Json<DatasetView>), ApiError> {
    caller.require_scope(Scope::Admin)?;
    if definition.len() > MAX_DEFINITION_BYTES {
        let message = format!("a definition has at most {MAX_DEFINITION_BYTES} bytes");
        return Err(ApiError::Invalid(message));
    }
    let dataset = preview::parse(&definition)?;
    caller.require(Scope::Admin, &dataset.name)?;
    if !context.datasets.create(&dataset.name, definition).await? {
        return Err(ApiError::Conflict(format!(
            "the dataset {} exists: change its definition in the configuration bucket",
            dataset.name
        )));
    }
    let view = DatasetView::new(&dataset, &context);
    Ok((StatusCode::CREATED, Json(view)))
}
