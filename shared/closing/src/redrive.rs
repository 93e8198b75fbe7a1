use landfall_aws::{AwsError, ChunkQueue, WorkMessage};
use landfall_ledger::{JobHead, Ledger, LedgerError, RedriveRefusal};

/// Why a job could not be redriven.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// It has no dead chunks, or they cannot be sent again.
    #[error(transparent)]
    Refused(#[from] RedriveRefusal),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The worker's message could not be sent.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

/// Opens a closed job again and has a worker send its dead chunks again. Returns the head as it is afterwards.
///
/// May be repeated: until all of them are sent, only the message to the worker is sent again.
pub async fn redrive_job(
    ledger: &Ledger,
    queue: &dyn ChunkQueue,
    mut head: JobHead,
    by: &str,
) -> Result<JobHead, RedriveError> {
    if !head.resending {
        head.check_redrive()?;
        let first = head.dead_chunks.first.first().map(|chunk| chunk.ordinal);
        let planned = ledger.planned_chunks(&head, first.as_slice()).await;
        planned.map_err(|error| match error {
            LedgerError::Missing(_) => RedriveRefusal::NoPlan.into(),
            error => RedriveError::from(error),
        })?;
        head = ledger.reopen(&head, by).await?;
    }
    let (job, attempt) = (head.job, head.attempt);
    let message = WorkMessage::Redrive {
        job,
        attempt,
        shard: 0,
    };
    queue.send(&[message]).await?;
    Ok(head)
}
