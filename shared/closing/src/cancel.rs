use landfall_aws::{AwsError, ChunkQueue, WorkMessage};
use landfall_ledger::{CancelRefusal, JobHead, Ledger, LedgerError};

/// Why a job could not be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// It is closed, or about to close.
    #[error(transparent)]
    Refused(#[from] CancelRefusal),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The close message could not be sent.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

/// Cancels an open job. Returns the head as it is afterwards: it stays open until all its chunks are marked.
///
/// May be repeated: the first caller is recorded.
pub async fn cancel_job(
    ledger: &Ledger,
    queue: &dyn ChunkQueue,
    head: JobHead,
    by: &str,
) -> Result<JobHead, CancelError> {
    head.check_cancel()?;
    let job = head.job;
    let head = ledger.cancel(job, by).await?;
    // It may have closed meanwhile.
    head.check_cancel()?;
    if head.awaits_close() {
        queue.send(&[WorkMessage::Close { job }]).await?;
    }
    Ok(head)
}
