//! Dead letters: messages of the chunk queue that were received as often as it allows, and notifications with which the
//! splitter failed in every attempt.

use jiff::Timestamp;
use landfall_aws::{ObjectCreated, SplitMessage, WorkMessage};
use landfall_domain::{ChunkMessage, DeadChunk, DeadCode, WriteProblem};
use landfall_ledger::{ChunkOutcome, JobHead, LedgerError, WriteEnd};
use serde::Deserialize;
use serde_json::Value;
use tracing::{error, info};

use crate::patience::is_over;
use crate::sweep::{close, fail_split};
use crate::{Context, JanitorError, notification, numbers};

const LOST: &str = "the message was received as often as the queue allows, and no worker could record a result: see \
                    the worker's log";

/// What Lambda sends after the last attempt to process an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedEvent {
    request_context: Option<RequestContext>,
    request_payload: Value,
    response_payload: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct RequestContext {
    condition: Option<String>,
}

impl FailedEvent {
    /// Returns the splitter's error, or why it did not run.
    fn reason(&self) -> String {
        let message = self.response_payload.as_ref();
        let message = message.and_then(|payload| payload["errorMessage"].as_str());
        let condition = self.request_context.as_ref();
        let condition = condition.and_then(|context| context.condition.as_deref());
        let reason = message.or(condition);
        reason
            .unwrap_or("the splitter failed without an error")
            .to_owned()
    }
}

/// Processes the body of a dead letter of either queue.
pub(crate) async fn process(context: &Context, body: &str) -> Result<(), JanitorError> {
    let value: Value = serde_json::from_str(body).map_err(JanitorError::DeadLetter)?;
    if value.get("requestPayload").is_some() {
        let failed: FailedEvent =
            serde_json::from_value(value).map_err(JanitorError::DeadLetter)?;
        let reason = failed.reason();
        for created in notification::created(&failed.request_payload)? {
            failed_split(context, &created, &reason).await?;
        }
        return Ok(());
    }
    if let Ok(SplitMessage::Resume { job }) = serde_json::from_value(value) {
        // The sweep runs the splitter again, or gives up.
        let reason = "the splitter failed ten times in a row; its log says why";
        info!(%job, reason, "the splitter has failed");
        return Ok(context.ledger.record_split_error(job, reason).await?);
    }
    match WorkMessage::parse(body)? {
        WorkMessage::Chunk(chunk) => dead_chunk(context, &chunk).await,
        WorkMessage::Close { job } | WorkMessage::Redrive { job, .. } => {
            // The job is unfinished, so the sweep sends the message again.
            info!(%job, "a message to close or to redrive a job has failed in every attempt");
            Ok(())
        }
        WorkMessage::Check(check) => numbers::failed(context, *check).await,
        WorkMessage::Write(message) => {
            let end = WriteEnd::Failed(WriteProblem::new(DeadCode::Lost, LOST));
            let now = Timestamp::now();
            if context.writes.end_write(message.write, &end, now).await? {
                error!(write = %message.write, "a write has failed without a record");
            }
            Ok(())
        }
    }
}

/// Records why the splitter has failed. An object without a job fails for good when it is old enough; before that, the
/// inventory starts it again.
async fn failed_split(
    context: &Context,
    created: &ObjectCreated,
    reason: &str,
) -> Result<(), JanitorError> {
    let (job, ledger) = (created.job, &context.ledger);
    if ledger.head(job).await?.is_some() {
        // The sweep runs the splitter again, or gives up.
        info!(%job, reason, "the splitter has failed");
        return Ok(ledger.record_split_error(job, reason).await?);
    }
    if !is_over(
        created.time,
        context.patience.split_within,
        Timestamp::now(),
    ) {
        info!(%job, reason, "the splitter has failed before the job began");
        return Ok(());
    }
    error!(%job, reason, "the job cannot be split");
    let mut head = JobHead::new(job, created.object.clone(), created.order);
    head.split_error = Some(reason.to_owned());
    let head = ledger.start(&head).await?;
    if head.chunks.is_none() {
        fail_split(context, &head).await?;
    }
    Ok(())
}

/// Marks a chunk dead whose message has failed in every attempt, unless it is its first message and can be sent again:
/// then only the ledger may have been unreachable.
async fn dead_chunk(context: &Context, chunk: &ChunkMessage) -> Result<(), JanitorError> {
    let (job, ordinal, ledger) = (chunk.job, chunk.ordinal, &context.ledger);
    let Some(head) = ledger.head(job).await? else {
        return Ok(());
    };
    let is_repaired = head
        .repairs
        .as_ref()
        .is_some_and(|repairs| repairs.attempts > 0);
    if !is_repaired {
        match ledger.planned_chunks(&head, &[ordinal]).await {
            Ok(_) => {
                info!(%job, ordinal, "a chunk has failed without a mark: its message will be sent again");
                return Ok(());
            }
            // The plan of an earlier release.
            Err(LedgerError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let dead = DeadChunk::new(chunk, DeadCode::Lost, LOST);
    let mark = ledger
        .mark_chunk(job, ordinal, &ChunkOutcome::Dead(dead))
        .await?;
    if mark.added {
        error!(%job, ordinal, "a chunk has failed without a mark: it is dead");
    }
    if let Some(head) = mark.to_close {
        close(context, &head).await?;
    }
    Ok(())
}
