//! Jobs of a stack.

use std::sync::Arc;

use anyhow::{Context, Result};
use landfall_closing::{cancel_job, confirm_prune, redrive_job, redrive_with_latest};
use landfall_domain::{JobId, JobState, PruneState};
use landfall_ledger::{JobHead, Ledger};
use landfall_runtime::Environment;

/// Cancels an open job. Returns its state.
pub(crate) async fn cancel(job: JobId, by: &str) -> Result<JobState> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let queue = environment.queue("LANDFALL_CHUNK_QUEUE_URL")?;
    let head = head_of(&ledger, job).await?;
    Ok(cancel_job(&ledger, &queue, head, by).await?.state)
}

/// Has another job process the dead chunks of a closed job with the latest definition. Returns its id.
pub(crate) async fn redrive_latest(job: JobId, by: &str) -> Result<JobId> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let queue = environment.queue("LANDFALL_CHUNK_QUEUE_URL")?;
    let datasets = environment.datasets()?;
    let head = head_of(&ledger, job).await?;
    let derived = redrive_with_latest(&ledger, &datasets, &queue, head, by).await?;
    Ok(derived.job)
}

/// Has the dead chunks of a closed job processed again. Returns their number and the attempt.
pub(crate) async fn redrive(job: JobId, by: &str) -> Result<(u32, u32)> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let queue = environment.queue("LANDFALL_CHUNK_QUEUE_URL")?;
    let head = head_of(&ledger, job).await?;
    let head = redrive_job(&ledger, &queue, head, by).await?;
    let chunks = head.redrives.last().map_or(0, |redrive| redrive.chunks);
    Ok((chunks, head.attempt))
}

async fn head_of(ledger: &Ledger, job: JobId) -> Result<JobHead> {
    let head = ledger.head(job).await?;
    head.with_context(|| format!("there is no job {job}"))
}

/// Confirms the prune of a job that was held back. Returns how far it is.
pub(crate) async fn prune(job: JobId) -> Result<Option<PruneState>> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let queue = environment.queue("LANDFALL_CHUNK_QUEUE_URL")?;
    let datasets = environment.datasets()?;
    let head = head_of(&ledger, job).await?;
    let head = confirm_prune(&ledger, &datasets, &queue, head).await?;
    Ok(head.prune_state())
}
