use std::pin::pin;
use std::time::Duration;

use landfall_aws::MaintenanceMessage;
use landfall_domain::{StoreKind, Structure};
use landfall_ledger::{Ledger, LedgerError, MaintenanceStep};
use landfall_stores::Current;
use tokio::select;
use tokio::time::sleep;
use tracing::warn;

/// The shortest time between two records of a step.
const INTERVAL: Duration = Duration::from_secs(10);

/// Records in the ledger how far the maintenance is that a job has caused. A failure to do so does not fail the
/// maintenance.
#[derive(Clone, Copy)]
pub(crate) struct Progress<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) message: &'a MaintenanceMessage,
}

impl Progress<'_> {
    /// Returns the result of the work in a store. Meanwhile, records what it creates.
    pub(crate) async fn beside<T>(
        self,
        store: StoreKind,
        current: &Current,
        work: impl Future<Output = T>,
    ) -> T {
        let (mut changes, mut work) = (current.subscribe(), pin!(work));
        loop {
            select! {
                biased;
                result = &mut work => return result,
                // It cannot fail, as the sender is there.
                _ = changes.changed() => {}
            }
            let step = step(store, changes.borrow_and_update().as_ref());
            let mut record = pin!(self.record(step, None));
            select! {
                biased;
                result = &mut work => {
                    // Not dropped: it could arrive after what is recorded next.
                    record.await;
                    return result;
                }
                () = &mut record => {}
            }
            select! {
                biased;
                result = &mut work => return result,
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Records that the last step has failed.
    pub(crate) async fn record_error(self, store: StoreKind, current: &Current, error: &str) {
        let step = step(store, current.borrow().as_ref());
        self.record(step, Some(error)).await;
    }

    async fn record(self, step: Option<MaintenanceStep>, error: Option<&str>) {
        let MaintenanceMessage {
            job: Some(job),
            requested_at,
            ..
        } = *self.message
        else {
            return;
        };
        let recorded = self
            .ledger
            .record_maintenance(job, requested_at, step, error);
        warn_of_failure(recorded.await);
    }

    /// Records that other maintenance of the dataset comes first.
    pub(crate) async fn record_waiting(self) {
        let MaintenanceMessage {
            job: Some(job),
            requested_at,
            ..
        } = *self.message
        else {
            return;
        };
        let recorded = self.ledger.record_waiting_maintenance(job, requested_at);
        warn_of_failure(recorded.await);
    }

    /// Records that everything is created.
    pub(crate) async fn record_finished(self) -> Result<(), LedgerError> {
        match self.message.job {
            Some(job) => self.ledger.record_finished_maintenance(job).await,
            None => Ok(()),
        }
    }
}

fn step(store: StoreKind, current: Option<&Structure>) -> Option<MaintenanceStep> {
    let creates = current?.clone();
    Some(MaintenanceStep { store, creates })
}

fn warn_of_failure(recorded: Result<(), LedgerError>) {
    if let Err(error) = recorded {
        warn!(%error, "the progress could not be recorded");
    }
}
