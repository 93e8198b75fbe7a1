use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use landfall_aws::{AwsError, MaintenanceMessage, MaintenanceQueue};
use landfall_domain::{DatasetRef, JobId};

/// The maximum number of requests that are remembered.
const REMEMBERED: usize = 1_000;

/// What maintenance is requested for: the definition of a job, or of writes by the API.
type Cause = (Option<JobId>, DatasetRef);

/// Remembers what this process has requested maintenance for, so that it sends one message for each.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashSet<Cause>>);

impl Requests {
    /// Requests maintenance for a definition, unless this process has.
    pub(crate) async fn send(
        &self,
        queue: &dyn MaintenanceQueue,
        (job, dataset): (Option<JobId>, &DatasetRef),
    ) -> Result<(), AwsError> {
        let cause = (job, dataset.clone());
        if self.sent().contains(&cause) {
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
        sent.insert(cause);
        Ok(())
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<Cause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
