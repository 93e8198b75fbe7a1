use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use landfall_aws::{AwsError, MaintenanceMessage, MaintenanceQueue};
use landfall_domain::{DatasetRef, JobId};

/// The maximum number of jobs that are remembered.
const REMEMBERED: usize = 1_000;

/// Remembers which jobs this process has requested maintenance for, so that it sends one message for each.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashSet<JobId>>);

impl Requests {
    /// Requests maintenance for the definition of a job, unless this process has.
    pub(crate) async fn send(
        &self,
        queue: &dyn MaintenanceQueue,
        job: JobId,
        dataset: &DatasetRef,
    ) -> Result<(), AwsError> {
        if self.sent().contains(&job) {
            return Ok(());
        }
        let message = MaintenanceMessage {
            dataset: dataset.clone(),
            job,
            requested_at: Timestamp::now(),
        };
        queue.request(&message).await?;
        let mut sent = self.sent();
        if sent.len() >= REMEMBERED {
            sent.clear();
        }
        sent.insert(job);
        Ok(())
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
