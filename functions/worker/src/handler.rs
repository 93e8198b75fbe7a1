use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_aws::WorkMessage;
use landfall_domain::JobId;
use landfall_ledger::LedgerError;
use landfall_runtime::{
    BatchLimits, Deadline, Message, batch_response, keep_hidden, process_batch, put_back,
};
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use crate::delivery::Delivery;
use crate::{Context, WorkError, chunk};

/// Time that is reserved for the response.
const RESERVE: Duration = Duration::from_secs(5);
/// Time that is reserved for the mark, the close and the response.
const MARK_RESERVE: Duration = Duration::from_secs(15);
/// The longest time in seconds until a message that failed is delivered again.
const LONGEST_DELAY: u32 = 60;

/// Processes a batch of messages until shortly before the deadline. Returns those that must be redelivered.
pub async fn handle(context: &Context, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        // The memory of the function is that of one chunk.
        concurrency: 1,
    };
    let failed = process_batch(event, limits, async |messages: &[Message]| {
        for message in messages {
            let work = Box::pin(process(context, message, deadline.stop_at(MARK_RESERVE)));
            keep_hidden(&*context.redelivery.visibility, message, work).await?;
        }
        Ok::<_, WorkError>(())
    });
    let failed = failed.await;
    put_back(&*context.redelivery.visibility, &failed, LONGEST_DELAY).await;
    batch_response(failed)
}

async fn process(
    context: &Context,
    message: &Message,
    ingest_until: Instant,
) -> Result<(), WorkError> {
    match WorkMessage::parse(&message.body)? {
        WorkMessage::Chunk(chunk) => {
            let delivery = Delivery {
                receives: message.receive_count,
                max_receives: context.redelivery.max_receives,
                ingest_until,
            };
            let span = info_span!("chunk", job = %chunk.job, ordinal = chunk.ordinal);
            let processed = chunk::process(context, &chunk, delivery);
            processed.instrument(span).await
        }
        WorkMessage::Close { job } => close(context, job).await,
    }
}

async fn close(context: &Context, job: JobId) -> Result<(), WorkError> {
    let head = context.ledger.head(job).await?;
    let head = head.ok_or_else(|| LedgerError::Missing(format!("job {job}")))?;
    context.closer.close(head).await?;
    Ok(())
}
