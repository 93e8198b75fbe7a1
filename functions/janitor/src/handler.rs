use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_runtime::{BatchLimits, Deadline, Message, batch_response, process_batch};
use serde_json::Value;
use tracing::{Span, error, info};

use crate::report::Report;
use crate::{Context, JanitorError, dead_letters, inventory, numbers, sweep, upgrade};

/// Time that is reserved for the end of a run.
const RESERVE: Duration = Duration::from_secs(15);

/// Runs the janitor, or processes a batch of dead letters.
///
/// Returns the dead letters that could not be processed, which stay in their queue.
pub async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Option<SqsBatchResponse>, JanitorError> {
    if event.get("Records").is_none() {
        return run(context, deadline).await.map(|_| None);
    }
    let event: SqsEvent = serde_json::from_value(event).map_err(JanitorError::Event)?;
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        concurrency: 1,
    };
    let process = async |messages: &[Message]| {
        for message in messages {
            dead_letters::process(context, &message.body).await?;
        }
        Ok::<_, JanitorError>(())
    };
    let failed = process_batch(event, limits, |_| Span::current(), process);
    Ok(Some(batch_response(failed.await)))
}

/// Looks at the open jobs, at those of an earlier release, at numbers without a row, and at a part of the inbox. A
/// failure of one does not stop the others.
pub async fn run(context: &Context, deadline: Deadline) -> Result<Report, JanitorError> {
    let mut report = Report::default();
    let stop_at = deadline.stop_at(RESERVE);
    let adopted = upgrade::adopt(context, &mut report, stop_at).await;
    let swept = sweep::sweep(context, &mut report, stop_at).await;
    let looked = numbers::look(context, &mut report, stop_at).await;
    let listed = inventory::take(context, &mut report, stop_at).await;
    info!(?report, "the run is over");
    for error in [&adopted, &swept, &looked, &listed]
        .into_iter()
        .filter_map(|it| it.as_ref().err())
    {
        error!(%error, "a part of the run failed");
    }
    adopted.and(swept).and(looked).and(listed).map(|()| report)
}
