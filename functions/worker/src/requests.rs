use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landfall_aws::{AwsError, MaintenanceMessage, MaintenanceQueue};
use landfall_domain::DatasetRef;

/// The maximum number of definitions that are remembered.
const REMEMBERED: usize = 1_000;

/// Remembers which definitions this process has requested maintenance for, so that it sends one message for each.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashSet<DatasetRef>>);

impl Requests {
    /// Requests maintenance for a definition, unless this process has.
    pub(crate) async fn send(
        &self,
        queue: &dyn MaintenanceQueue,
        dataset: &DatasetRef,
    ) -> Result<(), AwsError> {
        if self.sent().contains(dataset) {
            return Ok(());
        }
        let dataset = dataset.clone();
        let message = MaintenanceMessage { dataset };
        queue.request(&message).await?;
        let mut sent = self.sent();
        if sent.len() >= REMEMBERED {
            sent.clear();
        }
        sent.insert(message.dataset);
        Ok(())
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<DatasetRef>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
