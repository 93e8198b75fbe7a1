use landfall_domain::DatasetRef;
use serde::{Deserialize, Serialize};

use crate::head::now;
use crate::{Ledger, LedgerError};

/// Who paused a dataset, and when. Its chunks wait until somebody resumes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// The name of the token, or what the command line was given.
    pub by: String,
    /// When; RFC 3339.
    pub at: String,
}

impl Ledger {
    /// Pauses a dataset, unless it is paused. Returns who paused it.
    pub async fn pause(&self, dataset: &str, by: &str) -> Result<Pause, LedgerError> {
        let pause = Pause {
            by: by.to_owned(),
            at: now(),
        };
        self.table.pause(dataset, &pause).await
    }

    /// Resumes a dataset.
    pub async fn resume(&self, dataset: &str) -> Result<(), LedgerError> {
        self.table.resume(dataset).await
    }

    /// Returns who paused a dataset, if it is paused.
    pub async fn find_pause(&self, dataset: &DatasetRef) -> Result<Option<Pause>, LedgerError> {
        self.table.find_pause(&dataset.name).await
    }
}
