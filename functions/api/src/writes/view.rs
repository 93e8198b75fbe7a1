use std::collections::BTreeMap;

use landfall_domain::{RowOutcome, StoreKind, WriteId, WriteOperation, WriteProblem, WriteState};
use landfall_ledger::{Pause, StoreDown, Write};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiError, Context};

/// A write of a row, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Write)]
pub(crate) struct WriteView {
    /// Its id.
    write: WriteId,
    dataset: String,
    /// The version of the definition in the configuration bucket, if that has versions.
    definition: Option<String>,
    operation: WriteOperation,
    state: WriteState,
    /// The version of the row, in hexadecimal. The greatest version of a key wins.
    version: String,
    /// The name of the token.
    by: String,
    /// When it was accepted; RFC 3339.
    at: String,
    /// When it was stored, or failed; RFC 3339.
    ended_at: Option<String>,
    /// What it did in each store, once it is stored.
    stores: BTreeMap<StoreKind, RowOutcome>,
    /// Why it has failed.
    problem: Option<WriteProblem>,
    /// Who paused the dataset, for which the write waits.
    paused: Option<Pause>,
    /// The stores that are down, for which it waits.
    waiting_for: Vec<StoreDown>,
    /// The path of the write, relative to the address of the API.
    status_url: String,
}

impl WriteView {
    /// Returns a write, and what it waits for.
    pub(crate) async fn read(context: &Context, write: Write) -> Result<Self, ApiError> {
        let (mut paused, mut waiting_for) = (None, Vec::new());
        if write.state == WriteState::Waiting {
            paused = context.ledger.find_pause(&write.dataset).await?;
            let circuits = context.jobs.open_circuits().await?.into_iter();
            waiting_for = circuits.map(StoreDown::from).collect();
        }
        Ok(Self {
            paused,
            waiting_for,
            ..Self::from(write)
        })
    }
}

impl From<Write> for WriteView {
    fn from(write: Write) -> Self {
        Self {
            status_url: format!("/writes/{}", write.write),
            write: write.write,
            dataset: write.dataset.name,
            definition: write.dataset.version,
            operation: write.operation,
            state: write.state,
            version: write.version,
            by: write.by,
            at: write.at,
            ended_at: write.ended_at,
            stores: write.stores,
            problem: write.problem,
            paused: None,
            waiting_for: Vec::new(),
        }
    }
}
