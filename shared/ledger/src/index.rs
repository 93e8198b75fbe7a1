use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use landfall_domain::{JobId, JobState};
use serde::{Deserialize, Serialize};

use crate::dynamo::failure;
use crate::item::{Item, KIND, corrupt, dataset_key, head_key, job_of_item, read, text};
use crate::{DynamoTable, JobHead, LedgerError, LedgerTable};

/// Jobs of all datasets, by creation.
const BY_CREATION: &str = "jobs_by_creation";
/// Jobs of one dataset, by creation.
const BY_DATASET: &str = "jobs_by_dataset";
/// Heads that one query of an index looks at.
const LOOKED_AT: i32 = 100;
/// Queries for one page. A page is short rather than late where few heads are of the state asked for.
const QUERIES: u32 = 10;

/// Which jobs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct JobsQuery {
    /// Names of datasets, at most 100; jobs of all of them unless given.
    pub datasets: Option<Vec<String>>,
    /// The state that they have.
    pub state: Option<JobState>,
    /// The most jobs.
    pub limit: usize,
    /// The place after which to go on.
    pub after: Option<JobsCursor>,
}

impl JobsQuery {
    /// Whether a job is of the datasets and the state.
    pub(crate) fn takes(&self, head: &JobHead) -> bool {
        let of_dataset = self.datasets.as_ref().is_none_or(|datasets| {
            head.object
                .dataset_name()
                .is_some_and(|name| datasets.iter().any(|dataset| dataset == name))
        });
        of_dataset && self.state.is_none_or(|state| head.state == state)
    }
}

/// A place in the list of jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobsCursor {
    /// See [`JobHead::created_at`].
    pub created_at: String,
    /// The job.
    pub job: JobId,
}

impl JobsCursor {
    /// The place of a job.
    pub fn of(head: &JobHead) -> Self {
        Self {
            created_at: head.created_at.clone(),
            job: head.job,
        }
    }
}

/// Some jobs, newest first.
#[derive(Clone, Debug)]
pub struct JobsPage {
    /// Their heads. May be fewer than asked for, or none, also where more follow.
    pub heads: Vec<JobHead>,
    /// Where to go on, unless this was the end.
    pub next: Option<JobsCursor>,
}

/// What the ledger tells readers.
#[async_trait]
pub trait JobIndex: LedgerTable {
    /// Lists jobs, newest first. One that was created less than a second ago may still be missing.
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError>;

    /// The generation of a dataset as it is now: whatever is read of its rows afterwards has those of all
    /// jobs that were closed under it.
    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError>;
}

#[async_trait]
impl JobIndex for DynamoTable {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        // All that is in the partition of one dataset is of it; of several, a filter picks.
        let (index, attribute, partition, picked) = match query.datasets.as_deref() {
            Some([]) => {
                return Ok(JobsPage {
                    heads: Vec::new(),
                    next: None,
                });
            }
            Some([dataset]) => (BY_DATASET, "dataset_name", dataset.as_str(), &[][..]),
            Some(datasets) => (BY_CREATION, "kind", KIND, datasets),
            None => (BY_CREATION, "kind", KIND, &[][..]),
        };
        let mut heads = Vec::new();
        let mut next = query.after.clone();
        for _ in 0..QUERIES {
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(index)
                .scan_index_forward(false)
                .limit(LOOKED_AT)
                .key_condition_expression("#partition = :partition")
                .expression_attribute_names("#partition", attribute)
                .expression_attribute_values(":partition", text(partition));
            let mut filters = Vec::new();
            if let Some(state) = query.state {
                filters.push("#state = :state".to_owned());
                request = request
                    .expression_attribute_names("#state", "state")
                    .expression_attribute_values(":state", text(state.as_str()));
            }
            if !picked.is_empty() {
                let names: Vec<String> = (0..picked.len()).map(|at| format!(":d{at}")).collect();
                filters.push(format!("#dataset IN ({})", names.join(", ")));
                request = request.expression_attribute_names("#dataset", "dataset_name");
                for (name, dataset) in names.into_iter().zip(picked) {
                    request = request.expression_attribute_values(name, text(dataset));
                }
            }
            if !filters.is_empty() {
                request = request.filter_expression(filters.join(" AND "));
            }
            if let Some(after) = &next {
                request = request
                    .exclusive_start_key("pk", text(&head_key(after.job)))
                    .exclusive_start_key(attribute, text(partition))
                    .exclusive_start_key("created_at", text(&after.created_at));
            }
            let answer = request
                .send()
                .await
                .map_err(|error| failure("Query", index.to_owned(), &error))?;
            next = answer.last_evaluated_key.as_ref().map(cursor).transpose()?;
            for item in answer.items.unwrap_or_default() {
                let head: JobHead = read(index, item)?;
                if heads.len() == query.limit {
                    next = heads.last().map(JobsCursor::of);
                    return Ok(JobsPage { heads, next });
                }
                heads.push(head);
            }
            if next.is_none() || heads.len() == query.limit {
                break;
            }
        }
        Ok(JobsPage { heads, next })
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        let key = dataset_key(dataset);
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(&key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failure("GetItem", key.clone(), &error))?;
        let Some(item) = answer.item else {
            return Ok(0);
        };
        match item.get("generation") {
            Some(AttributeValue::N(text)) => text.parse().map_err(|error| corrupt(&key, &error)),
            _ => Err(corrupt(&key, &"no generation")),
        }
    }
}

/// The place that a query of an index stopped at.
fn cursor(item: &Item) -> Result<JobsCursor, LedgerError> {
    let of = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text.as_str()),
        _ => Err(corrupt("of an index", &format!("no {name}"))),
    };
    let key = of("pk")?;
    Ok(JobsCursor {
        created_at: of("created_at")?.to_owned(),
        job: job_of_item(key).ok_or_else(|| corrupt(key, &"not the key of a job"))?,
    })
}
