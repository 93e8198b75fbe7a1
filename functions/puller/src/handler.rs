use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use landfall_aws::ListedSource;
use landfall_domain::JobState;
use landfall_runtime::Deadline;
use landfall_sources::{Outcome, Record, Source, Step};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{error, info};

use crate::held::{Held, LEASE, RESERVE, end_of_invocation};
use crate::{Context, PullerError, catalog, complete, walk};

/// The maximum number of sources that an invocation works on at a time.
const CONCURRENCY: usize = 4;

/// Works on all sources that have something to do. The event is that of the schedule, and its content is not read.
pub async fn handle(context: &Context, _: Value, deadline: Deadline) -> Result<(), PullerError> {
    run(context, deadline.stop_at(RESERVE)).await
}

/// Works on all sources that have something to do, until `stop_at`. A failure of one does not stop the others.
pub async fn run(context: &Context, stop_at: Instant) -> Result<(), PullerError> {
    let listed = context.definitions.list(None).await?;
    let worked = stream::iter(&listed).map(async |listed| {
        let name = listed.name.as_str();
        if Instant::now() >= stop_at {
            return;
        }
        match work(context, listed, stop_at).await {
            Ok(()) => {}
            Err(PullerError::Lost) => info!(source = name, "another invocation has taken over"),
            Err(error) => error!(source = name, %error, "a step failed"),
        }
    });
    worked.buffer_unordered(CONCURRENCY).collect::<()>().await;
    Ok(())
}

/// Does the steps of a source, one after the other, until there is nothing to do.
async fn work(
    context: &Context,
    listed: &ListedSource,
    stop_at: Instant,
) -> Result<(), PullerError> {
    let Some(source) = catalog::source(context, listed).await? else {
        return Ok(());
    };
    while Instant::now() < stop_at {
        if !step(context, &source, stop_at).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Does the next step of a source. Returns whether another one may follow at once.
async fn step(context: &Context, source: &Source, stop_at: Instant) -> Result<bool, PullerError> {
    let stored = context.sources.source(&source.name).await?;
    let now = (context.now)();
    let requested = stored.requested_at;
    let requested = requested.and_then(|at| Timestamp::from_millisecond(at).ok());
    let step = stored.record.step(source, now, requested);
    // What was started before the source was paused is finished.
    if step == Step::Wait || (stored.pause.is_some() && stored.record.run.is_none()) {
        return Ok(false);
    }
    let job = match step {
        Step::Settle(job) => context.ledger.head(job).await?,
        _ => None,
    };
    let job = job.map_or(JobState::Open, |head| head.state);
    if matches!(step, Step::Settle(_)) && job == JobState::Open {
        return Ok(false);
    }
    let until = match step {
        Step::Complete => end_of_invocation(now, stop_at),
        _ => now.saturating_add(LEASE).unwrap_or(now),
    };
    let change = |record: &mut Record| match step {
        Step::Start { next, is_full } => record.start(source, now, next, is_full),
        Step::Skip(next) => record.plan(source, next),
        Step::Wait | Step::Walk | Step::Complete | Step::Settle(_) => {}
    };
    let Some(mut held) = Held::take(context, source, stored, until, change).await? else {
        return Ok(false);
    };
    let done = match step {
        Step::Wait | Step::Skip(_) => Ok(()),
        Step::Start { .. } | Step::Walk => walk::walk(context, &mut held, stop_at).await,
        Step::Complete => complete::find_object(context, &mut held).await,
        Step::Settle(_) => settle(context, &mut held, job).await,
    };
    // What is stored is recorded only after that, so the record is right also if a step failed in the middle.
    match done {
        Err(PullerError::Lost) => Err(PullerError::Lost),
        Err(error) => held.release().await.and(Err(error)),
        // The run that was due meanwhile can follow.
        Ok(()) => held
            .release()
            .await
            .map(|()| matches!(step, Step::Settle(_))),
    }
}

/// Ends the run of a job that has closed.
async fn settle(context: &Context, held: &mut Held<'_>, job: JobState) -> Result<(), PullerError> {
    let run = held.run()?.clone();
    let mut record = held.record.clone();
    let Some(outcome) = record.settle(job) else {
        return Ok(());
    };
    let failed = outcome == Outcome::JobFailed;
    let reason = failed.then(|| format!("the job is {}", job.as_str()));
    held.record_end(&run, (context.now)(), outcome, reason)
        .await?;
    held.record = record;
    Ok(())
}
