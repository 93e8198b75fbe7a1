use landfall_aws::{AwsError, ChunkQueue, Datasets, Lookup, WorkMessage};
use landfall_domain::{Mode, PruneState};
use landfall_ledger::{JobHead, Ledger, LedgerError, PruneRefusal};

/// Why a prune could not be confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The job has no prune to confirm.
    #[error(transparent)]
    Refused(#[from] PruneRefusal),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The definition could not be read, or the worker's message not be sent.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

/// Confirms the prune of a job, which was held back, and has a worker run it. Returns the head as it is afterwards.
///
/// May be repeated: the prune runs once, and only the message to the worker is sent again until it has run.
pub async fn confirm_prune(
    ledger: &Ledger,
    datasets: &Datasets,
    queue: &dyn ChunkQueue,
    head: JobHead,
) -> Result<JobHead, ConfirmError> {
    let Some(dataset) = &head.dataset else {
        return Err(PruneRefusal::NotHeld.into());
    };
    head.check_prune(ledger.floor(dataset).await?)?;
    if head.prune_state() == Some(PruneState::Done) && !head.awaits_prune() {
        return Ok(head);
    }
    match datasets.latest(&dataset.name).await? {
        Lookup::Found(definition, _) if definition.mode == Mode::Snapshot => {}
        _ => return Err(PruneRefusal::NoSnapshot.into()),
    }
    let job = head.job;
    let head = ledger.confirm_prune(job).await?;
    queue.send(&[WorkMessage::Close { job }]).await?;
    Ok(head)
}
