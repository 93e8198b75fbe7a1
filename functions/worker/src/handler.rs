use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_aws::WorkMessage;
use landfall_domain::JobId;
use landfall_ledger::LedgerError;
use landfall_runtime::{BatchLimits, Deadline, Message, batch_response, process_batch};
use tracing::{Instrument, info_span};

use crate::{Context, WorkError, chunk};

/// Time that is reserved for the response.
const RESERVE: Duration = Duration::from_secs(5);

/// Processes a batch of messages until shortly before the deadline. Returns those that must be redelivered.
pub async fn handle(context: &Context, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        // The memory of the function is that of one chunk.
        concurrency: 1,
    };
    let failed = process_batch(event, limits, async |messages: &[Message]| {
        for message in messages {
            process(context, message).await?;
        }
        Ok::<_, WorkError>(())
    });
    batch_response(failed.await)
}

async fn process(context: &Context, message: &Message) -> Result<(), WorkError> {
    match WorkMessage::parse(&message.body)? {
        WorkMessage::Chunk(chunk) => {
            let redelivered = message.receive_count != Some(1);
            let span = info_span!("chunk", job = %chunk.job, ordinal = chunk.ordinal);
            let processed = chunk::process(context, &chunk, redelivered);
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
