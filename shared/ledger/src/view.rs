//! Jobs as clients see them: in responses of the HTTP API and in messages of the socket.

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{
    Codec, Counts, DeadChunks, JobId, JobState, Mode, Problem, PruneState, Warning,
};
use serde::{Deserialize, Serialize};

use crate::{
    Cancellation, CircuitTable, JobHead, LedgerError, LedgerTable, Maintenance, Pause, Progress,
    Redrive, StoreDown,
};

/// The maximum progress of a job whose number of chunks is unknown.
const MAX_UNSEALED_PROGRESS: f64 = 0.99;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Job))]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The dataset that the object's key names, whether or not it is defined.
    pub dataset: Option<String>,
    /// Its object.
    pub object: ObjectView,
    /// The job whose fixed rejects the object holds.
    #[serde(default)]
    pub rejects_of: Option<JobId>,
    /// Its state.
    pub state: JobState,
    /// When the first notification of its object was processed; RFC 3339.
    pub created_at: String,
    /// When it closed; RFC 3339.
    pub closed_at: Option<String>,
    /// Its chunks.
    pub chunks: ChunksView,
    /// Who has paused the dataset, and when, if the job is open: its remaining chunks wait until it is resumed.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// The stores that are down, if the job is open: its remaining chunks wait for them.
    #[serde(default)]
    pub waiting_for: Vec<StoreDown>,
    /// The chunks that could not be processed, and why.
    #[serde(default)]
    pub dead_chunks: DeadChunks,
    /// The processed share, 0 to 1. Estimated by bytes until the number of chunks is known; `null` for an empty
    /// object, and for a compressed one until then.
    pub progress: Option<f64>,
    /// Rows per second, from the creation of the job until its close or now; `null` before the first row.
    pub rows_per_second: Option<f64>,
    /// What became of the rows that have been processed.
    pub counts: Option<Counts>,
    /// Why it is not a plain success, and what to do.
    pub problem: Option<Problem>,
    /// Its attempt, from 1: one more after each redrive.
    #[serde(default)]
    pub attempt: u32,
    /// How often its dead chunks were sent again, by whom, and what came of it.
    #[serde(default)]
    pub redrives: Vec<Redrive>,
    /// The job whose dead chunks it processes, with a newer definition.
    #[serde(default)]
    pub redrive_of: Option<JobId>,
    /// Who cancelled it, if somebody did. It closes when its chunks that are being processed are done.
    #[serde(default)]
    pub cancelled: Option<Cancellation>,
    /// How far its prune is, if that was held back; `null` for other jobs.
    #[serde(default)]
    pub prune: Option<PruneState>,
    /// What it does after its last chunk, before it closes; `null` before that, and once it is closed.
    #[serde(default)]
    pub closing: Option<ClosingStep>,
    /// How far the creation of indexes and totals is that its definition adds to big tables; `null` if it adds none.
    #[serde(default)]
    pub maintenance: Option<Maintenance>,
    /// What may be wrong although it succeeds.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// What a job does after its last chunk, before it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ClosingStep {
    /// It counts the rows that its snapshot lacks.
    CountsPrune,
    /// It deletes the rows that its snapshot lacks.
    Prunes,
    /// It sums up its counts.
    Closes,
}

/// The object of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobObject))]
pub struct ObjectView {
    /// Its key in the inbox.
    pub key: String,
    /// Its version there.
    pub version: Option<String>,
    /// Its size in bytes; if it is compressed, that of the compressed file.
    pub size: u64,
    /// How it is compressed; `null` if it is not.
    #[serde(default)]
    pub codec: Option<Codec>,
}

/// The number of chunks of a job, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = JobChunks))]
pub struct ChunksView {
    /// All chunks; `null` until the whole object has been read once.
    pub planned: Option<u32>,
    /// Chunks whose rows are in every store or among the rejects.
    pub done: u32,
    /// Chunks that could not be processed.
    pub dead: u32,
    /// Chunks that are still to be processed.
    pub remaining: Option<u32>,
}

impl JobView {
    /// Builds the view of a job that waits for no store. `now` is used for the rows per second.
    pub fn new(head: &JobHead, progress: &Progress, now: Timestamp) -> Self {
        let planned = head.chunks;
        let processed = progress.processed();
        Self {
            id: head.job,
            dataset: head.object.dataset_name().map(ToOwned::to_owned),
            object: ObjectView {
                key: head.object.key.clone(),
                version: head.object.version.clone(),
                size: head.object.size,
                codec: head.packed.as_ref().map(|packed| packed.codec),
            },
            rejects_of: head.rejects_of.as_ref().map(|origin| origin.job),
            state: head.state,
            created_at: head.created_at.clone(),
            closed_at: head.closed_at.clone(),
            chunks: ChunksView {
                planned,
                done: progress.done,
                dead: progress.dead,
                // Never below zero, even while a second splitter has a shard of another size.
                remaining: planned.map(|planned| planned.saturating_sub(processed)),
            },
            paused: None,
            waiting_for: Vec::new(),
            dead_chunks: progress.dead_chunks.clone(),
            progress: share(head, processed),
            rows_per_second: rate(head, progress.counts.rows, now),
            counts: (processed > 0 || head.state != JobState::Open)
                .then(|| progress.counts.clone()),
            problem: head.open_problem().cloned(),
            attempt: head.attempt,
            redrives: head.redrives.clone(),
            redrive_of: head.redrive_of,
            cancelled: head.cancelled.clone(),
            prune: head.prune_state(),
            closing: closing_step(head),
            maintenance: head.maintenance.clone(),
            warnings: head.warnings(&progress.counts),
        }
    }

    /// Reads the progress of a job and returns its view.
    pub async fn read<T: LedgerTable + CircuitTable + ?Sized>(
        table: &T,
        head: &JobHead,
    ) -> Result<Self, LedgerError> {
        let progress = Progress::read(table, head).await?;
        let mut view = Self::new(head, &progress, Timestamp::now());
        if head.state == JobState::Open {
            let circuits = table.open_circuits().await?.into_iter();
            view.waiting_for = circuits.map(StoreDown::from).collect();
            if let Some(dataset) = &view.dataset {
                view.paused = table.find_pause(dataset).await?;
            }
        }
        Ok(view)
    }
}

fn closing_step(head: &JobHead) -> Option<ClosingStep> {
    if head.state != JobState::Open || !head.is_complete() {
        return None;
    }
    Some(match &head.prune {
        Some(decision) if decision.held.is_none() => ClosingStep::Prunes,
        None if head.mode == Mode::Snapshot && head.problem.is_none() => ClosingStep::CountsPrune,
        Some(_) | None => ClosingStep::Closes,
    })
}

fn share(head: &JobHead, processed: u32) -> Option<f64> {
    if head.state != JobState::Open {
        return Some(1.0);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    match head.chunks {
        Some(0) => Some(1.0),
        Some(planned) => Some((f64::from(processed) / f64::from(planned)).min(1.0)),
        // How much it unpacks to is known at its end.
        None if head.packed.is_some() => None,
        None => {
            let bytes = f64::from(processed) * head.chunk_bytes as f64;
            let share = bytes / head.object.size as f64;
            share.is_finite().then(|| share.min(MAX_UNSEALED_PROGRESS))
        }
    }
}

fn rate(head: &JobHead, rows: u64, now: Timestamp) -> Option<f64> {
    let created: Timestamp = head.created_at.parse().ok()?;
    let until = match &head.closed_at {
        Some(closed_at) => closed_at.parse().ok()?,
        None => now,
    };
    let lasted = until.duration_since(created);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 53 bits"
    )]
    (rows > 0 && lasted > SignedDuration::ZERO).then(|| rows as f64 / lasted.as_secs_f64())
}
