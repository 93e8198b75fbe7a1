//! Maintenance that a job has caused: the creation of indexes and totals that its definition adds to big tables.

use jiff::Timestamp;
use landfall_domain::{JobId, StoreKind, Structure};
use serde::{Deserialize, Serialize};

use crate::head::now;
use crate::{HeadUpdate, Ledger, LedgerError};

/// The maximum length of an error in characters.
const MAX_ERROR_CHARS: usize = 300;

/// How far the maintenance is that a job has caused: indexes and totals of big tables. It goes on after the job closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Maintenance {
    /// When a worker requested it; RFC 3339.
    pub requested_at: String,
    /// What is created; `null` while it waits for other maintenance of the dataset, and at its end.
    pub step: Option<MaintenanceStep>,
    /// Why the step failed, if it did. It is repeated.
    pub error: Option<String>,
    /// When this was recorded; RFC 3339.
    pub updated_at: String,
    /// When the last index or table was created; RFC 3339.
    pub finished_at: Option<String>,
}

/// What maintenance creates, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MaintenanceStep {
    /// The store.
    pub store: StoreKind,
    /// What is created.
    pub creates: Structure,
}

impl Maintenance {
    fn new(requested_at: Timestamp) -> Self {
        Self {
            requested_at: format!("{requested_at:.6}"),
            step: None,
            error: None,
            updated_at: now(),
            finished_at: None,
        }
    }
}

impl Ledger {
    /// Records a step of the maintenance that a job has caused, and its error, if it failed.
    pub async fn record_maintenance(
        &self,
        job: JobId,
        requested_at: Timestamp,
        step: Option<MaintenanceStep>,
        error: Option<&str>,
    ) -> Result<(), LedgerError> {
        let error = error.map(|error| error.chars().take(MAX_ERROR_CHARS).collect());
        let maintenance = Maintenance {
            step,
            error,
            ..Maintenance::new(requested_at)
        };
        let update = HeadUpdate::Maintains(maintenance);
        self.table.update_head(job, &update).await.map(drop)
    }

    /// Records that the maintenance that a job has caused waits for another one, unless a step of it is recorded.
    pub async fn record_waiting_maintenance(
        &self,
        job: JobId,
        requested_at: Timestamp,
    ) -> Result<(), LedgerError> {
        let update = HeadUpdate::AwaitsMaintenance(Maintenance::new(requested_at));
        self.table.update_head(job, &update).await.map(drop)
    }

    /// Records that the maintenance that a job has caused is finished, if there was any.
    pub async fn record_finished_maintenance(&self, job: JobId) -> Result<(), LedgerError> {
        let update = HeadUpdate::Maintained(now());
        self.table.update_head(job, &update).await.map(drop)
    }
}
