use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use landfall_aws::{Work, WorkMessage};
use landfall_domain::JobId;
use landfall_runtime::{
    BatchLimits, Deadline, Message, batch_response, keep_hidden, process_batch, put_back,
};
use tokio::time::Instant;
use tracing::{Span, error_span, info};

use crate::delivery::Delivery;
use crate::{Context, Wait, WorkError, chunk, numbers, redrive, write};

/// Time that is reserved for the response.
const RESERVE: Duration = Duration::from_secs(5);
/// Time that is reserved for the mark, the close and the response.
const MARK_RESERVE: Duration = Duration::from_secs(15);
/// Time that is reserved for one step of a prune, which takes a second or two, and what comes after it.
const STEP_RESERVE: Duration = Duration::from_secs(40);
/// The longest time in seconds until a message that failed is delivered again.
const LONGEST_DELAY: u32 = 60;

/// Processes a batch of messages until shortly before the deadline. Returns those that must be redelivered.
pub async fn handle(context: &Context, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        // The memory of the function is that of one chunk.
        concurrency: 1,
    };
    let failed = process_batch(event, limits, span_of, async |messages: &[Message]| {
        for message in messages {
            let work = Box::pin(process(context, message, deadline));
            keep_hidden(&*context.redelivery.visibility, message, work).await?;
        }
        Ok::<_, WorkError>(())
    });
    let failed = failed.await;
    put_back(&*context.redelivery.visibility, &failed, LONGEST_DELAY).await;
    batch_response(failed)
}

/// Returns the span of the log lines about a message. It has the level of errors, so that their lines have it, too.
fn span_of(messages: &[Message]) -> Span {
    match messages
        .first()
        .map(|message| WorkMessage::parse(&message.body))
    {
        Some(Ok(WorkMessage::Chunk(chunk))) => {
            error_span!("chunk", job = %chunk.job, ordinal = chunk.ordinal)
        }
        Some(Ok(WorkMessage::Close { job })) => error_span!("close", %job),
        Some(Ok(WorkMessage::Redrive { job, attempt, .. })) => {
            error_span!("redrive", %job, attempt)
        }
        Some(Ok(WorkMessage::Write(write))) => error_span!("write", write = %write.write),
        Some(Ok(WorkMessage::Check(check))) => {
            error_span!("check", parent = %check.parent, child = check.child, to = check.to)
        }
        Some(Err(_)) | None => Span::none(),
    }
}

async fn process(
    context: &Context,
    message: &Message,
    deadline: Deadline,
) -> Result<(), WorkError> {
    let work = Work::parse(&message.body)?;
    let delivery = Delivery::new(
        message.receive_count,
        work.earlier,
        context.redelivery.max_receives,
        deadline.stop_at(MARK_RESERVE),
        deadline.stop_at(STEP_RESERVE),
    );
    let done = match &work.message {
        WorkMessage::Chunk(chunk) => chunk::process(context, chunk, delivery).await,
        WorkMessage::Close { job } => close(context, *job, delivery.close_until).await,
        WorkMessage::Redrive {
            job,
            attempt,
            shard,
        } => redrive::resend(context, (*job, *attempt), *shard, delivery.close_until).await,
        WorkMessage::Write(message) => write::process(context, message, delivery).await,
        WorkMessage::Check(check) => numbers::check(context, check, delivery).await,
    };
    match done {
        Err(WorkError::Wait(wait)) => put_off(context, work.message, delivery, &wait).await,
        done => done,
    }
}

async fn close(context: &Context, job: JobId, until: Instant) -> Result<(), WorkError> {
    let head = context.ledger.require_head(job).await?;
    chunk::close(context, head, until).await
}

/// Sends work again that has to wait, before its message is deleted. If the worker dies in between, both messages
/// remain, which is harmless.
async fn put_off(
    context: &Context,
    message: WorkMessage,
    delivery: Delivery,
    wait: &Wait,
) -> Result<(), WorkError> {
    let since = || {
        delivery
            .down_since
            .unwrap_or_else(|| context.circuits.now())
    };
    let work = Work {
        message,
        earlier: delivery.after_wait(wait.store.map(|_| since())),
    };
    let queue = &context.redelivery.queue;
    queue.send_later(&work, wait.seconds).await?;
    info!(seconds = wait.seconds, reason = wait.reason, "waiting");
    Ok(())
}
