use std::sync::Arc;

use landfall_aws::{AwsError, ChunkQueue, Datasets, Lookup, WorkMessage};
use landfall_domain::{Dataset, DatasetRef, JobId};
use landfall_formats::CUTTING_RULES;
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
        check(ledger, &head).await?;
        if unplanned(ledger, &head).await?.is_some() {
            return Err(RedriveRefusal::Busy.into());
        }
        head = ledger.reopen(&head, by).await?;
        if !head.resending {
            return Err(RedriveRefusal::Busy.into());
        }
    }
    send(queue, &head).await?;
    Ok(head)
}

/// Derives a job that processes the dead chunks of a closed job with the latest definition, and has a worker plan it.
/// Returns its head.
///
/// May be repeated: until the derived job is planned, only the message to the worker is sent again.
pub async fn redrive_with_latest(
    ledger: &Ledger,
    datasets: &Datasets,
    queue: &dyn ChunkQueue,
    head: JobHead,
    by: &str,
) -> Result<JobHead, RedriveError> {
    check(ledger, &head).await?;
    let (dataset, reference) = latest(datasets, &head).await?;
    let job = match unplanned(ledger, &head).await? {
        Some(job) => job,
        None => {
            let job = head.job.for_redrive(head.redrives.len() + 1);
            let recorded = ledger.record_derived(&head, job, by).await?;
            if recorded.last_derived() != Some(job) {
                return Err(RedriveRefusal::Busy.into());
            }
            job
        }
    };
    let derived = ledger.start(&head.derive(job, &dataset, reference)).await?;
    send(queue, &derived).await?;
    Ok(derived)
}

/// Checks that the dead chunks of a job can be sent again.
async fn check(ledger: &Ledger, head: &JobHead) -> Result<(), RedriveError> {
    head.check_redrive()?;
    let first = head.dead_chunks.first.first().map(|chunk| chunk.ordinal);
    let planned = ledger.planned_chunks(head, first.as_slice()).await;
    planned.map(drop).map_err(|error| match error {
        LedgerError::Missing(_) => RedriveRefusal::NoPlan.into(),
        error => error.into(),
    })
}

/// Returns the job that the last redrive has derived, if it is not planned yet.
async fn unplanned(ledger: &Ledger, head: &JobHead) -> Result<Option<JobId>, LedgerError> {
    let Some(job) = head.last_derived() else {
        return Ok(None);
    };
    let derived = ledger.head(job).await?;
    let is_planned = derived.is_some_and(|derived| derived.chunks.is_some());
    Ok(Some(job).filter(|_| !is_planned))
}

/// Returns the latest definition, if the chunks of the job have the same records with it.
async fn latest(
    datasets: &Datasets,
    head: &JobHead,
) -> Result<(Arc<Dataset>, DatasetRef), RedriveError> {
    let planned = head.dataset.as_ref().ok_or(RedriveRefusal::NoDefinition)?;
    let (before, latest) = (
        datasets.lookup(planned).await?,
        datasets.latest(&planned.name).await?,
    );
    let (Lookup::Found(before, _), Lookup::Found(dataset, reference)) = (before, latest) else {
        return Err(RedriveRefusal::NoDefinition.into());
    };
    if dataset == before {
        return Err(RedriveRefusal::SameDefinition.into());
    }
    if head.cutting_rules != CUTTING_RULES || !dataset.has_records_of(&before) {
        return Err(RedriveRefusal::OtherRecords.into());
    }
    Ok((dataset, reference))
}

async fn send(queue: &dyn ChunkQueue, head: &JobHead) -> Result<(), AwsError> {
    let (job, attempt) = (head.job, head.attempt);
    let message = WorkMessage::Redrive {
        job,
        attempt,
        shard: 0,
    };
    queue.send(&[message]).await
}
