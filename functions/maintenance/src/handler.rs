use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_aws::{DefinitionError, MaintenanceMessage};
use landfall_domain::Dataset;
use landfall_runtime::{
    BatchLimits, Deadline, Message, batch_response, keep_hidden, process_batch, put_back,
};
use landfall_stores::{Maintenance, Store};
use tokio::time::Instant;
use tracing::{Span, error_span, info, warn};

use crate::{Context, MaintenanceError};

/// Time that is reserved for the response.
const RESERVE: Duration = Duration::from_secs(5);
/// No step begins if less time is left. A longer one is completed by the database alone.
const STEP_RESERVE: Duration = Duration::from_secs(60);
/// The longest time in seconds until a message that failed is delivered again.
const LONGEST_DELAY: u32 = 300;

/// Processes a batch of messages until shortly before the deadline. Returns those that must be redelivered.
pub async fn handle(context: &Context, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        concurrency: 1,
    };
    let until = deadline.stop_at(STEP_RESERVE);
    let failed = process_batch(event, limits, span_of, async |messages: &[Message]| {
        for message in messages {
            let work = Box::pin(process(context, message, until));
            keep_hidden(&*context.visibility, message, work).await?;
        }
        Ok::<_, MaintenanceError>(())
    });
    let failed = failed.await;
    put_back(&*context.visibility, &failed, LONGEST_DELAY).await;
    batch_response(failed)
}

/// Returns the span of the log lines about a message. It has the level of errors, so that their lines have it, too.
fn span_of(messages: &[Message]) -> Span {
    match messages
        .first()
        .map(|message| MaintenanceMessage::parse(&message.body))
    {
        Some(Ok(message)) => error_span!("maintenance", dataset = %message.dataset.name),
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
    let (mut is_done, mut failure) = (true, None);
    for store in &context.stores {
        // A failure of one store does not keep another one waiting.
        match maintain(&**store, &dataset, until).await {
            Ok(is_store_done) => is_done &= is_store_done,
            Err(MaintenanceError::Store(error)) if error.needs_other_definition() => {
                warn!(%error, "nothing to maintain");
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if !is_done {
        context.queue.request(&message).await?;
        info!("the maintenance continues with the next message");
    }
    Ok(())
}

/// Takes steps in a store until they are done, and at least one. Returns whether they are.
async fn maintain(
    store: &dyn Store,
    dataset: &Dataset,
    until: Instant,
) -> Result<bool, MaintenanceError> {
    loop {
        match store.maintain(dataset).await? {
            Maintenance::Done => return Ok(true),
            Maintenance::Busy => return Err(MaintenanceError::Busy(store.kind())),
            Maintenance::Continues if Instant::now() >= until => return Ok(false),
            Maintenance::Continues => {}
        }
    }
}
