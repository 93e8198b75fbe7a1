//! Jobs of a stack.

use std::sync::Arc;

use anyhow::{Context, Result};
use landfall_closing::confirm_prune;
use landfall_domain::{JobId, PruneState};
use landfall_ledger::Ledger;
use landfall_runtime::Environment;

/// Confirms the prune of a job that was held back. Returns how far it is.
pub(crate) async fn prune(job: JobId) -> Result<Option<PruneState>> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let queue = environment.queue("LANDFALL_CHUNK_QUEUE_URL")?;
    let datasets = environment.datasets()?;
    let head = ledger.head(job).await?;
    let head = head.with_context(|| format!("there is no job {job}"))?;
    let head = confirm_prune(&ledger, &datasets, &queue, head).await?;
    Ok(head.prune_state())
}
