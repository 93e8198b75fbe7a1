use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_aws::{DefinitionError, MaintenanceMessage};
use landfall_domain::Dataset;
use landfall_runtime::{
    BatchLimits, Deadline, Message, batch_response, keep_hidden, process_batch, put_back,
};
use landfall_stores::{Current, Maintenance, Store, StoreError};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Span, error_span, info, warn};

use crate::progress::Progress;
use crate::sweep::sweep;
use crate::{Context, MaintenanceError};

/// Time that is reserved for the response.
const RESERVE: Duration = Duration::from_secs(5);
/// No step begins if less time is left. A longer one is completed by the database alone.
const STEP_RESERVE: Duration = Duration::from_mins(1);
/// The longest time in seconds until a message that failed is delivered again.
const LONGEST_DELAY: u32 = 300;

/// Processes a batch of messages until shortly before the deadline, and returns those that must be redelivered. Every
/// other event is that of the schedule.
pub async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Option<SqsBatchResponse>, MaintenanceError> {
    let until = deadline.stop_at(STEP_RESERVE);
    if event.get("Records").is_none() {
        return sweep(context, until).await.map(|()| None);
    }
    let event: SqsEvent = serde_json::from_value(event).map_err(MaintenanceError::Event)?;
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        concurrency: 1,
    };
    let failed = process_batch(event, limits, span_of, async |messages: &[Message]| {
        for message in messages {
            let work = Box::pin(process(context, message, until));
            keep_hidden(&*context.visibility, message, work).await?;
        }
        Ok::<_, MaintenanceError>(())
    });
    let failed = failed.await;
    put_back(&*context.visibility, &failed, LONGEST_DELAY).await;
    Ok(Some(batch_response(failed)))
}

/// Returns the span of the log lines about a message. It has the level of errors, so that their lines have it, too.
fn span_of(messages: &[Message]) -> Span {
    match messages
        .first()
        .map(|message| MaintenanceMessage::parse(&message.body))
    {
        Some(Ok(message)) => {
            let job = message.job.map(tracing::field::display);
            error_span!("maintenance", dataset = %message.dataset.name, job)
        }
        Some(Err(_)) | None => Span::none(),
    }
}

async fn process(
    context: &Context,
    message: &Message,
    until: Instant,
) -> Result<(), MaintenanceError> {
    let message = MaintenanceMessage::parse(&message.body)?;
    let dataset = match context.datasets.require(&message.dataset).await {
        Err(error @ (DefinitionError::Gone(_) | DefinitionError::Invalid(_))) => {
            warn!(%error, "nothing to maintain");
            return Ok(());
        }
        dataset => dataset?,
    };
    let progress = Progress {
        ledger: &context.ledger,
        message: &message,
    };
    let (mut is_done, mut failure) = (true, None);
    for store in &context.stores {
        let (kind, current) = (store.kind(), Current::default());
        let work = maintain(&**store, &dataset, until, &current);
        // A failure of one store does not keep another one waiting.
        match progress.beside(kind, &current, work).await {
            Ok(Maintenance::Done) => {}
            Ok(Maintenance::Continues) => is_done = false,
            Ok(Maintenance::Busy) => {
                progress.record_waiting().await;
                failure = failure.or(Some(MaintenanceError::Busy(kind)));
            }
            Err(error) if error.needs_other_definition() => {
                warn!(%error, "nothing to maintain");
            }
            Err(error) => {
                let reason = error.to_string();
                progress.record_error(kind, &current, &reason).await;
                failure = failure.or(Some(error.into()));
            }
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if is_done {
        progress.record_finished().await?;
    } else {
        context.queue.request(&message).await?;
        info!("the maintenance continues with the next message");
    }
    Ok(())
}

/// Takes steps in a store while there are any and time is left, and at least one. Returns the last one.
async fn maintain(
    store: &dyn Store,
    dataset: &Dataset,
    until: Instant,
    current: &Current,
) -> Result<Maintenance, StoreError> {
    loop {
        let step = store.maintain(dataset, current).await?;
        if step != Maintenance::Continues || Instant::now() >= until {
            return Ok(step);
        }
    }
}
