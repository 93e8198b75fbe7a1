use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, future, stream};
use landfall_aws::WorkMessage;
use landfall_domain::JobId;
use landfall_ledger::LedgerError;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, error, info_span};

use crate::{Context, WorkError, chunk};

/// Time that is kept for the answer: without it, all messages of the batch would come again.
const RESERVE: Duration = Duration::from_secs(5);
/// Time that a batch has where its deadline has passed before it began: `cargo lambda watch` tells none.
const UNTOLD: Duration = Duration::from_mins(1);

/// Works off a batch of messages until shortly before `deadline`, and says which have to come again.
pub async fn handle(context: &Context, event: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(UNTOLD);
    let until = Instant::now() + left.saturating_sub(RESERVE);
    let failures = stream::iter(event.records)
        .then(|record| async move {
            let id = record.message_id.clone().unwrap_or_default();
            // A defect that one chunk meets must not fail the others of the batch.
            let taken = AssertUnwindSafe(process(context, record)).catch_unwind();
            let result = match timeout_at(until, taken).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(WorkError::Panic),
                Err(_) => Err(WorkError::Time),
            };
            let error = result.err()?;
            error!(message = id, %error, retryable = error.retryable(), "a chunk was not taken");
            Some(id)
        })
        .filter_map(future::ready);
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect()
        .await;
    response
}

async fn process(context: &Context, record: SqsMessage) -> Result<(), WorkError> {
    let received = record.attributes.get("ApproximateReceiveCount");
    let redelivered = received.is_none_or(|count| count != "1");
    let body = record.body.unwrap_or_default();
    match WorkMessage::parse(&body)? {
        WorkMessage::Chunk(message) => {
            let span = info_span!("chunk", job = %message.job, ordinal = message.ordinal);
            let processed = chunk::process(context, &message, redelivered);
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
