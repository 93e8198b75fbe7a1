use async_trait::async_trait;
use landfall_domain::{JobId, JobState, ObjectOrder};
use serde::{Deserialize, Serialize};

use crate::{CircuitTable, JobHead, LedgerError, LedgerTable};

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

/// A page of jobs.
#[derive(Clone, Debug)]
pub struct JobsPage {
    /// Their heads: possibly fewer than the limit, or none, even if more follow.
    pub heads: Vec<JobHead>,
    /// The position to continue after, unless this is the last page.
    pub next: Option<JobsCursor>,
}

/// Which jobs of an order to look for, oldest first.
#[derive(Clone, Debug)]
pub struct OrderQuery {
    /// The dataset that the keys of their objects name.
    pub dataset: String,
    /// The order of their objects. A job of fixed rejects, and one of dead chunks, has that of the first object.
    pub order: ObjectOrder,
    /// The position to look from.
    pub after: JobsCursor,
}

impl OrderQuery {
    /// Returns whether a job has the dataset and the order.
    pub(crate) fn matches(&self, head: &JobHead) -> bool {
        head.order == self.order && head.object.dataset_name() == Some(&self.dataset)
    }
}

/// Queries of the ledger.
#[async_trait]
pub trait JobIndex: LedgerTable + CircuitTable {
    /// Lists jobs, newest first. A job that was created less than a second ago may be missing.
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError>;

    /// Lists [unfinished](JobHead::is_unfinished) jobs after this position, oldest first, without reading others. A job
    /// that was created less than a second ago may be missing, and so are jobs that an earlier release created, until
    /// [`Ledger::list_as_open`](crate::Ledger::list_as_open) adds them.
    ///
    /// `limit` is at most 100.
    async fn open_jobs(
        &self,
        after: Option<&JobsCursor>,
        limit: usize,
    ) -> Result<JobsPage, LedgerError>;

    /// Looks for the jobs of an order, oldest first, among a bounded number of jobs of the dataset: the page may have
    /// none although more follow. A job that was created less than a second ago may be missing.
    async fn jobs_of_order(&self, query: &OrderQuery) -> Result<JobsPage, LedgerError>;

    /// Returns the current generation of a dataset. Reads that follow see the rows of every job that has closed in
    /// this generation or an earlier one.
    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError>;
}
