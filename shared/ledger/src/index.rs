use async_trait::async_trait;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, find, require, text};
use landfall_domain::{JobId, JobState};
use serde::{Deserialize, Serialize};

use crate::item::{KIND, dataset_key, head_key, job_of_item, read};
use crate::{DynamoTable, JobHead, LedgerError, LedgerTable};

/// The index of all jobs, by creation.
const BY_CREATION: &str = "jobs_by_creation";
/// The index of the jobs of each dataset, by creation.
const BY_DATASET: &str = "jobs_by_dataset";
/// Heads that one query evaluates.
const QUERY_LIMIT: i32 = 100;
/// Queries for one page. If few heads match the filter, a page is short rather than slow.
const QUERIES_PER_PAGE: u32 = 10;

/// Which jobs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct JobsQuery {
    /// Names of at most 100 datasets; `None` for all datasets.
    pub datasets: Option<Vec<String>>,
    /// The state of the jobs; `None` for all states.
    pub state: Option<JobState>,
    /// The maximum number of jobs.
    pub limit: usize,
    /// The position to continue after.
    pub after: Option<JobsCursor>,
}

impl JobsQuery {
    /// Returns whether a job has one of the datasets and the state.
    pub(crate) fn matches(&self, head: &JobHead) -> bool {
        let has_dataset = self.datasets.as_ref().is_none_or(|datasets| {
            head.object
                .dataset_name()
                .is_some_and(|name| datasets.iter().any(|dataset| dataset == name))
        });
        has_dataset && self.state.is_none_or(|state| head.state == state)
    }
}

/// A position in the list of jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobsCursor {
    /// See [`JobHead::created_at`].
    pub created_at: String,
    /// The job.
    pub job: JobId,
}

impl JobsCursor {
    /// Returns the position after this job.
    pub fn after(head: &JobHead) -> Self {
        Self {
            created_at: head.created_at.clone(),
            job: head.job,
        }
    }
}

/// A page of jobs, newest first.
#[derive(Clone, Debug)]
pub struct JobsPage {
    /// Their heads: possibly fewer than the limit, or none, even if more follow.
    pub heads: Vec<JobHead>,
    /// The position to continue after, unless this is the last page.
    pub next: Option<JobsCursor>,
}

/// Queries of the ledger.
#[async_trait]
pub trait JobIndex: LedgerTable {
    /// Lists jobs, newest first. A job that was created less than a second ago may be missing.
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError>;

    /// Returns the current generation of a dataset. Reads that follow see the rows of every job that has closed in
    /// this generation or an earlier one.
    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError>;
}

#[async_trait]
impl JobIndex for DynamoTable {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        // One dataset is a partition of an index; several datasets are selected by a filter.
        let (index, attribute, partition, selected) = match query.datasets.as_deref() {
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
        for _ in 0..QUERIES_PER_PAGE {
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(index)
                .scan_index_forward(false)
                .limit(QUERY_LIMIT)
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
            if !selected.is_empty() {
                let names: Vec<String> = (0..selected.len()).map(|at| format!(":d{at}")).collect();
                filters.push(format!("#dataset IN ({})", names.join(", ")));
                request = request.expression_attribute_names("#dataset", "dataset_name");
                for (name, dataset) in names.into_iter().zip(selected) {
                    request = request.expression_attribute_values(name, text(dataset));
                }
            }
            if !filters.is_empty() {
                request = request.filter_expression(filters.join(" AND "));
            }
            if let Some(after) = &next {
                request = request
                    .exclusive_start_key("pk", text(head_key(after.job)))
                    .exclusive_start_key(attribute, text(partition))
                    .exclusive_start_key("created_at", text(after.created_at.as_str()));
            }
            let answer = request
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("Query", index, &error))?;
            next = answer.last_evaluated_key.as_ref().map(cursor).transpose()?;
            for item in answer.items.unwrap_or_default() {
                let head: JobHead = read(index, item)?;
                if heads.len() == query.limit {
                    next = heads.last().map(JobsCursor::after);
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
        let Some(item) = self.get(&key).await? else {
            return Ok(0);
        };
        // The floor of the dataset may have been first.
        let generation = find(&item, "generation").map(Option::unwrap_or_default);
        generation.map_err(|error| LedgerError::corrupt(&key, error))
    }
}

/// Returns the position that a query of an index stopped at.
fn cursor(item: &Item) -> Result<JobsCursor, LedgerError> {
    let attribute = |name| -> Result<String, LedgerError> {
        require(item, name).map_err(|error| LedgerError::corrupt("of an index", error))
    };
    let key = attribute("pk")?;
    let job = job_of_item(&key);
    Ok(JobsCursor {
        created_at: attribute("created_at")?,
        job: job.ok_or_else(|| LedgerError::corrupt(&key, "this is not the key of a job"))?,
    })
}
